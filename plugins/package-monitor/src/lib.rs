//! Package monitor: what marketing packages are really worth (B-03). `proto/package_monitor/v1/package_monitor.proto` defines every word and says what each method
//! answers; the arithmetic is the crate `package-valuation`.
//!
//! Start from [`Plugin`]: the job `value-months` writes the figures (`job`), one file a method (`methods`) reads them. Invariants: sets are made in the warehouse, by SQL
//! with bound parameters; money is whole fen; a month without complete feeds has no figures; no instance holds more than one step's customers.

mod proto {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

/// The rows of the plugin's datasets.
mod datasets {
    include!(concat!(env!("OUT_DIR"), "/datasets.rs"));
}

mod configuration;
mod job;
mod methods;
mod month;
mod unmatched;
mod value;

#[cfg(test)]
mod tests;

use backplane_sdk::{
    Context, Status,
    job::{Jobs, JobsServer, RunRequest, RunResponse},
};
use proto::package_monitor::v1::{
    CheckEnrolmentRequest, CheckEnrolmentResponse, ListComponentsRequest, ListComponentsResponse, ListConflictsRequest, ListConflictsResponse,
    ListCustomersRequest, ListCustomersResponse, ListEnrolmentsRequest, ListEnrolmentsResponse, ListMonthsRequest, ListMonthsResponse,
    ListPackageGroupsRequest, ListPackageGroupsResponse, ListPackagesRequest, ListPackagesResponse, ListRuleProblemsRequest, ListRuleProblemsResponse,
    ListSourceAnomaliesRequest, ListSourceAnomaliesResponse, ListSourceEnrolmentsRequest, ListSourceEnrolmentsResponse, ListTakesAndCancelsRequest,
    ListTakesAndCancelsResponse, ListUnmatchedLinesRequest, ListUnmatchedLinesResponse, PackageMonitor, PackageMonitorServer,
};

#[derive(Default)]
struct Plugin;

impl Jobs for Plugin {
    fn run(&self, context: &Context, request: RunRequest) -> Result<RunResponse, Status> {
        job::run(context, &request)
    }
}

impl PackageMonitor for Plugin {
    fn list_months(&self, context: &Context, request: ListMonthsRequest) -> Result<ListMonthsResponse, Status> {
        methods::list_months::list(context, &request)
    }
    fn list_packages(&self, context: &Context, request: ListPackagesRequest) -> Result<ListPackagesResponse, Status> {
        methods::list_packages::list(context, &request)
    }
    fn list_package_groups(&self, context: &Context, request: ListPackageGroupsRequest) -> Result<ListPackageGroupsResponse, Status> {
        methods::list_package_groups::list(context, &request)
    }
    fn list_enrolments(&self, context: &Context, request: ListEnrolmentsRequest) -> Result<ListEnrolmentsResponse, Status> {
        methods::list_enrolments::list(context, &request)
    }
    fn list_components(&self, context: &Context, request: ListComponentsRequest) -> Result<ListComponentsResponse, Status> {
        methods::list_components::list(context, &request)
    }
    fn list_customers(&self, context: &Context, request: ListCustomersRequest) -> Result<ListCustomersResponse, Status> {
        methods::list_customers::list(context, &request)
    }
    fn list_conflicts(&self, context: &Context, request: ListConflictsRequest) -> Result<ListConflictsResponse, Status> {
        methods::list_conflicts::list(context, &request)
    }
    fn list_rule_problems(&self, context: &Context, request: ListRuleProblemsRequest) -> Result<ListRuleProblemsResponse, Status> {
        methods::list_rule_problems::list(context, &request)
    }
    fn list_source_anomalies(&self, context: &Context, request: ListSourceAnomaliesRequest) -> Result<ListSourceAnomaliesResponse, Status> {
        methods::list_source_anomalies::list(context, &request)
    }
    fn list_source_enrolments(&self, context: &Context, request: ListSourceEnrolmentsRequest) -> Result<ListSourceEnrolmentsResponse, Status> {
        methods::list_source_enrolments::list(context, &request)
    }
    fn list_takes_and_cancels(&self, context: &Context, request: ListTakesAndCancelsRequest) -> Result<ListTakesAndCancelsResponse, Status> {
        methods::list_takes_and_cancels::list(context, &request)
    }
    fn list_unmatched_lines(&self, context: &Context, request: ListUnmatchedLinesRequest) -> Result<ListUnmatchedLinesResponse, Status> {
        methods::list_unmatched_lines::list(context, &request)
    }
    fn check_enrolment(&self, context: &Context, request: CheckEnrolmentRequest) -> Result<CheckEnrolmentResponse, Status> {
        methods::check_enrolment::check(context, &request)
    }
}

backplane_sdk::export!(Plugin: PackageMonitorServer, JobsServer);
