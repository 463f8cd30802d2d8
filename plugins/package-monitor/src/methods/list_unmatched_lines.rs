use backplane_sdk::{Context, Day, Fen, Month, Page, Paged, Status};
use serde::Deserialize;

use crate::{
    proto::package_monitor::v1::{ListUnmatchedLinesRequest, ListUnmatchedLinesResponse, UnmatchedLine},
    unmatched,
};

#[derive(Deserialize)]
struct Row {
    city: String,
    bill_id: String,
    line_no: i64,
    customer_id: i64,
    enrolment_id: Option<String>,
    kind: String,
    item: String,
    amount_fen: Fen,
    posted_at: i64,
}

pub(crate) fn list(context: &Context, request: &ListUnmatchedLinesRequest) -> Result<ListUnmatchedLinesResponse, Status> {
    let month: Month = Status::read_field("month", &request.month)?;
    let filter = ListUnmatchedLinesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let sql = format!(
        "SELECT c.city, c.bill_id, c.line_no, c.customer_id, c.enrolment_id, c.kind, c.item, c.amount_fen, CAST(c.posted_at AS BIGINT) AS posted_at
         {}
         ORDER BY abs(c.amount_fen) DESC, c.city, c.bill_id, c.line_no",
        unmatched::LINES
    );
    let Paged { rows, next_page_token, snapshot_id } = context.warehouse().query(sql).bind(month).page::<Row>(&page)?;
    Ok(ListUnmatchedLinesResponse { lines: rows.into_iter().map(line).collect(), next_page_token, snapshot_id })
}

fn line(row: Row) -> UnmatchedLine {
    UnmatchedLine {
        city: row.city,
        bill_id: row.bill_id,
        line_no: row.line_no,
        customer_id: row.customer_id,
        enrolment_id: row.enrolment_id.unwrap_or_default(),
        kind: row.kind,
        item: row.item,
        amount_fen: row.amount_fen.number(),
        posted_on: Day::of_instant(row.posted_at).map(|day| day.to_string()).unwrap_or_default(),
    }
}
