use backplane_sdk::{Month, warehouse::Columns};
use serde::Deserialize;

use super::Output;

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

impl Output for ComponentRow {
    const DATASET: &'static str = "package_monitor.component_value";
    const COLUMNS: &'static str = "enrolment_id, month, component_id, customer_id, package_id, product_id, role, list_price_fen, entitlement, measure, used, state, \
                                   allocated_fen, virtual_fen";
    const KEY: &'static str = "enrolment_id, component_id";
    type Key<'r> = (&'r str, &'r str);

    fn key(&self) -> (&str, &str) {
        (&self.enrolment_id, &self.component_id)
    }

    fn columns(rows: &[ComponentRow]) -> Columns<'_, ComponentRow> {
        Columns::of(rows)
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
            .integer("virtual_fen", |row| row.virtual_fen)
    }

    fn withdrawn(self) -> ComponentRow {
        ComponentRow { used: 0, state: "withdrawn".to_owned(), allocated_fen: 0, virtual_fen: 0, ..self }
    }
}
