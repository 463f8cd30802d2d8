use backplane_sdk::{Context, Status};
use serde::Deserialize;

use crate::{
    proto::portal_traffic::v1::{GetSummaryRequest, GetSummaryResponse},
    traffic::Traffic,
};

const SUMMARY: &str = "
SELECT count(*) AS requests, count(DISTINCT visitor_id) AS visitors, count(DISTINCT session_id) AS sessions,
       count(*) FILTER (WHERE status >= 400) AS errors, coalesce(sum(bytes), 0) AS bytes
FROM request";

#[derive(Deserialize)]
struct Row {
    requests: i64,
    visitors: i64,
    sessions: i64,
    errors: i64,
    bytes: i64,
}

pub(crate) fn get(context: &Context, request: &GetSummaryRequest) -> Result<GetSummaryResponse, Status> {
    let traffic = Traffic::read(context, request.from.as_ref(), request.to.as_ref(), request.pages_only)?;
    let rows = traffic.query(SUMMARY).rows::<Row>()?;
    let snapshot_id = rows.snapshot_id();
    let Row { requests, visitors, sessions, errors, bytes } = rows.one()?;
    Ok(GetSummaryResponse { requests, visitors, sessions, errors, bytes, snapshot_id })
}
