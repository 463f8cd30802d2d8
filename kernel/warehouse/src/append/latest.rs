use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt64Array};
use arrow_select::take::take_record_batch;

use super::commit::key_columns;
use crate::{
    contract::{DatasetContract, REVISION},
    error::WarehouseError,
    lake::{LakeTransaction, RowKey, TableName, key_is_one_of, row_keys},
    rows::{Value, value_at},
};

/// What rows of a `latest` dataset come to against those that are there.
pub(super) struct Merge {
    /// New rows and replacements, with their revision.
    pub(super) rows: RecordBatch,
    /// Keys whose earlier row goes.
    pub(super) replaced: HashSet<RowKey>,
    /// Rows that were there already with the same values, or that a later row of the same batch replaced.
    pub(super) unchanged: u64,
}

/// Compares the rows with the table at the transaction's base. The earlier rows of the batch's keys are read into memory, at most one per row of the batch.
pub(super) async fn merge(transaction: &LakeTransaction<'_>, contract: &DatasetContract, rows: &RecordBatch) -> Result<Merge, WarehouseError> {
    let keys = keys_of(contract, rows)?;
    let mut last_row_of: HashMap<&RowKey, usize> = HashMap::new();
    for (row, key) in keys.iter().enumerate() {
        last_row_of.insert(key, row);
    }
    let there = rows_there(transaction, contract, keys.iter().cloned().collect()).await?;
    let revision_at = contract.column(REVISION).map(|(index, _)| index);
    let mut merge = Merge { rows: rows.clone(), replaced: HashSet::new(), unchanged: 0 };
    let (mut taken, mut revisions) = (Vec::new(), Vec::new());
    for (row, key) in keys.iter().enumerate() {
        let values = row_values(rows, row)?;
        match there.get(key) {
            _ if last_row_of.get(key) != Some(&row) => merge.unchanged += 1,
            Some(earlier) if same_but(revision_at, earlier, &values) => merge.unchanged += 1,
            Some(earlier) => {
                taken.push(row as u64);
                revisions.push(revision(revision_at, earlier) + 1);
                merge.replaced.insert(key.clone());
            }
            None => {
                taken.push(row as u64);
                revisions.push(1);
            }
        }
    }
    merge.rows = with_revisions(revision_at, &take_record_batch(rows, &UInt64Array::from(taken)).map_err(WarehouseError::broken)?, revisions)?;
    Ok(merge)
}

fn keys_of(contract: &DatasetContract, rows: &RecordBatch) -> Result<Vec<RowKey>, WarehouseError> {
    let columns: Vec<ArrayRef> = contract.key_indexes().into_iter().map(|index| rows.column(index).clone()).collect();
    row_keys(&columns)
}

async fn rows_there(
    transaction: &LakeTransaction<'_>,
    contract: &DatasetContract,
    keys: HashSet<RowKey>,
) -> Result<HashMap<RowKey, Vec<Value>>, WarehouseError> {
    let columns: Vec<&str> = contract.columns.iter().map(|column| column.name.as_str()).collect();
    let condition = key_is_one_of(&key_columns(contract), Arc::new(keys));
    let mut there = HashMap::new();
    for batch in transaction.rows(&TableName::dataset(&contract.name), condition, &columns).await? {
        for (row, key) in keys_of(contract, &batch)?.into_iter().enumerate() {
            there.insert(key, row_values(&batch, row)?);
        }
    }
    Ok(there)
}

fn row_values(rows: &RecordBatch, row: usize) -> Result<Vec<Value>, WarehouseError> {
    rows.columns().iter().map(|column| value_at(column, row)).collect()
}

fn same_but(ignored: Option<usize>, a: &[Value], b: &[Value]) -> bool {
    a.iter().zip(b).enumerate().all(|(index, (a, b))| Some(index) == ignored || a == b)
}

fn revision(revision_at: Option<usize>, row: &[Value]) -> i64 {
    match revision_at.and_then(|index| row.get(index)) {
        Some(Value::Integer(revision)) => *revision,
        _ => 0,
    }
}

fn with_revisions(revision_at: Option<usize>, rows: &RecordBatch, revisions: Vec<i64>) -> Result<RecordBatch, WarehouseError> {
    let Some(index) = revision_at else {
        return Ok(rows.clone());
    };
    let mut columns = rows.columns().to_vec();
    columns[index] = Arc::new(Int64Array::from(revisions));
    RecordBatch::try_new(rows.schema(), columns).map_err(WarehouseError::broken)
}
