//! What the job writes: rows of the plugin's own datasets, one file a dataset. A row that an earlier valuation wrote and this one found no more is withdrawn: written
//! again with nothing in it, since readers of the dataset have to see that it is gone.

mod anomaly_row;
mod component_row;
mod conflict_row;
mod value_row;

use std::{collections::HashSet, hash::Hash};

use backplane_sdk::{
    Context, Month, Status,
    job::RunRequest,
    warehouse::{Columns, Query},
};
use serde::de::DeserializeOwned;

pub(crate) use anomaly_row::{AnomalyRow, Source};
pub(crate) use component_row::ComponentRow;
pub(crate) use conflict_row::ConflictRow;
pub(crate) use value_row::ValueRow;

use super::inputs::Slice;

// Limit: rows of one append. A row has at most some 300 bytes, and an append 16 MiB.
const ROWS_MAX: usize = 25_000;

/// A row of one of the plugin's datasets, of which each month has some.
pub(crate) trait Output: DeserializeOwned {
    const DATASET: &'static str;
    /// The columns that the fields are read from, as SQL.
    const COLUMNS: &'static str;
    /// What names a row within its month, as SQL.
    const KEY: &'static str;
    type Key<'r>: Eq + Hash
    where
        Self: 'r;

    fn key(&self) -> Self::Key<'_>;
    fn columns(rows: &[Self]) -> Columns<'_, Self>;
    /// The same row with nothing in it.
    fn withdrawn(self) -> Self;
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
    for (part, rows) in rows.chunks(ROWS_MAX).enumerate() {
        let key = request.key(&format!("{}-{part}", R::DATASET));
        context.warehouse().append(R::DATASET, &key, &R::columns(rows).batch()?)?;
    }
    Ok(())
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
