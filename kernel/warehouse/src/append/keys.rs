use std::collections::HashMap;

use arrow_array::{RecordBatch, cast::AsArray, types::Int64Type};
use datafusion::prelude::{col, lit};

use super::tables;
use crate::{
    error::WarehouseError,
    lake::{Lake, TableName},
};

// Limit: keys held in memory, about 150 bytes each, 75 MB in all. A batch is at least one sync of the disk, so this is hours of continuous writing; when there
// are more, a key that is not held is looked up in the table, so none is ever forgotten.
const KEYS_HELD_MAX: usize = 500_000;

const COLUMNS: [&str; 4] = ["key", "digest", "rows", "snapshot_id"];

/// The idempotency keys that were used and what their batches did.
pub(crate) struct KeyIndex {
    held: HashMap<String, Known>,
    /// Whether a key that is not held was never used.
    complete: bool,
}

/// What the first batch with a key did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) digest: String,
    pub(crate) rows: u64,
    pub(crate) snapshot_id: i64,
}

impl KeyIndex {
    pub(super) async fn load(lake: &Lake) -> Result<KeyIndex, WarehouseError> {
        let mut index = KeyIndex { held: HashMap::new(), complete: true };
        for batch in lake.rows(lake.newest(), &TableName::kernel(tables::BATCH), None, &COLUMNS).await? {
            for (key, known) in read(&batch) {
                index.insert(key, known);
            }
        }
        Ok(index)
    }

    pub(super) fn insert(&mut self, key: String, known: Known) {
        if self.held.len() < KEYS_HELD_MAX {
            self.held.insert(key, known);
        } else {
            self.complete = false;
        }
    }

    /// What is known without reading: the batch, or that there is none (`Some(None)`), or neither.
    pub(super) fn look_up(&self, key: &str) -> Option<Option<Known>> {
        match self.held.get(key) {
            Some(known) => Some(Some(known.clone())),
            None if self.complete => Some(None),
            None => None,
        }
    }
}

/// Looks a key up in the table of batches.
pub(super) async fn look_up_in_table(lake: &Lake, key: &str) -> Result<Option<Known>, WarehouseError> {
    let found = lake.rows(lake.newest(), &TableName::kernel(tables::BATCH), Some(col("key").eq(lit(key))), &COLUMNS).await?;
    Ok(found.iter().flat_map(read).next().map(|(_, known)| known))
}

/// The columns of [`COLUMNS`], in their order.
fn read(batch: &RecordBatch) -> Vec<(String, Known)> {
    let (keys, digests) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
    let (rows, snapshots) = (batch.column(2).as_primitive::<Int64Type>(), batch.column(3).as_primitive::<Int64Type>());
    (0..batch.num_rows())
        .map(|row| {
            let known = Known { digest: digests.value(row).to_owned(), rows: u64::try_from(rows.value(row)).unwrap_or(0), snapshot_id: snapshots.value(row) };
            (keys.value(row).to_owned(), known)
        })
        .collect()
}
