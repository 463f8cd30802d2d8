use backplane_sdk::{Context, Fen, Page, Paged, Status};
use serde::Deserialize;

use crate::{
    month,
    proto::package_monitor::v1::{ComponentState, ComponentValue, ListComponentsRequest, ListComponentsResponse},
};

const COMPONENTS: &str = "
SELECT c.city, c.enrolment_id, c.component_id, c.customer_id, c.package_id, c.product_id, c.role, c.list_price_fen, c.entitlement, c.measure, c.used, c.state, c.allocated_fen,
       c.virtual_fen, v.in_force
FROM package_monitor.component_value c
JOIN package_monitor.enrolment_value v ON v.enrolment_id = c.enrolment_id AND v.month = c.month AND v.city = c.city
WHERE c.month = $1 AND v.month = $1 AND c.state <> 'withdrawn'
  AND ($2 = '' OR c.package_id = $2) AND ($3 = '' OR c.enrolment_id = $3) AND ($4 = 0 OR c.customer_id = $4) AND ($5 = '' OR c.component_id = $5)
  AND ($6 = '' OR (v.in_force AND c.state = $6))
ORDER BY c.virtual_fen DESC, c.enrolment_id, c.component_id, c.city";

#[derive(Deserialize)]
struct Row {
    city: String,
    enrolment_id: String,
    component_id: String,
    customer_id: i64,
    package_id: String,
    product_id: String,
    role: String,
    list_price_fen: Fen,
    entitlement: i64,
    measure: String,
    used: i64,
    state: String,
    allocated_fen: Fen,
    virtual_fen: Fen,
    in_force: bool,
}

pub(crate) fn list(context: &Context, request: &ListComponentsRequest) -> Result<ListComponentsResponse, Status> {
    let month = Status::read_field("month", &request.month)?;
    let filter = ListComponentsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let snapshot_id = month::require_valued(context, month, page.snapshot_id())?;
    let ListComponentsRequest { package_id, enrolment_id, customer_id, component_id, .. } = request;
    let state = match request.state() {
        ComponentState::Unspecified => "",
        ComponentState::Silent => "silent",
        ComponentState::UnderUsed => "under_used",
        ComponentState::Used => "used",
    };
    let query = context.warehouse().query(COMPONENTS).bind(month).bind(package_id.as_str()).bind(enrolment_id.as_str()).bind(*customer_id);
    let Paged { rows, next_page_token, .. } = query.bind(component_id.as_str()).bind(state).pin(snapshot_id).page::<Row>(&page)?;
    Ok(ListComponentsResponse { components: rows.into_iter().map(component).collect(), next_page_token, snapshot_id })
}

fn component(row: Row) -> ComponentValue {
    let state = match row.state.as_str() {
        "silent" => ComponentState::Silent,
        "under_used" => ComponentState::UnderUsed,
        _ => ComponentState::Used,
    };
    ComponentValue {
        city: row.city,
        enrolment_id: row.enrolment_id,
        component_id: row.component_id,
        customer_id: row.customer_id,
        package_id: row.package_id,
        product_id: row.product_id,
        role: row.role,
        list_price_fen: row.list_price_fen.number(),
        entitlement: row.entitlement,
        measure: row.measure,
        used: row.used,
        state: state.into(),
        allocated_fen: row.allocated_fen.number(),
        virtual_fen: row.virtual_fen.number(),
        in_force: row.in_force,
    }
}
