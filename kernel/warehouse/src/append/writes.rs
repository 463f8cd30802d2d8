use std::{collections::HashSet, iter, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::SchemaRef;
use datafusion::{
    logical_expr::Expr,
    prelude::{col, lit},
};
use kernel_base::{City, SOURCE};

use super::{Batch, Change, Moved, RowSource, latest, tables};
use crate::{
    contract::{CITY, DatasetContract, Mode},
    error::WarehouseError,
    lake::{Lake, LakeTransaction, RowKey, TableName, key_is_one_of},
    rows::{Cell, RowsBuilder, Value},
};

/// What one commit does to each table: a transaction takes one write of a table, so the rows of several batches come together here first.
#[derive(Default)]
pub(super) struct Writes(Vec<TableWrite>);

struct TableWrite {
    table: TableName,
    schema: SchemaRef,
    added: Vec<RecordBatch>,
    /// What holds for the rows that leave.
    leaves: Option<Expr>,
}

/// What a batch came to.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) rows: u64,
    pub(super) unchanged: u64,
    pub(super) removed: u64,
    /// Rows that leave their place and are not removed: they are set aside, or others replace them.
    moved: u64,
}

impl Writes {
    fn add(&mut self, write: TableWrite) {
        if write.leaves.is_none() && write.added.iter().all(|rows| rows.num_rows() == 0) {
            return;
        }
        match self.0.iter_mut().find(|there| there.table == write.table) {
            Some(there) => {
                // The contract may have been revised between them, by columns at its end.
                if there.schema.fields().len() < write.schema.fields().len() {
                    there.schema = write.schema;
                }
                there.added.extend(write.added);
                there.leaves = there.leaves.take().into_iter().chain(write.leaves).reduce(Expr::or);
            }
            None => self.0.push(write),
        }
    }

    /// Stages all of it. Gives of each table that rows left how many.
    async fn stage(self, transaction: &mut LakeTransaction<'_>) -> Result<Vec<(TableName, u64)>, WarehouseError> {
        let mut removed = Vec::new();
        for TableWrite { table, schema, added, leaves } in self.0 {
            match leaves {
                None => transaction.append(&table, &schema, &added).await?,
                Some(leaves) => {
                    let count = transaction.replace(&table, &schema, &added, leaves).await?;
                    removed.push((table, count));
                }
            }
        }
        Ok(removed)
    }
}

/// Stages the batches, of which one at most removes rows of a dataset, and their records. Gives what each came to. `is_written` when the transaction has the rows
/// of the one batch already.
pub(super) async fn stage(
    lake: &Lake,
    transaction: &mut LakeTransaction<'_>,
    batches: &[&Batch],
    is_written: bool,
    now: i64,
) -> Result<Vec<Counts>, WarehouseError> {
    let (mut writes, mut counts) = (Writes::default(), Vec::new());
    for batch in batches {
        match &batch.change {
            Change::Add { rows, .. } if is_written => counts.push(Counts { rows: rows.num_rows() as u64, ..Counts::default() }),
            _ => {
                let (write, count) = rows_of(lake, transaction, batch, now).await?;
                writes.add(write);
                counts.push(count);
            }
        }
        writes.add(aside_of(batch, now)?);
    }
    for (table, removed) in writes.stage(transaction).await? {
        let of_table = batches.iter().zip(&mut counts).filter(|(batch, _)| TableName::dataset(&batch.dataset.name) == table);
        of_table.for_each(|(_, count)| count.removed = removed.saturating_sub(count.moved));
    }
    stage_few(transaction, tables::QUARANTINE, tables::quarantine(), batches, |rows, batch| push_quarantined(rows, batch, now)).await?;
    stage_few(transaction, tables::RESOLUTION, tables::resolution(), batches, |rows, batch| push_resolved(rows, batch, now)).await?;
    let mut records = RowsBuilder::new(tables::batch())?;
    for (batch, counts) in batches.iter().zip(&counts) {
        records.push(record(batch, counts, now))?;
    }
    transaction.append_stamped(&TableName::kernel(tables::BATCH), &tables::batch(), &[records.finish()?], "snapshot_id").await?;
    Ok(counts)
}

