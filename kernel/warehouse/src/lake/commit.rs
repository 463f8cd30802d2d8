use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, atomic::Ordering},
    thread,
};

use arrow_array::{RecordBatch, new_null_array};
use arrow_schema::SchemaRef;
use datafusion::{common::DFSchema, logical_expr::Expr, physical_expr::PhysicalExpr, prelude::SessionContext};
use datafusion_ducklake::{DeleteFileEntry, DuckLakeError, DuckLakeTable, DuckLakeWriteOptions, DuckLakeWriteTransaction, WriteMode};

use super::{Lake, TableName, failed};
use crate::error::WarehouseError;

// Limit: rows that go into the catalog itself instead of a Parquet file. A batch record is one row; a file of its own for it would cost two syncs and a file
// to open in every later scan. Quarantine beyond this is worth a file.
const INLINED_ROWS_MAX: usize = 200;

// Rows that the writer is given at one time: it looks at the size of what it holds between them.
const SLICE_ROWS: usize = 8_192;

/// Rows on their way to a commit, written to their files before the commit's turn comes. Dropping the value leaves files that no snapshot names.
pub(crate) struct Staged<'a> {
    lake: &'a Lake,
    staged: DuckLakeWriteTransaction<'a>,
    /// Those that the commit changes.
    tables: Vec<TableName>,
}

impl<'a> Staged<'a> {
    pub(super) fn new(lake: &'a Lake) -> Staged<'a> {
        Staged { lake, staged: lake.writer().transaction(), tables: Vec::new() }
    }

    /// Adds rows to a table, as a Parquet file. One transaction takes one such call for a table.
    pub(crate) async fn append(&mut self, table: &TableName, schema: &SchemaRef, rows: &[RecordBatch]) -> Result<(), WarehouseError> {
        // Without rows nothing is staged, and a table that is not there is not made.
        if rows.iter().any(|batch| batch.num_rows() > 0) {
            self.tables.push(table.clone());
        }
        self.staged.stage_write(&table.schema, &table.name, schema, WriteMode::Append, &in_slices(rows)).await.map_err(self.lake.write_failed("writing rows"))
    }

    /// Waits for the turn of this commit; there is one at a time.
    ///
    /// # Errors
    /// When an earlier commit left the catalog in doubt.
    pub(crate) async fn begin(self) -> Result<LakeTransaction<'a>, WarehouseError> {
        let turn = self.lake.committing.lock().await;
        self.begin_in(turn)
    }

    pub(super) fn begin_in(self, turn: tokio::sync::MutexGuard<'a, ()>) -> Result<LakeTransaction<'a>, WarehouseError> {
        self.lake.refuse_in_doubt()?;
        Ok(LakeTransaction { lake: self.lake, base: self.lake.newest(), staged: self, _one_at_a_time: turn })
    }
}

/// One commit in the making, alone in its turn. Nothing is visible before [`LakeTransaction::commit`]; dropping the value leaves files that no snapshot names.
pub(crate) struct LakeTransaction<'a> {
    lake: &'a Lake,
    staged: Staged<'a>,
    base: i64,
    // Held until the value ends: what was read at `base` is what the commit builds on.
    _one_at_a_time: tokio::sync::MutexGuard<'a, ()>,
}

impl<'a> LakeTransaction<'a> {
    /// Rows of the snapshot that the commit follows.
    pub(crate) async fn rows(&self, table: &TableName, condition: Expr, columns: &[&str]) -> Result<Vec<RecordBatch>, WarehouseError> {
        self.lake.rows(self.base, table, Some(condition), columns).await
    }

    /// Adds rows to a table, as a Parquet file. Columns that came to the table since their contract was looked up are null in them.
    pub(crate) async fn append(&mut self, table: &TableName, schema: &SchemaRef, rows: &[RecordBatch]) -> Result<(), WarehouseError> {
        let (schema, rows) = self.in_all_columns(table, schema, rows)?;
        self.staged.append(table, &schema, &rows).await
    }

    /// Whether rows of this schema have all columns of the table.
    pub(crate) fn is_whole(&self, table: &TableName, schema: &SchemaRef) -> bool {
        self.lake.all_columns(table, schema).fields().len() == schema.fields().len()
    }

