//! Portal traffic: the first plugin, small and useful. `proto/portal_traffic/v1/portal_traffic.proto` says what each method answers and defines every word.
//!
//! Start from [`Plugin`]: one file a method. Sets are made in the warehouse (SQL with bound parameters), judgement is ours: what is a robot (`agents`) and which
//! site a referrer names (`referrer_host`). Invariant: no SQL text is ever built from a value.

mod proto {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

// What every method needs.
mod configuration;
mod traffic;

// Judgement.
mod agents;
mod referrer_host;

// The methods.
mod audience;
mod failing_pages;
mod landing_pages;
mod page_hours;
mod referrers;
mod slow_pages;
mod summary;

#[cfg(test)]
mod tests;

use backplane_sdk::{Context, Status};
use proto::portal_traffic::v1::{
    GetAudienceRequest, GetAudienceResponse, GetSummaryRequest, GetSummaryResponse, ListFailingPagesRequest, ListFailingPagesResponse, ListLandingPagesRequest,
    ListLandingPagesResponse, ListPageHoursRequest, ListPageHoursResponse, ListReferrersRequest, ListReferrersResponse, ListSlowPagesRequest,
    ListSlowPagesResponse, PortalTraffic, PortalTrafficServer,
};

#[derive(Default)]
struct Plugin;

impl PortalTraffic for Plugin {
    fn get_summary(&self, context: &Context, request: GetSummaryRequest) -> Result<GetSummaryResponse, Status> {
        summary::get(context, &request)
    }
    fn list_page_hours(&self, context: &Context, request: ListPageHoursRequest) -> Result<ListPageHoursResponse, Status> {
        page_hours::list(context, &request)
    }
    fn list_landing_pages(&self, context: &Context, request: ListLandingPagesRequest) -> Result<ListLandingPagesResponse, Status> {
        landing_pages::list(context, &request)
    }
    fn list_referrers(&self, context: &Context, request: ListReferrersRequest) -> Result<ListReferrersResponse, Status> {
        referrers::list(context, &request)
    }
    fn get_audience(&self, context: &Context, request: GetAudienceRequest) -> Result<GetAudienceResponse, Status> {
        audience::get(context, &request)
    }
    fn list_slow_pages(&self, context: &Context, request: ListSlowPagesRequest) -> Result<ListSlowPagesResponse, Status> {
        slow_pages::list(context, &request)
    }
    fn list_failing_pages(&self, context: &Context, request: ListFailingPagesRequest) -> Result<ListFailingPagesResponse, Status> {
        failing_pages::list(context, &request)
    }
}

backplane_sdk::export!(Plugin: PortalTrafficServer);