/// What the batch does to its dataset.
async fn rows_of(lake: &Lake, transaction: &LakeTransaction<'_>, batch: &Batch, now: i64) -> Result<(TableWrite, Counts), WarehouseError> {
    let contract = &batch.dataset;
    let (table, schema) = (TableName::dataset(&contract.name), contract.table_schema());
    let (added, leaves, counts) = match (&batch.change, contract.mode) {
        (Change::Add { rows, restates, settled, .. }, Mode::Append) => {
            let restated = restates.iter().map(|source| of_source(batch.city, source));
            let leaves = restated.chain(conditions(&settled.leaving)).reduce(Expr::or);
            let counts = Counts { rows: rows.num_rows() as u64, moved: super::count_of(&settled.leaving) as u64, ..Counts::default() };
            (iter::once(with_hidden(&schema, rows, batch, now)?).chain(moved_rows(&settled.returning)).collect(), leaves, counts)
        }
        // What a file restates of such a dataset is told by the keys.
        (Change::Add { rows, .. }, Mode::Latest) => {
            let merge = latest::merge(transaction, contract, batch.city, &row_source(batch), rows).await?;
            let counts = Counts { rows: merge.rows.num_rows() as u64, unchanged: merge.unchanged, moved: merge.replaced.len() as u64, removed: 0 };
            let leaves = (!merge.replaced.is_empty()).then(|| {
                let replaced = key_is_one_of(&key_columns(contract), Arc::new(merge.replaced));
                latest::in_city(contract, batch.city, replaced)
            });
            (vec![with_hidden(&schema, &merge.rows, batch, now)?], leaves, counts)
        }
        (Change::TakeBack { source, settled, .. }, Mode::Append) => {
            let leaves = conditions(&settled.leaving).fold(of_source(batch.city, source), Expr::or);
            let counts = Counts { rows: super::count_of(&settled.returning) as u64, moved: super::count_of(&settled.leaving) as u64, ..Counts::default() };
            (moved_rows(&settled.returning).collect(), Some(leaves), counts)
        }
        (Change::TakeBack { source, before_snapshot_id, gone, .. }, Mode::Latest) => {
            let replaced = latest::Replaced { source, snapshot_id: *before_snapshot_id, gone };
            let before = latest::before(lake, transaction, contract, batch.city, replaced).await?;
            let counts = Counts { rows: before.num_rows() as u64, ..Counts::default() };
            (vec![before], Some(of_source(batch.city, source)), counts)
        }
    };
    Ok((TableWrite { table, schema, added, leaves }, counts))
}

/// What the batch does to the table of rows that do not count: those of this batch and of other parts come, those of the file that leaves go, and those that count
/// from now on.
fn aside_of(batch: &Batch, now: i64) -> Result<TableWrite, WarehouseError> {
    let (table, schema) = (TableName::aside(&batch.dataset.name), batch.dataset.table_schema());
    let (own, leaves, settled) = match &batch.change {
        Change::Add { aside, restates, settled, .. } => (aside.as_ref(), restates.as_ref(), settled),
        Change::TakeBack { source, settled, .. } => (None, Some(source), settled),
    };
    let own = own.map(|rows| with_hidden(&schema, rows, batch, now)).transpose()?;
    let added = own.into_iter().chain(moved_rows(&settled.leaving)).collect();
    let leaves = leaves.map(|source| of_source(batch.city, source)).into_iter().chain(conditions(&settled.returning)).reduce(Expr::or);
    Ok(TableWrite { table, schema, added, leaves })
}

fn moved_rows(moved: &[Moved]) -> impl Iterator<Item = RecordBatch> {
    moved.iter().flat_map(|moved| moved.rows.iter().cloned())
}

fn conditions(moved: &[Moved]) -> impl Iterator<Item = Expr> {
    moved.iter().map(|moved| moved.condition.clone())
}

/// Those rows of a file that have one of these keys.
pub(crate) fn of_keys(contract: &DatasetContract, city: City, source: &RowSource, keys: Arc<HashSet<RowKey>>) -> Expr {
    of_source(city, source).and(key_is_one_of(&key_columns(contract), keys))
}

/// The rows of a file. The city is there to skip files by.
pub(crate) fn of_source(city: City, source: &RowSource) -> Expr {
    // Reference rows of the province name their own city.
    let is_source = col(SOURCE).eq(lit(source.as_str()));
    if city == City::PROVINCE { is_source } else { is_source.and(col(CITY).eq(lit(city.to_string()))) }
}