    fn in_all_columns(&self, table: &TableName, schema: &SchemaRef, rows: &[RecordBatch]) -> Result<(SchemaRef, Vec<RecordBatch>), WarehouseError> {
        let all = self.lake.all_columns(table, schema);
        self.lake.note_columns(table, &all);
        let widened = |rows: &RecordBatch| {
            let missing = all.fields().iter().skip(rows.num_columns()).map(|field| new_null_array(field.data_type(), rows.num_rows()));
            RecordBatch::try_new(all.clone(), rows.columns().iter().cloned().chain(missing).collect()).map_err(WarehouseError::broken)
        };
        let rows = rows.iter().map(widened).collect::<Result<_, _>>()?;
        Ok((all.clone(), rows))
    }

    /// Adds few rows to a table of the kernel's own, within the catalog.
    pub(crate) async fn append_few(&mut self, table: &TableName, schema: &SchemaRef, rows: &[RecordBatch]) -> Result<(), WarehouseError> {
        self.staged.tables.push(table.clone());
        let options = DuckLakeWriteOptions::default().with_data_inlining_row_limit(INLINED_ROWS_MAX);
        self.staged
            .staged
            .stage_write_with_options(&table.schema, &table.name, schema, WriteMode::Append, rows, &options)
            .await
            .map_err(self.lake.write_failed("writing rows of the kernel"))
    }

    /// The same, and `snapshot_column` of every row receives the id of the snapshot that this commit becomes.
    pub(crate) async fn append_stamped(
        &mut self,
        table: &TableName,
        schema: &SchemaRef,
        rows: &[RecordBatch],
        snapshot_column: &str,
    ) -> Result<(), WarehouseError> {
        self.staged.tables.push(table.clone());
        let options = DuckLakeWriteOptions::default().with_data_inlining_row_limit(INLINED_ROWS_MAX);
        self.staged
            .staged
            .stage_write_with_snapshot_columns(&table.schema, &table.name, schema, WriteMode::Append, rows, &options, &[snapshot_column])
            .await
            .map_err(self.lake.write_failed("writing the batch record"))
    }

    /// Removes the rows that fit `removed` and adds others, in the same snapshot; columns as in [`LakeTransaction::append`]. The removal is a positional delete file beside each data file that holds such
    /// a row, cumulative with the one it had. Gives how many rows went.
    pub(crate) async fn replace(&mut self, table: &TableName, schema: &SchemaRef, rows: &[RecordBatch], removed: Expr) -> Result<u64, WarehouseError> {
        let (schema, rows) = self.in_all_columns(table, schema, rows)?;
        let (deletes, count) = self.deletes(table, removed).await?;
        if !deletes.is_empty() || rows.iter().any(|batch| batch.num_rows() > 0) {
            self.staged.tables.push(table.clone());
        }
        let staged =
            self.staged.staged.stage_write_with_deletes(&table.schema, &table.name, &schema, WriteMode::Append, &in_slices(&rows), &deletes, &[]).await;
        staged.map_err(self.lake.write_failed("replacing rows"))?;
        Ok(count)
    }

    async fn deletes(&self, table: &TableName, removed: Expr) -> Result<(Vec<DeleteFileEntry>, u64), WarehouseError> {
        let Some(provider) = self.lake.table(self.base, table).await? else {
            return Ok((Vec::new(), 0));
        };
        let Some(opened) = provider.downcast_ref::<DuckLakeTable>() else {
            return Err(WarehouseError::broken("a table of the lake is no DuckLake table"));
        };
        let session = self.lake.session();
        let predicate = physical(&session, opened, removed)?;
        let (mut entries, mut count) = (Vec::new(), 0);
        for file in opened.files_matching(&predicate).map_err(failed("listing data files"))? {
            let engine = |source| WarehouseError::Storage { doing: "finding the rows to replace", source: Box::new(source) };
            let matched = opened.resolve_positions(&session.state(), &file.file, predicate.clone()).await.map_err(engine)?;
            let before = match &file.delete_file {
                Some(deleted) => opened.read_delete_file_positions(&session.state(), deleted).await.map_err(engine)?,
                None => HashSet::new(),
            };
            if matched.is_subset(&before) {
                continue;
            }
            count += matched.difference(&before).count() as u64;
            let mut positions: Vec<i64> = before.union(&matched).copied().collect();
            positions.sort_unstable();
            let delete = self
                .lake
                .writer()
                .write_delete_file(&table.schema, &table.name, &file.file.path, &positions)
                .await
                .map_err(self.lake.write_failed("writing a delete file"))?;
            entries.push(DeleteFileEntry { data_file_id: file.data_file_id, expected_prev_delete_file: file.delete_file_id, delete });
        }
        Ok((entries, count))
    }

