use backplane_sdk::{Context, Day, Page, Paged, Status};
use serde::Deserialize;

use crate::{
    month::PROVINCE,
    proto::package_monitor::v1::{ListSourceEnrolmentsRequest, ListSourceEnrolmentsResponse, SourceEnrolment},
};

// Limit: days of one question, as its contract says.
const DAYS_MAX: i32 = 31;

// With $5 those that a channel was judged by in the months $6 to $7: without what its abnormal agents took.
const TAKEN: &str = "
SELECT t.enrolment_id, t.customer_id, t.package_id, t.agent_id, t.day, t.starts_on, t.ends_on, CAST(t.cancelled_at AS BIGINT) AS cancelled_at, v.enrolment_id IS NOT NULL AS silent
FROM enrolment t
LEFT JOIN (
  SELECT f.enrolment_id, f.month
  FROM package_monitor.enrolment_value f JOIN package_monitor.month m ON m.month = f.month AND m.status = 'valued'
  WHERE NOT f.withdrawn AND f.in_force AND f.components > 0 AND f.silent_components = f.components) AS v
  ON v.enrolment_id = t.enrolment_id AND v.month = CAST(date_trunc('month', t.day) AS DATE)
WHERE t.channel_id = $1 AND ($2 = '' OR t.agent_id = $2) AND t.day >= $3 AND t.day <= $4 AND t.continues_id IS NULL AND (NOT $8 OR v.enrolment_id IS NOT NULL)
  AND (NOT $5 OR t.enrolment_id NOT IN (
    SELECT e.enrolment_id
    FROM enrolment e JOIN package_monitor.source_anomaly a
      ON a.channel_id = e.channel_id AND a.agent_id = e.agent_id AND e.day >= a.first_day AND e.day <= a.last_day
    WHERE a.month >= $6 AND a.month <= $7 AND NOT a.withdrawn))
ORDER BY t.at, t.enrolment_id";

#[derive(Deserialize)]
struct Row {
    enrolment_id: String,
    customer_id: i64,
    package_id: String,
    agent_id: Option<String>,
    day: Day,
    starts_on: Day,
    ends_on: Day,
    cancelled_at: Option<i64>,
    silent: bool,
}

pub(crate) fn list(context: &Context, request: &ListSourceEnrolmentsRequest) -> Result<ListSourceEnrolmentsResponse, Status> {
    let ListSourceEnrolmentsRequest { channel_id, agent_id, first_day, last_day, .. } = request;
    if context.city() == PROVINCE {
        return Err(Status::field_invalid("city", "city: a channel has its enrolments city by city: ask in the city that ListSourceAnomalies names"));
    }
    if channel_id.is_empty() {
        return Err(Status::field_invalid("channel_id", "channel_id: name the channel: ListSourceAnomalies shows them"));
    }
    let (first_day, last_day): (Day, Day) = (Status::read_field("first_day", first_day)?, Status::read_field("last_day", last_day)?);
    if last_day < first_day || last_day.number() - first_day.number() >= DAYS_MAX {
        return Err(Status::field_invalid("last_day", format!("last_day: from {first_day} on it is at most {DAYS_MAX} days")));
    }
    let filter = ListSourceEnrolmentsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let query = context.warehouse().query(TAKEN).bind(channel_id.as_str()).bind(agent_id.as_str()).bind(first_day).bind(last_day);
    let query = query.bind(request.without_abnormal_agents).bind(first_day.month()).bind(last_day.month()).bind(request.silent_only);
    let Paged { rows, next_page_token, snapshot_id } = query.page::<Row>(&page)?;
    Ok(ListSourceEnrolmentsResponse { enrolments: rows.into_iter().map(enrolment).collect(), next_page_token, snapshot_id })
}

fn enrolment(row: Row) -> SourceEnrolment {
    SourceEnrolment {
        enrolment_id: row.enrolment_id,
        customer_id: row.customer_id,
        package_id: row.package_id,
        agent_id: row.agent_id.unwrap_or_default(),
        day: row.day.to_string(),
        starts_on: row.starts_on.to_string(),
        ends_on: row.ends_on.to_string(),
        cancelled_on: row.cancelled_at.and_then(Day::of_instant).map(|day| day.to_string()).unwrap_or_default(),
        silent: row.silent,
    }
}
