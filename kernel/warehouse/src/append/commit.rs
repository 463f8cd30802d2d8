use std::{
    collections::HashSet,
    iter,
    sync::{Arc, PoisonError},
};

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::SchemaRef;
use datafusion::{
    logical_expr::Expr,
    prelude::{col, lit},
};
use kernel_base::{City, SOURCE};

use super::{Appender, Batch, Change, Committed, Known, Moved, RowSource, keys, latest, tables};
use crate::{
    contract::{CITY, DatasetContract, Mode},
    error::WarehouseError,
    lake::{LakeTransaction, RowKey, Staged, TableName, key_is_one_of},
    rows::{Cell, RowsBuilder, Value},
};

// Limit: batches of fewer rows are written in their turn. Their file costs a few milliseconds; that of a full chunk some hundreds.
const WRITTEN_AHEAD_ROWS_MIN: usize = 20_000;

/// What staging the rows came to.
#[derive(Default)]
struct StagedRows {
    rows: u64,
    unchanged: u64,
    removed: u64,
}

/// A batch whose rows are written, as far as they can be before its turn.
pub(crate) struct Prepared<'a> {
    appender: &'a Appender,
    staged: Staged<'a>,
    batch: Batch,
    now: i64,
    /// Whether the rows are in their file.
    is_written: bool,
}

impl Appender {
    /// Commits the batch as one snapshot; when this returns, it is on disk and visible. A key that was committed before changes nothing.
    ///
    /// # Errors
    /// IDEMPOTENCY_KEY_REUSED when the key came with other content.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<Committed, WarehouseError> {
        self.prepare(batch).await?.commit().await
    }

    /// Writes the rows of a batch that only adds, so that several batches write at once and only their commits wait for each other.
    pub(crate) async fn prepare(&self, batch: Batch) -> Result<Prepared<'_>, WarehouseError> {
        let (mut staged, now) = (self.lake.stage(), self.clock.now_micros());
        let mut is_written = false;
        let table = TableName::dataset(&batch.dataset.name);
        // The first rows make their table, which two may not do at once; and beginning to write takes the catalog's lock, for which few rows are not worth a fight.
        if let (Change::Add { rows, restates: None, settled, .. }, Mode::Append, true) = (&batch.change, batch.dataset.mode, self.lake.is_there(&table))
            && settled.is_nothing()
            && rows.num_rows() >= WRITTEN_AHEAD_ROWS_MIN
            && self.known(&batch.key).await?.is_none()
        {
            let schema = batch.dataset.table_schema();
            let rows = with_hidden(&schema, rows, &batch, now)?;
            staged.append(&table, &schema, &[rows]).await?;
            is_written = true;
        }
        Ok(Prepared { appender: self, staged, batch, now, is_written })
    }

    async fn known(&self, key: &str) -> Result<Option<Known>, WarehouseError> {
        let held = self.keys.lock().unwrap_or_else(PoisonError::into_inner).look_up(key);
        match held {
            Some(known) => Ok(known),
            None => keys::look_up_in_table(&self.lake, key).await,
        }
    }
}

impl Prepared<'_> {
    /// Commits in its turn.
    ///
    /// # Errors
    /// IDEMPOTENCY_KEY_REUSED when the key came with other content.
    pub(crate) async fn commit(self) -> Result<Committed, WarehouseError> {
        let Prepared { appender, staged, batch, now, is_written } = self;
        let mut transaction = staged.begin().await?;
        if let Some(known) = appender.known(&batch.key).await? {
            return repeated(&batch, known, now);
        }
        let counts = match &batch.change {
            Change::Add { rows, .. } if is_written => StagedRows { rows: rows.num_rows() as u64, ..StagedRows::default() },
            _ => stage_rows(appender, &mut transaction, &batch, now).await?,
        };
        stage_aside(&mut transaction, &batch, now).await?;
        stage_quarantine(&mut transaction, &batch, now).await?;
        stage_resolutions(&mut transaction, &batch, now).await?;
        let record = one_row(tables::batch(), record(&batch, &counts, now))?;
        transaction.append_stamped(&TableName::kernel(tables::BATCH), &tables::batch(), &[record], "snapshot_id").await?;
        let landed = transaction.commit(|snapshot_id| appender.partial_files.note(&batch, snapshot_id)).await?;
        let snapshot_id = landed.snapshot_id;
        let StagedRows { rows, unchanged, removed } = counts;
        let known = Known { digest: batch.digest, rows, snapshot_id };
        appender.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(batch.key, known);
        // Only now may the next commit look the key up.
        drop(landed);
        Ok(Committed { snapshot_id, rows, unchanged, removed, repeated: false, committed_at: now })
    }
}

