use backplane_sdk::{Day, Month, warehouse::Columns};
use serde::Deserialize;

use super::Output;

/// A row of `package_monitor.conflict`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ConflictRow {
    pub(crate) month: Month,
    /// The one that was made first.
    pub(crate) enrolment_id: String,
    pub(crate) other_enrolment_id: String,
    pub(crate) customer_id: i64,
    pub(crate) package_id: String,
    pub(crate) other_package_id: String,
    pub(crate) since: Day,
    pub(crate) until: Day,
    pub(crate) reason: String,
    pub(crate) withdrawn: bool,
}

impl Output for ConflictRow {
    const DATASET: &'static str = "package_monitor.conflict";
    const COLUMNS: &'static str = "month, enrolment_id, other_enrolment_id, customer_id, package_id, other_package_id, since, until, reason, withdrawn";
    const KEY: &'static str = "enrolment_id, other_enrolment_id";
    type Key<'r> = (&'r str, &'r str);

    fn key(&self) -> (&str, &str) {
        (&self.enrolment_id, &self.other_enrolment_id)
    }

    fn columns(rows: &[ConflictRow]) -> Columns<'_, ConflictRow> {
        Columns::of(rows)
            .day("month", |row| row.month.first_day())
            .text("enrolment_id", |row| &row.enrolment_id)
            .text("other_enrolment_id", |row| &row.other_enrolment_id)
            .integer("customer_id", |row| row.customer_id)
            .text("package_id", |row| &row.package_id)
            .text("other_package_id", |row| &row.other_package_id)
            .day("since", |row| row.since)
            .day("until", |row| row.until)
            .text("reason", |row| &row.reason)
            .boolean("withdrawn", |row| row.withdrawn)
    }

    fn withdrawn(self) -> ConflictRow {
        ConflictRow { withdrawn: true, ..self }
    }
}
