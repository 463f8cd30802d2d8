use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::{common::DFSchema, logical_expr::Expr, physical_expr::PhysicalExpr, prelude::SessionContext};
use datafusion_ducklake::{DeleteFileEntry, DuckLakeError, DuckLakeTable, DuckLakeWriteOptions, DuckLakeWriteTransaction, MetadataProvider, WriteMode};

use super::{Lake, TableName, failed};
use crate::error::WarehouseError;

// Limit: rows that go into the catalog itself instead of a Parquet file. A batch record is one row; a file of its own for it would cost two syncs and a file
// to open in every later scan. Quarantine beyond this is worth a file.
const INLINED_ROWS_MAX: usize = 200;

/// One commit in the making. Nothing is visible before [`LakeTransaction::commit`]; dropping the value leaves files that no snapshot names.
pub(crate) struct LakeTransaction<'a> {
    lake: &'a Lake,
    staged: DuckLakeWriteTransaction<'a>,
    base: i64,
    // Held until the value ends: what was read at `base` is what the commit builds on.
    _one_at_a_time: tokio::sync::MutexGuard<'a, ()>,
}

impl<'a> LakeTransaction<'a> {
    pub(super) fn new(lake: &'a Lake, one_at_a_time: tokio::sync::MutexGuard<'a, ()>) -> LakeTransaction<'a> {
        LakeTransaction { lake, staged: lake.writer.transaction(), base: lake.newest(), _one_at_a_time: one_at_a_time }
    }

    /// Rows of the snapshot that the commit follows.
    pub(crate) async fn rows(&self, table: &TableName, condition: Expr, columns: &[&str]) -> Result<Vec<RecordBatch>, WarehouseError> {
        self.lake.rows(self.base, table, Some(condition), columns).await
    }

    /// Adds rows to a table, as a Parquet file.
    pub(crate) async fn append(&mut self, table: &TableName, schema: &SchemaRef, rows: &[RecordBatch]) -> Result<(), WarehouseError> {
        self.staged.stage_write(table.schema, &table.name, schema, WriteMode::Append, rows).await.map_err(failed("writing rows"))
    }

    /// Adds few rows to a table of the kernel's own, within the catalog.
    pub(crate) async fn append_few(&mut self, table: &TableName, schema: &SchemaRef, rows: &[RecordBatch]) -> Result<(), WarehouseError> {
        let options = DuckLakeWriteOptions::default().with_data_inlining_row_limit(INLINED_ROWS_MAX);
        self.staged
            .stage_write_with_options(table.schema, &table.name, schema, WriteMode::Append, rows, &options)
            .await
            .map_err(failed("writing rows of the kernel"))
    }

    /// The same, and `snapshot_column` of every row receives the id of the snapshot that this commit becomes.
    pub(crate) async fn append_stamped(
        &mut self,
        table: &TableName,
        schema: &SchemaRef,
        rows: &[RecordBatch],
        snapshot_column: &str,
    ) -> Result<(), WarehouseError> {
        let options = DuckLakeWriteOptions::default().with_data_inlining_row_limit(INLINED_ROWS_MAX);
        self.staged
            .stage_write_with_snapshot_columns(table.schema, &table.name, schema, WriteMode::Append, rows, &options, &[snapshot_column])
            .await
            .map_err(failed("writing the batch record"))
    }

    /// Removes the rows that fit `removed` and adds others, in the same snapshot. The removal is a positional delete file beside each data file that holds such
    /// a row, cumulative with the one it had.
    pub(crate) async fn replace(&mut self, table: &TableName, schema: &SchemaRef, rows: &[RecordBatch], removed: Expr) -> Result<(), WarehouseError> {
        let deletes = self.deletes(table, removed).await?;
        self.staged.stage_write_with_deletes(table.schema, &table.name, schema, WriteMode::Append, rows, &deletes, &[]).await.map_err(failed("replacing rows"))
    }

    async fn deletes(&self, table: &TableName, removed: Expr) -> Result<Vec<DeleteFileEntry>, WarehouseError> {
        let Some(provider) = self.lake.table(self.base, table).await? else {
            return Ok(Vec::new());
        };
        let Some(opened) = provider.downcast_ref::<DuckLakeTable>() else {
            return Err(WarehouseError::broken("a table of the lake is no DuckLake table"));
        };
        let session = self.lake.session();
        let predicate = physical(&session, opened, removed)?;
        let mut entries = Vec::new();
        for file in opened.files().map_err(failed("listing data files"))? {
            let engine = |source| WarehouseError::Storage { doing: "finding the rows to replace", source: Box::new(source) };
            let matched = opened.resolve_positions(&session.state(), &file.file, predicate.clone()).await.map_err(engine)?;
            let before = match &file.delete_file {
                Some(deleted) => opened.read_delete_file_positions(&session.state(), deleted).await.map_err(engine)?,
                None => HashSet::new(),
            };
            if matched.is_subset(&before) {
                continue;
            }
            let mut positions: Vec<i64> = before.union(&matched).copied().collect();
            positions.sort_unstable();
            let delete =
                self.lake.writer.write_delete_file(table.schema, &table.name, &file.file.path, &positions).await.map_err(failed("writing a delete file"))?;
            entries.push(DeleteFileEntry { data_file_id: file.data_file_id, expected_prev_delete_file: file.delete_file_id, delete });
        }
        Ok(entries)
    }

    /// Publishes all of it as one snapshot; when it returns, the snapshot is on disk and is the newest.
    pub(crate) async fn commit(self) -> Result<Landed<'a>, WarehouseError> {
        let LakeTransaction { lake, staged, base, _one_at_a_time } = self;
        let snapshot = match staged.commit().await {
            Ok(written) => written.first().map_or(base, |first| first.snapshot_id),
            Err(error) => landed_all_the_same(lake, base, error)?,
        };
        lake.newest.store(snapshot, Ordering::SeqCst);
        Ok(Landed { snapshot_id: snapshot, _one_at_a_time })
    }
}

/// A commit that is done. The next one begins when this value ends, so that what the caller remembers of it (its key) is known to the next.
pub(crate) struct Landed<'a> {
    pub(crate) snapshot_id: i64,
    _one_at_a_time: tokio::sync::MutexGuard<'a, ()>,
}

/// A commit may fail after the catalog took it. Nobody else writes, so a newer snapshot than the base can only be this one.
fn landed_all_the_same(lake: &Lake, base: i64, error: DuckLakeError) -> Result<i64, WarehouseError> {
    match lake.provider.get_current_snapshot() {
        Ok(newest) if newest > base => {
            tracing::warn!(error = %error, snapshot = newest, "a commit reported a failure and is in the catalog: taken as done");
            Ok(newest)
        }
        _ => Err(failed("committing")(error)),
    }
}

fn physical(session: &SessionContext, table: &DuckLakeTable, condition: Expr) -> Result<Arc<dyn PhysicalExpr>, WarehouseError> {
    use datafusion::catalog::TableProvider;
    let schema = DFSchema::try_from(table.schema().as_ref().clone()).map_err(WarehouseError::broken)?;
    session.create_physical_expr(condition, &schema).map_err(WarehouseError::broken)
}
