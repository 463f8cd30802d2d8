use backplane_sdk::{Day, Month, warehouse::Columns};
use serde::Deserialize;

use super::Output;

/// What takes enrolments.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub(crate) struct Source {
    pub(crate) channel_id: String,
    /// Empty for the channel as a whole.
    pub(crate) agent_id: String,
}

/// A row of `package_monitor.source_anomaly`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct AnomalyRow {
    pub(crate) month: Month,
    #[serde(flatten)]
    pub(crate) source: Source,
    /// A day, or the month from its first day to its last.
    pub(crate) first_day: Day,
    pub(crate) last_day: Day,
    pub(crate) enrolments: i64,
    pub(crate) expected: f64,
    pub(crate) chance: f64,
    pub(crate) withdrawn: bool,
}

impl Output for AnomalyRow {
    const DATASET: &'static str = "package_monitor.source_anomaly";
    const COLUMNS: &'static str = "month, channel_id, agent_id, first_day, last_day, enrolments, expected, chance, withdrawn";
    const KEY: &'static str = "channel_id, agent_id, first_day, last_day";
    type Key<'r> = (&'r Source, Day, Day);

    fn key(&self) -> (&Source, Day, Day) {
        (&self.source, self.first_day, self.last_day)
    }

    fn columns(rows: &[AnomalyRow]) -> Columns<'_, AnomalyRow> {
        Columns::of(rows)
            .day("month", |row| row.month.first_day())
            .text("channel_id", |row| &row.source.channel_id)
            .text("agent_id", |row| &row.source.agent_id)
            .day("first_day", |row| row.first_day)
            .day("last_day", |row| row.last_day)
            .integer("enrolments", |row| row.enrolments)
            .real("expected", |row| row.expected)
            .real("chance", |row| row.chance)
            .boolean("withdrawn", |row| row.withdrawn)
    }

    fn withdrawn(self) -> AnomalyRow {
        AnomalyRow { enrolments: 0, expected: 0.0, chance: 1.0, withdrawn: true, ..self }
    }
}
