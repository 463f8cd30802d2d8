use backplane_sdk::{Context, Page, Paged, Status};
use serde::Deserialize;

use crate::{
    month,
    proto::package_monitor::v1::{CustomerValue, ListCustomersRequest, ListCustomersResponse, Value},
    value::{Parts, SUMS},
};

#[derive(Deserialize)]
struct Row {
    city: String,
    customer_id: i64,
    enrolments: i64,
    #[serde(flatten)]
    parts: Parts,
    components: i64,
    silent_components: i64,
    under_used_components: i64,
}

pub(crate) fn list(context: &Context, request: &ListCustomersRequest) -> Result<ListCustomersResponse, Status> {
    let month = Status::read_field("month", &request.month)?;
    let filter = ListCustomersRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let snapshot_id = month::require_valued(context, month, page.snapshot_id())?;
    let sql = format!(
        "SELECT city, customer_id, enrolments, booked_fen, real_fen, virtual_fen, gifted_fen, swapped_fen, components, silent_components, under_used_components
         FROM (SELECT city, customer_id, count(*) AS enrolments, {SUMS}, sum(components) AS components, sum(silent_components) AS silent_components,
                      sum(under_used_components) AS under_used_components
               FROM package_monitor.enrolment_value
               WHERE month = $1 AND in_force AND ($2 = '' OR package_id = $2)
               GROUP BY city, customer_id) AS of_customer
         WHERE silent_components > 0 OR (NOT $3 AND under_used_components > 0)
         ORDER BY virtual_fen DESC, customer_id, city"
    );
    let query = context.warehouse().query(sql).bind(month).bind(request.package_id.as_str()).bind(request.silent_only);
    let Paged { rows, next_page_token, .. } = query.pin(snapshot_id).page::<Row>(&page)?;
    Ok(ListCustomersResponse { customers: rows.into_iter().map(customer).collect(), next_page_token, snapshot_id })
}

fn customer(row: Row) -> CustomerValue {
    let Row { city, customer_id, enrolments, parts, components, silent_components, under_used_components } = row;
    CustomerValue { city, customer_id, enrolments, value: Some(Value::from(parts)), components, silent_components, under_used_components }
}