/// Where the rows of a batch say that they came from.
pub(super) fn row_source(batch: &Batch) -> RowSource {
    match (&batch.feed, &batch.file) {
        (Some(feed), Some(file)) => RowSource::file(feed, file.period.as_deref().unwrap_or("-"), file.part, &file.sha256),
        _ => RowSource::call(batch.source, &batch.principal),
    }
}

pub(super) fn key_columns(contract: &DatasetContract) -> Vec<(String, arrow_schema::DataType)> {
    contract.key_indexes().into_iter().map(|index| &contract.columns[index]).map(|column| (column.name.clone(), column.column_type.arrow())).collect()
}

/// The rows with the two hidden columns.
pub(super) fn with_hidden(schema: &SchemaRef, rows: &RecordBatch, batch: &Batch, now: i64) -> Result<RecordBatch, WarehouseError> {
    let sources: ArrayRef = Arc::new(StringArray::from_iter_values(iter::repeat_n(row_source(batch).as_str(), rows.num_rows())));
    let instants: ArrayRef = Arc::new(TimestampMicrosecondArray::from_value(now, rows.num_rows()).with_timezone("UTC"));
    let columns = [sources, instants].into_iter().chain(rows.columns().iter().cloned()).collect();
    RecordBatch::try_new(schema.clone(), columns).map_err(WarehouseError::broken)
}

/// Adds the rows that the batches have for one of the kernel's tables, if there are any.
async fn stage_few(
    transaction: &mut LakeTransaction<'_>,
    table: &str,
    schema: SchemaRef,
    batches: &[&Batch],
    push: impl Fn(&mut RowsBuilder, &Batch) -> Result<(), WarehouseError>,
) -> Result<(), WarehouseError> {
    let mut rows = RowsBuilder::new(schema.clone())?;
    batches.iter().try_for_each(|batch| push(&mut rows, batch))?;
    let rows = rows.finish()?;
    if rows.num_rows() == 0 {
        return Ok(());
    }
    transaction.append_few(&TableName::kernel(table), &schema, &[rows]).await
}

fn push_quarantined(rows: &mut RowsBuilder, batch: &Batch, now: i64) -> Result<(), WarehouseError> {
    let (Some(file), Some(feed)) = (&batch.file, &batch.feed) else {
        return Ok(());
    };
    for bad in &batch.quarantined {
        rows.push(vec![
            bad.quarantine_id.as_str().into(),
            feed.as_str().into(),
            batch.city.to_string().into(),
            file.name.as_str().into(),
            file.sha256.as_str().into(),
            bad.line.into(),
            bad.column.clone().into(),
            bad.reason.into(),
            bad.message.as_str().into(),
            bad.raw_text.as_str().into(),
            bad.header.clone().into(),
            Value::Instant(now),
        ])?;
    }
    Ok(())
}

fn push_resolved(rows: &mut RowsBuilder, batch: &Batch, now: i64) -> Result<(), WarehouseError> {
    for quarantine_id in &batch.resolved {
        let feed = batch.feed.clone().unwrap_or_default();
        rows.push(vec![quarantine_id.as_str().into(), feed.into(), batch.city.to_string().into(), batch.principal.as_str().into(), Value::Instant(now)])?;
    }
    Ok(())
}

/// The batch record, in the order of its table.
fn record<'a>(batch: &'a Batch, counts: &Counts, now: i64) -> Vec<Cell<'a>> {
    let file = batch.file.as_ref();
    vec![
        batch.key.as_str().into(),
        batch.source.name().into(),
        batch.principal.as_str().into(),
        batch.dataset.name.as_str().into(),
        batch.feed.clone().into(),
        batch.city.to_string().into(),
        file.map(|file| file.name.clone()).into(),
        file.map(|file| file.sha256.clone()).into(),
        file.map(|file| file.first_line).into(),
        file.map(|file| file.last_line).into(),
        Value::Boolean(file.is_some_and(|file| file.is_last)),
        counts.rows.into(),
        (batch.quarantined.len() as u64).into(),
        counts.unchanged.into(),
        batch.digest.as_str().into(),
        batch.newest_at.map_or(Value::Null, Value::Instant),
        Value::Instant(now),
        Value::Null,
        file.and_then(|file| file.period.clone()).into(),
        Value::Integer(file.map_or(0, |file| i64::from(file.part))),
        batch.duplicates().into(),
        counts.removed.into(),
    ]
}