    /// Publishes all of it as one snapshot; when it returns, the snapshot is on disk and is the newest. `note` receives its id before anyone can read it.
    pub(crate) async fn commit(self, note: impl FnOnce(i64)) -> Result<Landed<'a>, WarehouseError> {
        let LakeTransaction { lake, staged: Staged { staged, tables, .. }, base, _one_at_a_time } = self;
        let _panics = DoubtsPanics(lake);
        let snapshot = match staged.commit().await {
            Ok(written) => written.first().map_or(base, |first| first.snapshot_id),
            Err(error) => landed_all_the_same(lake, base, error)?,
        };
        let mut known = lake.tables.lock().unwrap_or_else(PoisonError::into_inner);
        tables.into_iter().for_each(|table| known.note_written(table, snapshot));
        drop(known);
        note(snapshot);
        lake.newest.store(snapshot, Ordering::SeqCst);
        lake.written.notify_one();
        Ok(Landed { snapshot_id: snapshot, _one_at_a_time })
    }
}

/// Leaves the catalog in doubt when a panic ends the commit: it may have landed, and the keys of its batches are not known.
struct DoubtsPanics<'a>(&'a Lake);

impl Drop for DoubtsPanics<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.in_doubt.store(true, Ordering::SeqCst);
        }
    }
}

fn in_slices(rows: &[RecordBatch]) -> Vec<RecordBatch> {
    let slices_of = |batch: &RecordBatch| {
        (0..batch.num_rows()).step_by(SLICE_ROWS).map(|from| batch.slice(from, SLICE_ROWS.min(batch.num_rows() - from))).collect::<Vec<_>>()
    };
    rows.iter().flat_map(slices_of).collect()
}

/// A commit that is done. The next one begins when this value ends, so that what the caller remembers of it (its key) is known to the next.
pub(crate) struct Landed<'a> {
    pub(crate) snapshot_id: i64,
    _one_at_a_time: tokio::sync::MutexGuard<'a, ()>,
}

/// A commit may fail after the catalog took it. Nobody else writes, so a newer snapshot than the base can only be this one. When that cannot be read either,
/// nobody knows, and what the kernel remembers of keys and slices may be wrong: no further commit is made until a start has read the catalog anew.
pub(super) fn landed_all_the_same(lake: &Lake, base: i64, error: DuckLakeError) -> Result<i64, WarehouseError> {
    lake.note_failure(&error);
    match lake.current_snapshot() {
        Ok(newest) if newest > base => {
            tracing::warn!(error = %error, snapshot = newest, "a commit reported a failure and is in the catalog: taken as done");
            Ok(newest)
        }
        Ok(_) => Err(failed("committing")(error)),
        Err(unreadable) => {
            tracing::error!(%error, %unreadable, "whether a commit landed cannot be told: no further one is taken until the kernel is started anew");
            lake.in_doubt.store(true, Ordering::SeqCst);
            Err(WarehouseError::InDoubt)
        }
    }
}

