use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, UInt64Array, cast::AsArray, new_null_array, types::Int64Type};
use arrow_row::Rows;
use arrow_schema::{FieldRef, SchemaRef};
use arrow_select::{concat::concat_batches, take::take_record_batch};
use datafusion::{
    logical_expr::Expr,
    prelude::{col, lit},
};
use kernel_base::{City, SOURCE};

use super::{
    Gone, RowSource,
    writes::{key_columns, of_source},
};
use crate::{
    contract::{CITY, DatasetContract, HIDDEN_COLUMNS, REVISION, Visibility},
    error::WarehouseError,
    lake::{Lake, LakeTransaction, RowKey, TableName, key_is_one_of, row_bytes, row_keys},
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
/// A row that a newer file of the same feed brought stays: a late file does not undo what came after it.
pub(super) async fn merge(
    transaction: &LakeTransaction<'_>,
    contract: &DatasetContract,
    city: City,
    source: &RowSource,
    rows: &RecordBatch,
) -> Result<Merge, WarehouseError> {
    let (keys, values) = (keys_of(contract, rows)?, values_of(contract, rows)?);
    let mut last_row_of: HashMap<&RowKey, usize> = HashMap::new();
    for (row, key) in keys.iter().enumerate() {
        last_row_of.insert(key, row);
    }
    let there = rows_there(transaction, contract, city, keys.iter().cloned().collect()).await?;
    let revision_at = contract.column(REVISION).map(|(index, _)| index);
    let mut merge = Merge { rows: rows.clone(), replaced: HashSet::new(), unchanged: 0 };
    let (mut taken, mut revisions) = (Vec::new(), Vec::new());
    for (row, key) in keys.iter().enumerate() {
        match there.get(key) {
            _ if last_row_of.get(key) != Some(&row) => merge.unchanged += 1,
            Some(earlier) if source.is_older_than(&earlier.source) || *earlier.values == *values.row(row).data() => merge.unchanged += 1,
            Some(earlier) => {
                taken.push(row as u64);
                revisions.push(earlier.revision + 1);
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

/// What the rows say: all their values but the revision, which the kernel counts.
fn values_of(contract: &DatasetContract, rows: &RecordBatch) -> Result<Rows, WarehouseError> {
    let columns = contract.columns.iter().zip(rows.columns()).filter(|(column, _)| column.name != REVISION);
    row_bytes(&columns.map(|(_, values)| values.clone()).collect::<Vec<_>>())
}

/// The revision of each row, 0 where the dataset has none.
fn revisions_of(contract: &DatasetContract, rows: &RecordBatch) -> Vec<i64> {
    match contract.column(REVISION) {
        Some((index, _)) => rows.column(index).as_primitive::<Int64Type>().iter().map(Option::unwrap_or_default).collect(),
        None => vec![0; rows.num_rows()],
    }
}

/// A row of the table.
struct Earlier {
    source: String,
    revision: i64,
    values: Box<[u8]>,
}

/// The key names a row within its city: what one city sends never touches another's rows. Reference rows are the province's, and their key names them alone.
pub(super) fn in_city(contract: &DatasetContract, city: City, condition: Expr) -> Expr {
    match contract.visibility {
        Visibility::City => col(CITY).eq(lit(city.to_string())).and(condition),
        Visibility::Shared => condition,
    }
}

async fn rows_there(
    transaction: &LakeTransaction<'_>,
    contract: &DatasetContract,
    city: City,
    keys: HashSet<RowKey>,
) -> Result<HashMap<RowKey, Earlier>, WarehouseError> {
    let columns: Vec<&str> = contract.columns.iter().map(|column| column.name.as_str()).chain([SOURCE]).collect();
    let condition = in_city(contract, city, key_is_one_of(&key_columns(contract), Arc::new(keys)));
    let mut there = HashMap::new();
    for batch in transaction.rows(&TableName::dataset(&contract.name), condition, &columns).await? {
        let sources = batch.column(batch.num_columns() - 1).as_string::<i32>().clone();
        let rows = batch.project(&(0..batch.num_columns() - 1).collect::<Vec<_>>()).map_err(WarehouseError::broken)?;
        let (values, revisions) = (values_of(contract, &rows)?, revisions_of(contract, &rows));
        for (row, key) in keys_of(contract, &rows)?.into_iter().enumerate() {
            there.insert(key, Earlier { source: sources.value(row).to_owned(), revision: revisions[row], values: values.row(row).data().into() });
        }
    }
    Ok(there)
}

/// What a file that is taken back had replaced.
pub(super) struct Replaced<'a> {
    pub(super) source: &'a RowSource,
    /// The snapshot before the file.
    pub(super) snapshot_id: i64,
    pub(super) gone: &'a Gone,
}

/// The rows that stood at a snapshot where rows of a file stand now, hidden columns among them, with the revision after the one that goes. Where a row of a
/// file stood that is gone itself, that which this one had replaced.
pub(super) async fn before(
    lake: &Lake,
    transaction: &LakeTransaction<'_>,
    contract: &DatasetContract,
    city: City,
    replaced: Replaced<'_>,
) -> Result<RecordBatch, WarehouseError> {
    let (table, schema) = (TableName::dataset(&contract.name), contract.table_schema());
    let declared: Vec<&str> = contract.columns.iter().map(|column| column.name.as_str()).collect();
    let revision_at = contract.column(REVISION).map(|(index, _)| index);
    let mut revisions: HashMap<RowKey, i64> = HashMap::new();
    for batch in transaction.rows(&table, of_source(city, replaced.source), &declared).await? {
        revisions.extend(keys_of(contract, &batch)?.into_iter().zip(revisions_of(contract, &batch)));
    }
    let mut looked_for = BTreeMap::from([(replaced.snapshot_id, revisions.keys().cloned().collect::<HashSet<_>>())]);
    let mut restored = Vec::new();
    // The newest first: each look goes further back, so that this ends.
    while let Some((snapshot_id, keys)) = looked_for.pop_last() {
        let condition = in_city(contract, city, key_is_one_of(&key_columns(contract), Arc::new(keys)));
        for batch in rows_at(lake, snapshot_id, &table, condition, &schema).await? {
            let sources = batch.column(0).as_string::<i32>().clone();
            let rows = batch.project(&(HIDDEN_COLUMNS..batch.num_columns()).collect::<Vec<_>>()).map_err(WarehouseError::broken)?;
            let (mut kept, mut next) = (Vec::new(), Vec::new());
            for (row, key) in keys_of(contract, &rows)?.into_iter().enumerate() {
                match replaced.gone.look_before(sources.value(row), snapshot_id) {
                    Some(earlier) => drop(looked_for.entry(earlier).or_default().insert(key)),
                    None => {
                        kept.push(row as u64);
                        next.push(revisions.get(&key).copied().unwrap_or(0) + 1);
                    }
                }
            }
            let batch = take_record_batch(&batch, &UInt64Array::from(kept)).map_err(WarehouseError::broken)?;
            restored.push(with_revisions(revision_at.map(|index| index + HIDDEN_COLUMNS), &batch, next)?);
        }
    }
    concat_batches(&schema, &restored).map_err(WarehouseError::broken)
}

/// Rows of a table as they were at a snapshot, in its columns of today: those that came since are null.
async fn rows_at(lake: &Lake, snapshot_id: i64, table: &TableName, condition: Expr, schema: &SchemaRef) -> Result<Vec<RecordBatch>, WarehouseError> {
    let Some(then) = lake.frame(snapshot_id, table).await? else {
        return Ok(Vec::new());
    };
    let names: Vec<&str> =
        schema.fields().iter().map(|field| field.name().as_str()).filter(|name| then.schema().has_column_with_unqualified_name(name)).collect();
    let batches = lake.rows(snapshot_id, table, Some(condition), &names).await?;
    let in_todays_columns = |batch: RecordBatch| {
        let column = |field: &FieldRef| batch.column_by_name(field.name()).cloned().unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()));
        RecordBatch::try_new(schema.clone(), schema.fields().iter().map(column).collect()).map_err(WarehouseError::broken)
    };
    batches.into_iter().map(in_todays_columns).collect()
}

fn with_revisions(revision_at: Option<usize>, rows: &RecordBatch, revisions: Vec<i64>) -> Result<RecordBatch, WarehouseError> {
    let Some(index) = revision_at else {
        return Ok(rows.clone());
    };
    let mut columns = rows.columns().to_vec();
    columns[index] = Arc::new(Int64Array::from(revisions));
    RecordBatch::try_new(rows.schema(), columns).map_err(WarehouseError::broken)
}
