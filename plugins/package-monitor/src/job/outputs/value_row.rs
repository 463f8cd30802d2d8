use backplane_sdk::{Month, warehouse::Columns};
use serde::Deserialize;

use super::Output;
use crate::value::Parts;

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

impl Output for ValueRow {
    const DATASET: &'static str = "package_monitor.enrolment_value";
    const COLUMNS: &'static str = "enrolment_id, month, customer_id, package_id, channel_id, agent_id, joined_month, in_force, booked_fen, real_fen, virtual_fen, \
                                   gifted_fen, swapped_fen, carried_fen, components, silent_components, under_used_components, withdrawn";
    const KEY: &'static str = "enrolment_id";
    type Key<'r> = &'r str;

    fn key(&self) -> &str {
        &self.enrolment_id
    }

    fn columns(rows: &[ValueRow]) -> Columns<'_, ValueRow> {
        Columns::of(rows)
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
            .boolean("withdrawn", |row| row.withdrawn)
    }

    fn withdrawn(self) -> ValueRow {
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
