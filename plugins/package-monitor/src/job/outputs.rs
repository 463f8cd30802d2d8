//! What the job writes: rows of the plugin's own datasets, one file a dataset. A row that an earlier valuation wrote and this one found no more is withdrawn: written
//! again with nothing in it, since readers of the dataset have to see that it is gone.

use std::{collections::HashSet, hash::Hash};

use backplane_sdk::{
    Context, Day, Fen, Month, Status,
    job::RunRequest,
    warehouse::{Query, Row},
};
use serde::de::DeserializeOwned;

use super::inputs::Slice;
use crate::{
    datasets::{ComponentValueRow, ConflictRow, EnrolmentValueRow, SourceAnomalyRow},
    value::Parts,
};

/// A row of one of the plugin's datasets, of which each month has some.
pub(crate) trait Output: Row + DeserializeOwned {
    /// What names a row within its month, as SQL.
    const KEY: &'static str;
    type Key<'r>: Eq + Hash
    where
        Self: 'r;

    fn key(&self) -> Self::Key<'_>;
    /// The same row with nothing in it.
    fn withdrawn(self) -> Self;
}

impl Output for EnrolmentValueRow {
    const KEY: &'static str = "enrolment_id";
    type Key<'r> = &'r str;

    fn key(&self) -> &str {
        &self.enrolment_id
    }

    fn withdrawn(self) -> EnrolmentValueRow {
        let row = EnrolmentValueRow {
            in_force: false,
            carried_fen: Fen::ZERO,
            components: 0,
            silent_components: 0,
            under_used_components: 0,
            withdrawn: true,
            ..self
        };
        row.with(Parts::default())
    }
}

impl Output for ComponentValueRow {
    const KEY: &'static str = "enrolment_id, component_id";
    type Key<'r> = (&'r str, &'r str);

    fn key(&self) -> (&str, &str) {
        (&self.enrolment_id, &self.component_id)
    }

    fn withdrawn(self) -> ComponentValueRow {
        ComponentValueRow { used: 0, state: "withdrawn".to_owned(), allocated_fen: Fen::ZERO, virtual_fen: Fen::ZERO, ..self }
    }
}

impl Output for ConflictRow {
    const KEY: &'static str = "enrolment_id, other_enrolment_id";
    type Key<'r> = (&'r str, &'r str);

    fn key(&self) -> (&str, &str) {
        (&self.enrolment_id, &self.other_enrolment_id)
    }

    fn withdrawn(self) -> ConflictRow {
        ConflictRow { withdrawn: true, ..self }
    }
}

impl Output for SourceAnomalyRow {
    const KEY: &'static str = "channel_id, agent_id, first_day, last_day";
    type Key<'r> = (&'r str, &'r str, Day, Day);

    fn key(&self) -> (&str, &str, Day, Day) {
        (&self.channel_id, &self.agent_id, self.first_day, self.last_day)
    }

    fn withdrawn(self) -> SourceAnomalyRow {
        SourceAnomalyRow { enrolments: 0, expected: 0.0, chance: 1.0, withdrawn: true, ..self }
    }
}

/// What was written of a step's customers before: the newest, with what this run wrote. An enrolment that was moved from one customer to another is then found under the
/// new one, and not withdrawn.
pub(crate) fn of_customers<R: Output>(context: &Context, slice: Slice, to_customer: i64) -> Query<'_> {
    let (columns, dataset, key) = (R::COLUMNS, R::DATASET, R::KEY);
    let sql = format!("SELECT {columns} FROM {dataset} WHERE month = $1 AND customer_id > $2 AND customer_id <= $3 ORDER BY {key}");
    context.warehouse().query(sql).bind(slice.month).bind(slice.after_customer).bind(to_customer)
}

/// What was written of a month before.
pub(crate) fn of_month<R: Output>(context: &Context, month: Month) -> Query<'_> {
    let (columns, dataset, key) = (R::COLUMNS, R::DATASET, R::KEY);
    context.warehouse().query(format!("SELECT {columns} FROM {dataset} WHERE month = $1 ORDER BY {key}")).bind(month)
}

/// Writes the rows of a step in the place of those that were there before. A step that is repeated writes the same rows, those already withdrawn among them, and so
/// nothing twice.
pub(crate) fn write<R: Output>(context: &Context, request: &RunRequest, mut rows: Vec<R>, earlier: Query<'_>) -> Result<(), Status> {
    withdraw(&mut rows, earlier.rows()?.into_vec()?);
    context.warehouse().append_rows(&request.key(R::DATASET), &rows)
}

/// Adds what was written earlier and is not among the rows, with nothing in it.
pub(crate) fn withdraw<R: Output>(rows: &mut Vec<R>, earlier: Vec<R>) {
    let is_gone: Vec<bool> = {
        let found: HashSet<R::Key<'_>> = rows.iter().map(R::key).collect();
        earlier.iter().map(|row| !found.contains(&row.key())).collect()
    };
    let gone = earlier.into_iter().zip(is_gone).filter(|(_, is_gone)| *is_gone).map(|(row, _)| row.withdrawn());
    rows.extend(gone);
}
