//! Package monitor: what marketing packages are really worth (B-03). `proto/package_monitor/v1/package_monitor.proto` defines every word and says what each method
//! answers; the arithmetic is the crate `package-valuation`.
//!
//! Start from [`Plugin`]: the job `value-months` writes the figures (`job` and below), one file a method reads them. Invariants: sets are made in the warehouse, by SQL
//! with bound parameters; money is whole fen; a month without complete feeds has no figures; no instance holds more than one step's customers.

mod proto {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

// What everything needs.
mod configuration;
mod month;
mod value;

// The job: which months, from what, what comes out.
mod components;
mod inputs;
mod job;
mod outputs;
mod plan;
mod valuation;

// The methods.
mod list_enrolments;
mod list_months;
mod list_package_groups;
mod list_packages;

#[cfg(test)]
mod tests;

use backplane_sdk::{
    Context, Status,
    job::{Jobs, JobsServer, RunRequest, RunResponse},
};
use proto::package_monitor::v1::{
    ListEnrolmentsRequest, ListEnrolmentsResponse, ListMonthsRequest, ListMonthsResponse, ListPackageGroupsRequest, ListPackageGroupsResponse,
    ListPackagesRequest, ListPackagesResponse, PackageMonitor, PackageMonitorServer,
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
        list_months::list(context, &request)
    }
    fn list_packages(&self, context: &Context, request: ListPackagesRequest) -> Result<ListPackagesResponse, Status> {
        list_packages::list(context, &request)
    }
    fn list_package_groups(&self, context: &Context, request: ListPackageGroupsRequest) -> Result<ListPackageGroupsResponse, Status> {
        list_package_groups::list(context, &request)
    }
    fn list_enrolments(&self, context: &Context, request: ListEnrolmentsRequest) -> Result<ListEnrolmentsResponse, Status> {
        list_enrolments::list(context, &request)
    }
}

backplane_sdk::export!(Plugin: PackageMonitorServer, JobsServer);
