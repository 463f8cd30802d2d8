use std::{
    iter,
    sync::{Arc, PoisonError},
};

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::SchemaRef;

use super::{Appender, Batch, Committed, Known, keys, latest, tables};
use crate::{
    contract::{DatasetContract, Mode},
    error::WarehouseError,
    lake::{LakeTransaction, TableName, key_is_one_of},
    rows::{RowsBuilder, Value},
};

/// What staging the rows came to.
struct Staged {
    rows: u64,
    unchanged: u64,
}

impl Appender {
    /// Commits the batch as one snapshot; when this returns, it is on disk and visible. A key that was committed before changes nothing.
    ///
    /// # Errors
    /// IDEMPOTENCY_KEY_REUSED when the key came with other content.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<Committed, WarehouseError> {
        let mut transaction = self.lake.begin().await;
        if let Some(known) = self.known(&batch.key).await? {
            return repeated(&batch, known);
        }
        let now = self.clock.now_micros();
        let staged = stage_rows(&mut transaction, &batch, now).await?;
        stage_quarantine(&mut transaction, &batch, now).await?;
        stage_resolutions(&mut transaction, &batch, now).await?;
        let record = one_row(tables::batch(), record(&batch, &staged, now))?;
        transaction.append_stamped(&TableName::kernel(tables::BATCH), &tables::batch(), &[record], "snapshot_id").await?;
        let landed = transaction.commit().await?;
        let snapshot_id = landed.snapshot_id;
        let known = Known { digest: batch.digest, rows: staged.rows, snapshot_id };
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(batch.key, known);
        // Only now may the next commit look the key up.
        drop(landed);
        Ok(Committed { snapshot_id, rows: staged.rows, repeated: false })
    }

    async fn known(&self, key: &str) -> Result<Option<Known>, WarehouseError> {
        let held = self.keys.lock().unwrap_or_else(PoisonError::into_inner).look_up(key);
        match held {
            Some(known) => Ok(known),
            None => keys::look_up_in_table(&self.lake, key).await,
        }
    }
}

fn repeated(batch: &Batch, known: Known) -> Result<Committed, WarehouseError> {
    if known.digest == batch.digest {
        return Ok(Committed { snapshot_id: known.snapshot_id, rows: known.rows, repeated: true });
    }
    // The key as its caller sent it: what stands before it says whose it is.
    let key = batch.key.rsplit('/').next().unwrap_or(&batch.key).to_owned();
    Err(WarehouseError::IdempotencyKeyReused { key })
}

async fn stage_rows(transaction: &mut LakeTransaction<'_>, batch: &Batch, now: i64) -> Result<Staged, WarehouseError> {
    let contract = &batch.dataset;
    let (table, schema) = (TableName::dataset(&contract.name), contract.table_schema());
    match contract.mode {
        Mode::Append => {
            let rows = with_hidden(&schema, &batch.rows, batch, now)?;
            transaction.append(&table, &schema, &[rows]).await?;
            Ok(Staged { rows: batch.rows.num_rows() as u64, unchanged: 0 })
        }
        Mode::Latest => {
            let merge = latest::merge(transaction, contract, &batch.rows).await?;
            let rows = with_hidden(&schema, &merge.rows, batch, now)?;
            if merge.replaced.is_empty() {
                transaction.append(&table, &schema, &[rows]).await?;
            } else {
                transaction.replace(&table, &schema, &[rows], key_is_one_of(&key_columns(contract), Arc::new(merge.replaced))).await?;
            }
            Ok(Staged { rows: merge.rows.num_rows() as u64, unchanged: merge.unchanged })
        }
    }
}

pub(super) fn key_columns(contract: &DatasetContract) -> Vec<(String, arrow_schema::DataType)> {
    contract.key_indexes().into_iter().map(|index| &contract.columns[index]).map(|column| (column.name.clone(), column.column_type.arrow())).collect()
}

/// The rows with the two hidden columns.
fn with_hidden(schema: &SchemaRef, rows: &RecordBatch, batch: &Batch, now: i64) -> Result<RecordBatch, WarehouseError> {
    let source = batch.feed.as_ref().map_or_else(|| format!("{}/{}", batch.source.name(), batch.principal), |feed| format!("feed/{feed}"));
    let sources: ArrayRef = Arc::new(StringArray::from_iter_values(iter::repeat_n(source, rows.num_rows())));
    let instants: ArrayRef = Arc::new(TimestampMicrosecondArray::from_value(now, rows.num_rows()).with_timezone("UTC"));
    let columns = rows.columns().iter().cloned().chain([sources, instants]).collect();
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
fn record(batch: &Batch, staged: &Staged, now: i64) -> Vec<Value> {
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
    ]
}

fn one_row(schema: SchemaRef, row: Vec<Value>) -> Result<RecordBatch, WarehouseError> {
    let mut rows = RowsBuilder::new(schema)?;
    rows.push(row)?;
    rows.finish()
}
