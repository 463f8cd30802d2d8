//! What a step writes, as rows of the plugin's own datasets, and what an earlier valuation of the same customers wrote.

use backplane_sdk::{Context, Month, Status, job::RunRequest, warehouse::Columns};
use serde::Deserialize;

use crate::{inputs::Slice, valuation::Valued, value::Parts};

const VALUES: &str = "package_monitor.enrolment_value";
const COMPONENTS: &str = "package_monitor.component_value";

// Limit: rows of one append. A row has at most some 300 bytes, and an append 16 MiB.
const ROWS_MAX: usize = 25_000;

const EARLIER_VALUES: &str = "
SELECT enrolment_id, month, customer_id, package_id, channel_id, agent_id, joined_month, in_force, booked_fen, real_fen, virtual_fen, gifted_fen, swapped_fen,
       carried_fen, components, silent_components, under_used_components, withdrawn
FROM package_monitor.enrolment_value
WHERE month = $1 AND NOT withdrawn AND customer_id > $2 AND customer_id <= $3";

const EARLIER_COMPONENTS: &str = "
SELECT enrolment_id, month, component_id, customer_id, package_id, product_id, role, list_price_fen, entitlement, measure, used, state, allocated_fen, virtual_fen
FROM package_monitor.component_value
WHERE month = $1 AND state <> 'withdrawn' AND customer_id > $2 AND customer_id <= $3";

/// A row of `package_monitor.enrolment_value`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct ValueRow {
    pub(crate) enrolment_id: String,
    pub(crate) month: Month,
    pub(crate) customer_id: i64,
    pub(crate) package_id: String,
    pub(crate) channel_id: String,
    pub(crate) agent_id: Option<String>,
    pub(crate) joined_month: Month,
    pub(crate) in_force: bool,
    #[serde(flatten)]
    pub(crate) parts: Parts,
    pub(crate) carried_fen: i64,
    pub(crate) components: i64,
    pub(crate) silent_components: i64,
    pub(crate) under_used_components: i64,
    pub(crate) withdrawn: bool,
}

/// A row of `package_monitor.component_value`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct ComponentRow {
    pub(crate) enrolment_id: String,
    pub(crate) month: Month,
    pub(crate) component_id: String,
    pub(crate) customer_id: i64,
    pub(crate) package_id: String,
    pub(crate) product_id: String,
    pub(crate) role: String,
    pub(crate) list_price_fen: i64,
    pub(crate) entitlement: i64,
    pub(crate) measure: String,
    pub(crate) used: i64,
    pub(crate) state: String,
    pub(crate) allocated_fen: i64,
    pub(crate) virtual_fen: i64,
}

impl ValueRow {
    /// The same enrolment and month with nothing in it.
    pub(crate) fn withdrawn(self) -> ValueRow {
        ValueRow {
            in_force: false,
            parts: Parts::default(),
            carried_fen: 0,
            components: 0,
            silent_components: 0,
            under_used_components: 0,
            withdrawn: true,
            ..self
        }
    }
}

impl ComponentRow {
    /// The same component with nothing in it.
    pub(crate) fn withdrawn(self) -> ComponentRow {
        ComponentRow { used: 0, state: "withdrawn".to_owned(), allocated_fen: 0, virtual_fen: 0, ..self }
    }
}

/// What was written of a step's customers before.
pub(crate) fn earlier(context: &Context, slice: Slice, to_customer: i64) -> Result<Valued, Status> {
    // The newest, with what this run wrote: an enrolment that was moved from one customer to another is then found under the new one, and not withdrawn.
    let query = |sql: &'static str| context.warehouse().query(sql).bind(slice.month).bind(slice.after_customer).bind(to_customer);
    Ok(Valued { enrolments: query(EARLIER_VALUES).rows()?.into_vec()?, components: query(EARLIER_COMPONENTS).rows()?.into_vec()? })
}

/// Writes the rows of a step; a step that is repeated writes nothing twice.
pub(crate) fn write(context: &Context, request: &RunRequest, valued: &Valued) -> Result<(), Status> {
    for (part, rows) in valued.enrolments.chunks(ROWS_MAX).enumerate() {
        let columns = Columns::of(rows)
            .text("enrolment_id", |row| &row.enrolment_id)
            .day("month", |row| row.month.first_day())
            .integer("customer_id", |row| row.customer_id)
            .text("package_id", |row| &row.package_id)
            .text("channel_id", |row| &row.channel_id)
            .optional_text("agent_id", |row| row.agent_id.as_deref())
            .day("joined_month", |row| row.joined_month.first_day())
            .boolean("in_force", |row| row.in_force)
            .integer("booked_fen", |row| row.parts.booked_fen)
            .integer("real_fen", |row| row.parts.real_fen)
            .integer("virtual_fen", |row| row.parts.virtual_fen)
            .integer("gifted_fen", |row| row.parts.gifted_fen)
            .integer("swapped_fen", |row| row.parts.swapped_fen)
            .integer("carried_fen", |row| row.carried_fen)
            .integer("components", |row| row.components)
            .integer("silent_components", |row| row.silent_components)
            .integer("under_used_components", |row| row.under_used_components)
            .boolean("withdrawn", |row| row.withdrawn);
        context.warehouse().append(VALUES, &request.key(&format!("values-{part}")), &columns.batch()?)?;
    }
    for (part, rows) in valued.components.chunks(ROWS_MAX).enumerate() {
        let columns = Columns::of(rows)
            .text("enrolment_id", |row| &row.enrolment_id)
            .day("month", |row| row.month.first_day())
            .text("component_id", |row| &row.component_id)
            .integer("customer_id", |row| row.customer_id)
            .text("package_id", |row| &row.package_id)
            .text("product_id", |row| &row.product_id)
            .text("role", |row| &row.role)
            .integer("list_price_fen", |row| row.list_price_fen)
            .integer("entitlement", |row| row.entitlement)
            .text("measure", |row| &row.measure)
            .integer("used", |row| row.used)
            .text("state", |row| &row.state)
            .integer("allocated_fen", |row| row.allocated_fen)
            .integer("virtual_fen", |row| row.virtual_fen);
        context.warehouse().append(COMPONENTS, &request.key(&format!("components-{part}")), &columns.batch()?)?;
    }
    Ok(())
}