fn physical(session: &SessionContext, table: &DuckLakeTable, condition: Expr) -> Result<Arc<dyn PhysicalExpr>, WarehouseError> {
    use datafusion::catalog::TableProvider;
    let schema = DFSchema::try_from(table.schema().as_ref().clone()).map_err(WarehouseError::broken)?;
    session.create_physical_expr(condition, &schema).map_err(WarehouseError::broken)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::path::Path;

    use arrow_array::Int64Array;
    use arrow_schema::{DataType, Field, Schema};
    use sqlx::{Connection, SqliteConnection};
    use tempfile::TempDir;

    use super::*;
    use crate::lake::Layout;

    fn some() -> TableName {
        TableName::dataset("some")
    }

    /// A transaction with two rows.
    async fn two_rows(lake: &Lake) -> LakeTransaction<'_> {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]));
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![1, 2]))]).unwrap();
        let mut transaction = lake.begin().await.unwrap();
        transaction.append(&some(), &schema, &[rows]).await.unwrap();
        transaction
    }

    async fn rows(lake: &Lake) -> usize {
        lake.rows(lake.newest(), &some(), None, &["number"]).await.unwrap().iter().map(RecordBatch::num_rows).sum()
    }

    async fn run(dir: &Path, sql: &'static str) {
        let mut catalog = SqliteConnection::connect(&format!("sqlite:{}", dir.join("catalog.db").display())).await.unwrap();
        sqlx::query(sql).execute(&mut catalog).await.unwrap();
    }

    #[test]
    fn slices_are_the_rows_in_their_order() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)]));
        let rows = |numbers: std::ops::Range<i64>| RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from_iter_values(numbers))]).unwrap();
        let slice = SLICE_ROWS as i64;
        let slices = in_slices(&[rows(0..0), rows(0..slice), rows(slice..2 * slice + 1)]);
        assert_eq!(slices, [rows(0..slice), rows(slice..2 * slice), rows(2 * slice..2 * slice + 1)]);
        assert!(in_slices(&[]).is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_that_reports_a_failure_is_done_when_the_catalog_has_it() {
        let dir = TempDir::new().unwrap();
        let lake = Lake::open(dir.path()).await.unwrap();
        let base = lake.newest();
        let landed = two_rows(&lake).await.commit(|_| ()).await.unwrap().snapshot_id;
        let error = || DuckLakeError::TableNotFound("injected".to_owned());
        assert_eq!(landed_all_the_same(&lake, base, error()).unwrap(), landed);
        assert!(matches!(landed_all_the_same(&lake, landed, error()), Err(WarehouseError::Storage { .. })), "nothing is newer than its base");
        assert!(lake.refuse_in_doubt().is_ok(), "neither left a doubt");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_whose_first_rows_were_cut_off_does_not_keep_the_kernel_from_starting() {
        use datafusion_ducklake::MetadataWriter;

        let dir = TempDir::new().unwrap();
        let lake = Lake::open(dir.path()).await.unwrap();
        let (other, schema) = (TableName::dataset("other"), Schema::new(vec![Field::new("number", DataType::Int64, false)]));
        let columns = crate::lake::column_definitions(&schema).unwrap();
        lake.metadata().begin_write_transaction("main", "other", &columns, WriteMode::Append).unwrap();
        two_rows(&lake).await.commit(|_| ()).await.unwrap();
        drop(lake);

        let (lake, schema) = (Lake::open(dir.path()).await.unwrap(), Arc::new(schema));
        lake.reconcile(&[Layout::unsorted(some(), schema.clone()), Layout::unsorted(other.clone(), schema.clone())]).await.unwrap();
        let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![3]))]).unwrap();
        let mut transaction = lake.begin().await.unwrap();
        transaction.append(&other, &schema, &[rows]).await.unwrap();
        let snapshot = transaction.commit(|_| ()).await.unwrap().snapshot_id;
        assert_eq!(lake.rows(snapshot, &other, None, &["number"]).await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn after_a_commit_that_a_panic_ended_none_is_taken_until_a_start() {
        let dir = TempDir::new().unwrap();
        let lake = Arc::new(Lake::open(dir.path()).await.unwrap());
        let committing = lake.clone();
        let commit = async move { two_rows(&committing).await.commit(|_| panic!("injected")).await.map(|landed| landed.snapshot_id) };
        assert!(tokio::spawn(commit).await.unwrap_err().is_panic());
        assert!(matches!(lake.begin().await, Err(WarehouseError::InDoubt)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn after_a_commit_that_nobody_can_tell_of_none_is_taken_until_a_start() {
        let dir = TempDir::new().unwrap();
        let lake = Lake::open(dir.path()).await.unwrap();
        two_rows(&lake).await.commit(|_| ()).await.unwrap();
        let doubtful = two_rows(&lake).await;
        // Neither can the commit be made nor the newest snapshot be read.
        run(dir.path(), "alter table ducklake_snapshot rename to away").await;
        assert!(matches!(doubtful.commit(|_| ()).await, Err(WarehouseError::InDoubt)));
        run(dir.path(), "alter table away rename to ducklake_snapshot").await;
        assert!(matches!(lake.begin().await, Err(WarehouseError::InDoubt)), "what the kernel remembers of the catalog may be wrong");
        assert_eq!(rows(&lake).await, 2, "reading goes on");
        drop(lake);

        let lake = Lake::open(dir.path()).await.unwrap();
        lake.reconcile(&[Layout::unsorted(some(), Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)])))]).await.unwrap();
        assert_eq!(rows(&lake).await, 2);
        two_rows(&lake).await.commit(|_| ()).await.unwrap();
        assert_eq!(rows(&lake).await, 4);
    }
}
