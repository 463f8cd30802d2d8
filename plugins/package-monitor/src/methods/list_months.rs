use backplane_sdk::{Context, Fen, Month, Page, Paged, Status};
use serde::Deserialize;

use crate::{
    month::NOT_VALUED,
    proto::package_monitor::v1::{ListMonthsRequest, ListMonthsResponse, Month as MonthMessage, Value},
    value::Parts,
};

const MONTHS: &str = "
SELECT city, month, status, reason, configuration_revision, snapshot_id, enrolments, booked_fen, real_fen, virtual_fen, gifted_fen, swapped_fen, waiting_rows,
       unmatched_lines, unmatched_fen, revision
FROM package_monitor.month
ORDER BY month, city";

#[derive(Deserialize)]
struct Row {
    city: String,
    month: Month,
    status: String,
    reason: Option<String>,
    configuration_revision: i64,
    snapshot_id: i64,
    enrolments: i64,
    #[serde(flatten)]
    parts: Parts,
    waiting_rows: i64,
    unmatched_lines: i64,
    unmatched_fen: Fen,
    revision: i64,
}

pub(crate) fn list(context: &Context, request: &ListMonthsRequest) -> Result<ListMonthsResponse, Status> {
    let page = Page::read(context, request.page_size, &request.page_token, &ListMonthsRequest::default())?;
    let Paged { rows, next_page_token, snapshot_id } = context.warehouse().query(MONTHS).page::<Row>(&page)?;
    Ok(ListMonthsResponse { months: rows.into_iter().map(month).collect(), next_page_token, snapshot_id })
}

fn month(row: Row) -> MonthMessage {
    MonthMessage {
        city: row.city,
        month: row.month.to_string(),
        valued: row.status != NOT_VALUED,
        reason: row.reason.unwrap_or_default(),
        configuration_revision: row.configuration_revision,
        input_snapshot_id: row.snapshot_id,
        enrolments: row.enrolments,
        value: Some(Value::from(row.parts)),
        waiting_rows: row.waiting_rows,
        unmatched_lines: row.unmatched_lines,
        unmatched_fen: row.unmatched_fen.number(),
        revision: row.revision,
    }
}