fn repeated(batch: &Batch, known: Known, now: i64) -> Result<Committed, WarehouseError> {
    if known.digest == batch.digest {
        return Ok(Committed { snapshot_id: known.snapshot_id, rows: known.rows, unchanged: 0, removed: 0, repeated: true, committed_at: now });
    }
    // The key as its caller sent it: what stands before it says whose it is.
    let key = batch.key.rsplit('/').next().unwrap_or(&batch.key).to_owned();
    Err(WarehouseError::IdempotencyKeyReused { key })
}

async fn stage_rows(appender: &Appender, transaction: &mut LakeTransaction<'_>, batch: &Batch, now: i64) -> Result<StagedRows, WarehouseError> {
    let contract = &batch.dataset;
    let (table, schema) = (TableName::dataset(&contract.name), contract.table_schema());
    match (&batch.change, contract.mode) {
        (Change::Add { rows, restates, settled, .. }, Mode::Append) => {
            let count = rows.num_rows() as u64;
            let added: Vec<RecordBatch> = iter::once(with_hidden(&schema, rows, batch, now)?).chain(moved_rows(&settled.returning)).collect();
            let restated = restates.iter().map(|source| of_source(batch.city, source));
            let removed = match restated.chain(conditions(&settled.leaving)).reduce(Expr::or) {
                None => transaction.append(&table, &schema, &added).await.map(|()| 0)?,
                Some(removed) => transaction.replace(&table, &schema, &added, removed).await?,
            };
            // Those that are set aside did not leave with the restated file.
            Ok(StagedRows { rows: count, unchanged: 0, removed: removed.saturating_sub(super::count_of(&settled.leaving) as u64) })
        }
        // What a file restates of such a dataset is told by the keys.
        (Change::Add { rows, .. }, Mode::Latest) => {
            let merge = latest::merge(transaction, contract, batch.city, &row_source(batch), rows).await?;
            let rows = with_hidden(&schema, &merge.rows, batch, now)?;
            if merge.replaced.is_empty() {
                transaction.append(&table, &schema, &[rows]).await?;
            } else {
                let replaced = key_is_one_of(&key_columns(contract), Arc::new(merge.replaced));
                transaction.replace(&table, &schema, &[rows], latest::in_city(contract, batch.city, replaced)).await?;
            }
            Ok(StagedRows { rows: merge.rows.num_rows() as u64, unchanged: merge.unchanged, removed: 0 })
        }
        (Change::TakeBack { source, settled, .. }, Mode::Append) => {
            let added: Vec<RecordBatch> = moved_rows(&settled.returning).collect();
            let rows = super::count_of(&settled.returning) as u64;
            let leaves = conditions(&settled.leaving).fold(of_source(batch.city, source), Expr::or);
            let removed = transaction.replace(&table, &schema, &added, leaves).await?;
            Ok(StagedRows { rows, unchanged: 0, removed: removed.saturating_sub(super::count_of(&settled.leaving) as u64) })
        }
        (Change::TakeBack { source, before_snapshot_id, gone, .. }, Mode::Latest) => {
            let replaced = latest::Replaced { source, snapshot_id: *before_snapshot_id, gone };
            let before = latest::before(appender.lake(), transaction, contract, batch.city, replaced).await?;
            let rows = before.num_rows() as u64;
            let removed = transaction.replace(&table, &schema, &[before], of_source(batch.city, source)).await?;
            Ok(StagedRows { rows, unchanged: 0, removed })
        }
    }
}

