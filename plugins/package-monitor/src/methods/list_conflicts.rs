use backplane_sdk::{Context, Day, Fen, Page, Paged, Status};
use serde::Deserialize;

use super::package_names::names;
use crate::{
    month,
    proto::package_monitor::v1::{Conflict, Held, ListConflictsRequest, ListConflictsResponse},
};

#[derive(Deserialize)]
struct Row {
    city: String,
    customer_id: i64,
    since: Day,
    until: Day,
    reason: String,
    enrolment_id: String,
    package_id: String,
    name_zh: Option<String>,
    channel_id: Option<String>,
    agent_id: Option<String>,
    booked_fen: Option<Fen>,
    other_enrolment_id: String,
    other_package_id: String,
    other_name_zh: Option<String>,
    other_channel_id: Option<String>,
    other_agent_id: Option<String>,
    other_booked_fen: Option<Fen>,
}

pub(crate) fn list(context: &Context, request: &ListConflictsRequest) -> Result<ListConflictsResponse, Status> {
    let month = Status::read_field("month", &request.month)?;
    let filter = ListConflictsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let snapshot_id = month::require_valued(context, month, page.snapshot_id())?;
    let names = names(context);
    let sql = format!(
        "WITH named AS ({names}),
         value AS (SELECT city, enrolment_id, channel_id, agent_id, booked_fen FROM package_monitor.enrolment_value WHERE month = $1 AND NOT withdrawn)
         SELECT c.city, c.customer_id, c.since, c.until, c.reason,
                c.enrolment_id, c.package_id, n.name_zh, v.channel_id, v.agent_id, v.booked_fen,
                c.other_enrolment_id, c.other_package_id, o.name_zh AS other_name_zh, w.channel_id AS other_channel_id, w.agent_id AS other_agent_id,
                w.booked_fen AS other_booked_fen
         FROM package_monitor.conflict c
         LEFT JOIN named n ON n.package_id = c.package_id
         LEFT JOIN named o ON o.package_id = c.other_package_id
         LEFT JOIN value v ON v.enrolment_id = c.enrolment_id AND v.city = c.city
         LEFT JOIN value w ON w.enrolment_id = c.other_enrolment_id AND w.city = c.city
         WHERE c.month = $1 AND NOT c.withdrawn AND ($2 = '' OR c.package_id = $2 OR c.other_package_id = $2) AND ($3 = 0 OR c.customer_id = $3)
         ORDER BY c.customer_id, c.enrolment_id, c.other_enrolment_id, c.city"
    );
    let query = context.warehouse().query(sql).bind(month).bind(request.package_id.as_str()).bind(request.customer_id);
    let Paged { rows, next_page_token, .. } = query.pin(snapshot_id).page::<Row>(&page)?;
    Ok(ListConflictsResponse { conflicts: rows.into_iter().map(conflict).collect(), next_page_token, snapshot_id })
}

fn conflict(row: Row) -> Conflict {
    let first = Held {
        enrolment_id: row.enrolment_id,
        package_id: row.package_id,
        name_zh: row.name_zh.unwrap_or_default(),
        channel_id: row.channel_id.unwrap_or_default(),
        agent_id: row.agent_id.unwrap_or_default(),
        booked_fen: row.booked_fen.unwrap_or_default().number(),
    };
    let other = Held {
        enrolment_id: row.other_enrolment_id,
        package_id: row.other_package_id,
        name_zh: row.other_name_zh.unwrap_or_default(),
        channel_id: row.other_channel_id.unwrap_or_default(),
        agent_id: row.other_agent_id.unwrap_or_default(),
        booked_fen: row.other_booked_fen.unwrap_or_default().number(),
    };
    Conflict {
        city: row.city,
        customer_id: row.customer_id,
        first: Some(first),
        other: Some(other),
        since: row.since.to_string(),
        until: row.until.to_string(),
        reason: row.reason,
    }
}
