use backplane_sdk::{Context, Month, Page, Paged, Status, warehouse::Row as _};
use serde::Deserialize;

use crate::{
    datasets::EnrolmentValueRow,
    month,
    proto::package_monitor::v1::{EnrolmentValue, ListEnrolmentsRequest, ListEnrolmentsResponse, Value},
};

#[derive(Deserialize)]
struct Row {
    city: String,
    #[serde(flatten)]
    value: EnrolmentValueRow,
    revision: i64,
}

pub(crate) fn list(context: &Context, request: &ListEnrolmentsRequest) -> Result<ListEnrolmentsResponse, Status> {
    let month = Status::read_field("month", &request.month)?;
    let filter = ListEnrolmentsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let snapshot_id = month::require_valued(context, month, page.snapshot_id())?;
    let ListEnrolmentsRequest {
        package_id, channel_id, agent_id, silent_only, under_used_only, all_silent_only, without_agent, customer_id, joined_month, ..
    } = request;
    if !joined_month.is_empty() {
        Status::read_field::<Month>("joined_month", joined_month)?;
    }
    let sql = format!(
        "SELECT city, {}, revision
         FROM package_monitor.enrolment_value
         WHERE month = $1 AND NOT withdrawn
           AND ($2 = '' OR package_id = $2) AND ($3 = '' OR channel_id = $3) AND ($4 = '' OR agent_id = $4)
           AND (NOT $5 OR (in_force AND silent_components > 0)) AND (NOT $6 OR (in_force AND silent_components + under_used_components > 0))
           AND (NOT $7 OR (in_force AND components > 0 AND silent_components = components)) AND (NOT $8 OR agent_id IS NULL)
           AND ($9 = 0 OR customer_id = $9) AND ($10 = '' OR left(CAST(joined_month AS VARCHAR), 7) = $10)
         ORDER BY virtual_fen DESC, enrolment_id, city",
        EnrolmentValueRow::COLUMNS
    );
    let query = context.warehouse().query(sql).bind(month).bind(package_id.as_str()).bind(channel_id.as_str()).bind(agent_id.as_str());
    let query = query.bind(*silent_only).bind(*under_used_only).bind(*all_silent_only).bind(*without_agent).bind(*customer_id).bind(joined_month.as_str());
    let Paged { rows, next_page_token, .. } = query.pin(snapshot_id).page::<Row>(&page)?;
    Ok(ListEnrolmentsResponse { enrolments: rows.into_iter().map(enrolment).collect(), next_page_token, snapshot_id })
}

fn enrolment(Row { city, value, revision }: Row) -> EnrolmentValue {
    let parts = value.parts();
    EnrolmentValue {
        city,
        enrolment_id: value.enrolment_id,
        customer_id: value.customer_id,
        package_id: value.package_id,
        channel_id: value.channel_id,
        agent_id: value.agent_id.unwrap_or_default(),
        joined_month: value.joined_month.to_string(),
        value: Some(Value::from(parts)),
        carried_fen: value.carried_fen.number(),
        components: value.components,
        silent_components: value.silent_components,
        under_used_components: value.under_used_components,
        in_force: value.in_force,
        revision,
    }
}