/// Keeps the table of rows that do not count: those of this batch and of other parts come, those of the file that leaves go, and those that count from now on.
async fn stage_aside(transaction: &mut LakeTransaction<'_>, batch: &Batch, now: i64) -> Result<(), WarehouseError> {
    let (table, schema) = (TableName::aside(&batch.dataset.name), batch.dataset.table_schema());
    let (own, leaves, settled) = match &batch.change {
        Change::Add { aside, restates, settled, .. } => (aside.as_ref(), restates.as_ref(), settled),
        Change::TakeBack { source, settled, .. } => (None, Some(source), settled),
    };
    let own = own.map(|rows| with_hidden(&schema, rows, batch, now)).transpose()?;
    let added: Vec<RecordBatch> = own.into_iter().chain(moved_rows(&settled.leaving)).collect();
    let leaves = leaves.map(|source| of_source(batch.city, source));
    match leaves.into_iter().chain(conditions(&settled.returning)).reduce(Expr::or) {
        None => transaction.append(&table, &schema, &added).await,
        Some(removed) => transaction.replace(&table, &schema, &added, removed).await.map(drop),
    }
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
fn with_hidden(schema: &SchemaRef, rows: &RecordBatch, batch: &Batch, now: i64) -> Result<RecordBatch, WarehouseError> {
    let sources: ArrayRef = Arc::new(StringArray::from_iter_values(iter::repeat_n(row_source(batch).as_str(), rows.num_rows())));
    let instants: ArrayRef = Arc::new(TimestampMicrosecondArray::from_value(now, rows.num_rows()).with_timezone("UTC"));
    let columns = [sources, instants].into_iter().chain(rows.columns().iter().cloned()).collect();
    RecordBatch::try_new(schema.clone(), columns).map_err(WarehouseError::broken)
}

async fn stage_quarantine(transaction: &mut LakeTransaction<'_>, batch: &Batch, now: i64) -> Result<(), WarehouseError> {
    let (Some(file), Some(feed)) = (&batch.file, &batch.feed) else {
        return Ok(());
    };
    if batch.quarantined.is_empty() {
        return Ok(());
    }
    let mut rows = RowsBuilder::new(tables::quarantine())?;
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
    transaction.append_few(&TableName::kernel(tables::QUARANTINE), &tables::quarantine(), &[rows.finish()?]).await
}

async fn stage_resolutions(transaction: &mut LakeTransaction<'_>, batch: &Batch, now: i64) -> Result<(), WarehouseError> {
    if batch.resolved.is_empty() {
        return Ok(());
    }
    let mut rows = RowsBuilder::new(tables::resolution())?;
    for quarantine_id in &batch.resolved {
        let feed = batch.feed.clone().unwrap_or_default();
        rows.push(vec![quarantine_id.as_str().into(), feed.into(), batch.city.to_string().into(), batch.principal.as_str().into(), Value::Instant(now)])?;
    }
    transaction.append_few(&TableName::kernel(tables::RESOLUTION), &tables::resolution(), &[rows.finish()?]).await
}

/// The batch record, in the order of its table.
fn record<'a>(batch: &'a Batch, staged: &StagedRows, now: i64) -> Vec<Cell<'a>> {
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
        staged.rows.into(),
        (batch.quarantined.len() as u64).into(),
        staged.unchanged.into(),
        batch.digest.as_str().into(),
        batch.newest_at.map_or(Value::Null, Value::Instant),
        Value::Instant(now),
        Value::Null,
        file.and_then(|file| file.period.clone()).into(),
        Value::Integer(file.map_or(0, |file| i64::from(file.part))),
        batch.duplicates().into(),
        staged.removed.into(),
    ]
}

fn one_row(schema: SchemaRef, row: Vec<Cell<'_>>) -> Result<RecordBatch, WarehouseError> {
    let mut rows = RowsBuilder::new(schema)?;
    rows.push(row)?;
    rows.finish()
}
