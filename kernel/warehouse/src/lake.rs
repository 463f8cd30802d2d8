use std::{
    borrow::Cow,
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use arrow_array::RecordBatch;
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::{
    catalog::{CatalogProvider, TableProvider},
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        object_store::ObjectStoreUrl,
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    logical_expr::Expr,
    prelude::{DataFrame, SessionConfig, SessionContext},
};
use datafusion_ducklake::{
    ColumnDef, DuckLakeCatalog, DuckLakeError, MetadataProvider, MetadataWriter, NullOrder, SortDirection, SortField, SqliteMetadataProvider,
    SqliteMetadataWriter, WriteMode, metadata_provider::DuckLakeTableColumn,
};
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use kernel_storage::SyncedFiles;
use tokio::sync::Notify;

use self::{
    commit::landed_all_the_same,
    damage::refuse_damaged_files,
    held_metadata::HeldMetadata,
    opened::{Opened, Tables},
    writers::{Writers, connection},
};
use crate::error::WarehouseError;

mod changes;
mod commit;
mod damage;
mod given_files;
mod held_metadata;
mod keys;
mod merging;
mod noted_merge;
mod opened;
mod orphans;
mod writers;

pub(crate) use changes::Changes;
pub(crate) use commit::{LakeTransaction, Staged};
pub(crate) use keys::{RowKey, key_is_one_of, row_bytes, row_keys};

// Limit: rows of a row group, as many as DuckDB writes: smaller ones let a scan skip more and use more cores.
const ROW_GROUP_ROWS_MAX: usize = 122_880;

// Limit: bytes of a row group. The writer holds it to both measures. As encoded: a hundred thousand rows of numbers and codes fit, fewer of long text. As Arrow
// arrays, ten times as large: of a file's first rows it keeps as much before it writes, some twenty thousand rows, and counts each column's values in them to
// choose encodings. Counting a whole row group of every file took a fifth of an import.
const ROW_GROUP_BYTES_MAX: usize = 2 << 20;

/// Where queries keep what their memory does not hold.
const SPILL: &str = "spill";
// Limit: bytes that running queries have there together. Who wants more fails, and leaves the disk to the rows.
const SPILLED_BYTES_MAX: u64 = 16 << 30;

const KERNEL_SCHEMA: &str = "kernel";

/// The tables: a SQLite catalog and Parquet files, all through datafusion-ducklake, which only this folder names.
///
/// A snapshot is the state after one commit and never changes. This process is the catalog's only writer, so the newest snapshot is known without asking.
/// All functions block briefly on the catalog and belong on the engine's threads.
pub(crate) struct Lake {
    catalog: PathBuf,
    /// The folder of the data files.
    data: PathBuf,
    writers: Writers,
    /// Whether a write failed so that its connection is good for none any more.
    writers_failed: AtomicBool,
    reopening: tokio::sync::Mutex<()>,
    provider: Arc<SqliteMetadataProvider>,
    files: Arc<SyncedFiles>,
    runtime_env: Arc<RuntimeEnv>,
    tables: Mutex<Tables>,
    /// The columns of each table, all that were given to it so far. Changes while a commit has its turn.
    columns: Mutex<HashMap<TableName, SchemaRef>>,
    /// Rows of a table that queries find in memory.
    held_rows: u64,
    /// The newest snapshot when the catalog was opened.
    opened_at: i64,
    newest: AtomicI64,
    committing: tokio::sync::Mutex<()>,
    /// Held before `committing`, and longer: a merge writes its files while others commit.
    merging: tokio::sync::Mutex<()>,
    /// Told of each commit, which may leave files to merge.
    written: Notify,
    merging_stopped: AtomicBool,
    /// Whether a commit ended so that nobody knows if it landed.
    in_doubt: AtomicBool,
}

/// Names a table. Shared datasets have one schema, those of each plugin another, and the kernel's own tables a third that no query session ever sees.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct TableName {
    schema: Cow<'static, str>,
    name: String,
}

impl TableName {
    /// Of a dataset; `plugin.dataset` is one of a plugin.
    pub(crate) fn dataset(name: &str) -> TableName {
        match name.split_once('.') {
            Some((plugin, name)) => TableName { schema: plugin.to_owned().into(), name: name.to_owned() },
            None => TableName { schema: "main".into(), name: name.to_owned() },
        }
    }

    pub(crate) fn kernel(name: &str) -> TableName {
        TableName { schema: KERNEL_SCHEMA.into(), name: name.to_owned() }
    }

    /// Of a dataset's rows that do not count, since another part of their period has their keys.
    pub(crate) fn aside(dataset: &str) -> TableName {
        TableName { schema: KERNEL_SCHEMA.into(), name: format!("aside_{dataset}") }
    }

    fn is_dataset(&self) -> bool {
        self.schema != KERNEL_SCHEMA
    }
}

/// How a table should stand.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) table: TableName,
    pub(crate) schema: SchemaRef,
    /// The columns by which the rows of each file are sorted, so that a scan for certain values of the first reads few pages; none for the order in which they came.
    pub(crate) sorted_by: Vec<String>,
}

impl Layout {
    /// Of a table whose rows are not sorted.
    pub(crate) fn unsorted(table: TableName, schema: SchemaRef) -> Layout {
        Layout { table, schema, sorted_by: Vec::new() }
    }
}

impl Lake {
    /// Opens the catalog in `dir`, making it if there is none.
    pub(crate) async fn open(dir: &Path) -> Result<Lake, WarehouseError> {
        let data = dir.join("data");
        std::fs::create_dir_all(&data).map_err(WarehouseError::storage("making the folder of the data files"))?;
        let data = data.canonicalize().map_err(WarehouseError::storage("finding the folder of the data files"))?;
        let catalog = dir.join("catalog.db");
        let unusable = |source| WarehouseError::Storage { doing: "opening the catalog", source: Box::new(source) };
        kernel_storage::prepare_catalog_file(&catalog).await.map_err(unusable)?;
        let connection = connection(&catalog);
        let metadata = Arc::new(SqliteMetadataWriter::new_with_init(&connection).await.map_err(failed("opening the catalog"))?);
        kernel_storage::complete_catalog_file(&catalog).await.map_err(unusable)?;
        refuse_damaged_files(&catalog, &data).await?;
        // Set at every start, so that the folder may be moved.
        metadata.set_data_path(&path_text(data.clone())?).map_err(failed("naming the data folder in the catalog"))?;
        let provider = Arc::new(SqliteMetadataProvider::new(&connection).await.map_err(failed("opening the catalog for reading"))?);
        let files = Arc::new(SyncedFiles::new());
        let newest = provider.get_current_snapshot().map_err(failed("reading the newest snapshot"))?;
        let lake = Lake {
            catalog,
            data,
            writers: Writers::new(metadata, &files)?,
            writers_failed: AtomicBool::new(false),
            reopening: tokio::sync::Mutex::new(()),
            provider,
            runtime_env: runtime_env(files.clone(), &dir.join(SPILL))?,
            files,
            tables: Mutex::new(Tables::default()),
            columns: Mutex::new(HashMap::new()),
            held_rows: 0,
            opened_at: newest,
            newest: AtomicI64::new(newest),
            committing: tokio::sync::Mutex::new(()),
            merging: tokio::sync::Mutex::new(()),
            written: Notify::new(),
            merging_stopped: AtomicBool::new(false),
            in_doubt: AtomicBool::new(false),
        };
        if let Err(error) = lake.delete_orphans().await {
            tracing::warn!(%error, "files that no snapshot names may be left: they cost room, and the next start looks again");
        }
        Ok(lake)
    }

    /// The same with tables of up to so many rows in memory, for the queries after the first.
    pub(crate) fn holding(self, held_rows: u64) -> Lake {
        Lake { held_rows, ..self }
    }

    /// Brings the tables that are there to these layouts: adds the nullable columns that they lack at their end; rows that are there have null in them. Files
    /// that are written or merged from now on are sorted so. A table that is not there is made by its first rows, one that is sorted before them.
    ///
    /// # Errors
    /// When a table has columns that are not the schema's.
    pub(crate) async fn reconcile(&self, layouts: &[Layout]) -> Result<(), WarehouseError> {
        let snapshot = self.newest();
        let there = self.provider.list_all_tables(snapshot).map_err(failed("listing the tables"))?;
        for Layout { table, schema, sorted_by } in layouts {
            let found = there.iter().find(|there| there.schema_name == table.schema && there.table.table_name == table.name);
            let columns = match found {
                Some(found) => self.provider.get_table_structure(found.table.table_id, snapshot).map_err(failed("reading the columns of a table"))?,
                None => Vec::new(),
            };
            // Without columns its first rows were about to come when the kernel was stopped.
            if columns.is_empty() && sorted_by.is_empty() {
                continue;
            }
            let wanted = column_definitions(schema)?;
            match missing_columns(&columns, &wanted) {
                Some(0) => self.note_columns(table, schema),
                Some(_) => self.add_columns(table, schema, &wanted).await?,
                None => {
                    let problem = format!("the table '{}' has other columns than its contract: restore the contract or the data folder", table.name);
                    return Err(WarehouseError::broken(problem));
                }
            }
            self.sort(table, sorted_by).await?;
            self.tables.lock().unwrap_or_else(PoisonError::into_inner).note_found(table.clone());
        }
        Ok(())
    }

    /// Has the files of a table sorted that are written from now on.
    async fn sort(&self, table: &TableName, sorted_by: &[String]) -> Result<(), WarehouseError> {
        let Some((table_id, sorted)) = self.sorting(table)? else {
            return Ok(());
        };
        let wanted: Vec<SortField> =
            (0..).zip(sorted_by).map(|(index, column)| SortField::column(index, quoted(column), SortDirection::Asc, NullOrder::NullsLast)).collect();
        if sorted == wanted {
            return Ok(());
        }
        let _one_at_a_time = self.committing.lock().await;
        self.refuse_in_doubt()?;
        self.open_writers_anew().await?;
        let set = if wanted.is_empty() { self.metadata().reset_sort_spec(table_id) } else { self.metadata().set_sort_spec(table_id, &wanted) };
        self.newest.store(self.landed(set)?, Ordering::SeqCst);
        Ok(())
    }

    /// The snapshot that a change of a table became. One that reports a failure may be in the catalog nevertheless, and the next commit would take it for its own.
    fn landed(&self, changed: Result<i64, DuckLakeError>) -> Result<i64, WarehouseError> {
        changed.or_else(|error| landed_all_the_same(self, self.newest(), error))
    }

    /// The table's id and by what its files are sorted; `None` when it is not there.
    fn sorting(&self, table: &TableName) -> Result<Option<(i64, Vec<SortField>)>, WarehouseError> {
        let asking = failed("asking how a table is sorted");
        let Some(table_id) = self.table_id(table, self.newest()).map_err(&asking)? else {
            return Ok(None);
        };
        let sorted = self.metadata().live_sort_spec(table_id).map_err(asking)?;
        Ok(Some((table_id, sorted.map_or(Vec::new(), |sorted| sorted.fields))))
    }

    fn is_sorted(&self, table: &TableName) -> Result<bool, WarehouseError> {
        Ok(self.sorting(table)?.is_some_and(|(_, sorted)| !sorted.is_empty()))
    }

    fn table_id(&self, table: &TableName, snapshot: i64) -> Result<Option<i64>, DuckLakeError> {
        let Some(schema) = self.provider.get_schema_by_name(&table.schema, snapshot)? else {
            return Ok(None);
        };
        Ok(self.provider.get_table_by_name(schema.schema_id, &table.name, snapshot)?.map(|table| table.table_id))
    }

    async fn add_columns(&self, table: &TableName, schema: &SchemaRef, columns: &[ColumnDef]) -> Result<(), WarehouseError> {
        let _one_at_a_time = self.committing.lock().await;
        self.refuse_in_doubt()?;
        self.open_writers_anew().await?;
        let setup = self
            .metadata()
            .begin_write_transaction(&table.schema, &table.name, columns, WriteMode::Append)
            .map_err(self.write_failed("beginning a change of columns"))?;
        let changed = self.metadata().publish_snapshot(
            setup.table_id,
            &table.schema,
            &table.name,
            setup.snapshot_id,
            WriteMode::Append,
            setup.base_snapshot_id,
            columns,
            &setup.field_ids,
        );
        let snapshot_id = self.landed(changed.map(|changed| changed.snapshot_id))?;
        self.newest.store(snapshot_id, Ordering::SeqCst);
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).note(table.clone(), snapshot_id);
        self.note_columns(table, schema);
        Ok(())
    }

    /// The columns of a table, of which a contract may know the first only: rows that are written without the others would end them.
    fn all_columns(&self, table: &TableName, known: &SchemaRef) -> SchemaRef {
        let columns = self.columns.lock().unwrap_or_else(PoisonError::into_inner);
        columns.get(table).filter(|all| all.fields().len() > known.fields().len()).unwrap_or(known).clone()
    }

    fn note_columns(&self, table: &TableName, schema: &SchemaRef) {
        let all = self.all_columns(table, schema);
        self.columns.lock().unwrap_or_else(PoisonError::into_inner).insert(table.clone(), all);
    }

    /// Whether the table was made: by its first rows, or before them when its files are sorted.
    pub(crate) fn is_there(&self, table: &TableName) -> bool {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).known(table).is_some()
    }

    /// The newest snapshot in which the table changed, 0 when it did not since this process began: what was read of it at that snapshot still holds.
    pub(crate) fn changed_at(&self, table: &TableName) -> i64 {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).known(table).map_or(0, |known| known.changed_at)
    }

    pub(crate) fn newest(&self) -> i64 {
        self.newest.load(Ordering::SeqCst)
    }

    /// The snapshot that a request names; 0 is the newest.
    pub(crate) fn snapshot(&self, asked: i64) -> Result<i64, WarehouseError> {
        let newest = self.newest();
        match asked {
            0 => Ok(newest),
            // Snapshots do not expire yet: every number up to the newest is one.
            1.. if asked <= newest => Ok(asked),
            _ => Err(WarehouseError::SnapshotUnknown { snapshot_id: asked, newest }),
        }
    }

    /// The table as it was at a snapshot, `None` when it was not there yet. Kept, since reading a table's description from the catalog takes tens of
    /// milliseconds; commits to other tables do not make it stale.
    pub(crate) async fn table(&self, snapshot: i64, table: &TableName) -> Result<Option<Arc<dyn TableProvider>>, WarehouseError> {
        Ok(self.opened(snapshot, table).await?.map(|opened| opened.files.clone()))
    }

    /// The same for queries, of a small table its rows in memory.
    pub(crate) async fn table_to_query(&self, snapshot: i64, table: &TableName) -> Result<Option<Arc<dyn TableProvider>>, WarehouseError> {
        match self.opened(snapshot, table).await? {
            Some(opened) => Ok(Some(opened.to_query(self.held_rows, || self.session()).await)),
            None => Ok(None),
        }
    }

    async fn opened(&self, snapshot: i64, table: &TableName) -> Result<Option<Arc<Opened>>, WarehouseError> {
        let (snapshot, files_at) = {
            let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(known) = tables.known(table) else {
                return Ok(None);
            };
            // Between its last change and now the table was always the same. Of changes before this process began only their end is known.
            let snapshot = snapshot.min(known.files_at.max(self.opened_at));
            if let Some(opened) = tables.get(snapshot, table) {
                return Ok(Some(opened));
            }
            (snapshot, known.files_at)
        };
        // The kernel's own tables change with every commit and keep rows in the catalog: nothing of them is worth holding.
        let held = table.is_dataset().then(|| Arc::new(HeldMetadata::new(self.provider.clone())));
        let metadata: Arc<dyn MetadataProvider> = match &held {
            Some(held) => held.clone(),
            None => self.provider.clone(),
        };
        let catalog = DuckLakeCatalog::with_snapshot(metadata, snapshot).map_err(failed("opening a snapshot"))?;
        let Some(schema) = catalog.schema(&table.schema) else {
            return Ok(None);
        };
        let found = schema.table(&table.name).await.map_err(|source| WarehouseError::Storage { doing: "opening a table", source: Box::new(source) })?;
        let opened = found.map(|found| Arc::new(Opened::new(found, held)));
        if let Some(opened) = &opened {
            self.tables.lock().unwrap_or_else(PoisonError::into_inner).put((snapshot, table.clone()), files_at, opened.clone());
        }
        Ok(opened)
    }

    /// Columns of the rows that fit a condition: the kernel's own reading, past every guard.
    pub(crate) async fn rows(&self, snapshot: i64, table: &TableName, condition: Option<Expr>, columns: &[&str]) -> Result<Vec<RecordBatch>, WarehouseError> {
        self.stream(snapshot, table, condition, columns).await?.try_collect().await
    }

    /// The same, batch by batch, for rows that may be too many to hold.
    pub(crate) async fn stream(
        &self,
        snapshot: i64,
        table: &TableName,
        condition: Option<Expr>,
        columns: &[&str],
    ) -> Result<BoxStream<'static, Result<RecordBatch, WarehouseError>>, WarehouseError> {
        let Some(mut frame) = self.frame(snapshot, table).await? else {
            return Ok(stream::empty().boxed());
        };
        let failed = |source| WarehouseError::Storage { doing: "reading a table", source: Box::new(source) };
        let begin = async {
            if let Some(condition) = condition {
                frame = frame.filter(condition)?;
            }
            frame.select_columns(columns)?.execute_stream().await
        };
        let rows = begin.await.map_err(failed)?;
        Ok(rows.map(move |batch| plain_text(batch.map_err(failed)?)).boxed())
    }

    /// A table as a frame of the kernel's own, past every guard; `None` when it was not there yet.
    pub(crate) async fn frame(&self, snapshot: i64, table: &TableName) -> Result<Option<DataFrame>, WarehouseError> {
        let Some(provider) = self.table(snapshot, table).await? else {
            return Ok(None);
        };
        self.session().read_table(provider).map(Some).map_err(|source| WarehouseError::Storage { doing: "opening a table", source: Box::new(source) })
    }

    /// Begins to write what a commit will publish; several may write at once.
    ///
    /// # Errors
    /// When the disk is full that an earlier write found so.
    pub(crate) async fn stage(&self) -> Result<Staged<'_>, WarehouseError> {
        self.open_writers_anew().await?;
        Ok(Staged::new(self))
    }

    /// Begins a commit; there is one at a time, the others wait.
    ///
    /// # Errors
    /// When an earlier commit left the catalog in doubt.
    pub(crate) async fn begin(&self) -> Result<LakeTransaction<'_>, WarehouseError> {
        let turn = self.committing.lock().await;
        // After those before it: one of them may have failed so that the writers are no good any more.
        self.stage().await?.begin_in(turn)
    }

    fn current_snapshot(&self) -> Result<i64, DuckLakeError> {
        self.provider.get_current_snapshot()
    }

    fn refuse_in_doubt(&self) -> Result<(), WarehouseError> {
        if self.in_doubt.load(Ordering::SeqCst) { Err(WarehouseError::InDoubt) } else { Ok(()) }
    }

    /// The environment that sessions build theirs from: it knows the files, and caches their footers.
    pub(crate) fn runtime_env(&self) -> &Arc<RuntimeEnv> {
        &self.runtime_env
    }

    /// A session of the kernel's own, without limits and without a catalog.
    pub(crate) fn session(&self) -> SessionContext {
        SessionContext::new_with_config_rt(SessionConfig::new(), self.runtime_env.clone())
    }
}

/// The environment of all sessions. What a query holds beyond its memory goes to files in a folder of its own, which nobody else may read, and is gone with the query, or
/// with the next start.
fn runtime_env(store: Arc<SyncedFiles>, spill: &Path) -> Result<Arc<RuntimeEnv>, WarehouseError> {
    empty(spill).map_err(WarehouseError::storage("emptying the folder of running queries"))?;
    let spilled = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill.to_owned()])).with_max_temp_directory_size(SPILLED_BYTES_MAX);
    let environment = RuntimeEnvBuilder::new().with_disk_manager_builder(spilled).build_arc().map_err(WarehouseError::broken)?;
    let files = ObjectStoreUrl::parse("file://").map_err(WarehouseError::broken)?;
    environment.register_object_store(files.as_ref(), store);
    Ok(environment)
}

/// Removes what is in a folder, and not the folder, which may be a volume of its own.
fn empty(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() { std::fs::remove_dir_all(entry.path())? } else { std::fs::remove_file(entry.path())? }
    }
    Ok(())
}

fn path_text(path: PathBuf) -> Result<String, WarehouseError> {
    path.into_os_string().into_string().map_err(|path| WarehouseError::FieldInvalid {
        field: "dir",
        problem: format!("the path {} is not valid UTF-8, which the catalog cannot hold: choose another folder", path.to_string_lossy()),
    })
}

/// Tables give text as views, which save scans a copy; the kernel's own readers take plain arrays.
pub(crate) fn plain_text(batch: RecordBatch) -> Result<RecordBatch, WarehouseError> {
    let fields = batch.schema().fields().iter().map(|field| Field::new(field.name(), plain(field.data_type()), field.is_nullable())).collect::<Vec<_>>();
    let columns = batch.columns().iter().map(|column| cast(column, &plain(column.data_type()))).collect::<Result<Vec<_>, _>>();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.map_err(WarehouseError::broken)?).map_err(WarehouseError::broken)
}

fn plain(data_type: &DataType) -> DataType {
    if data_type.is_string() { DataType::Utf8 } else { data_type.clone() }
}

fn column_definitions(schema: &Schema) -> Result<Vec<ColumnDef>, WarehouseError> {
    let definition = |field: &Arc<Field>| ColumnDef::from_arrow(field.name(), field.data_type(), field.is_nullable());
    schema.fields().iter().map(definition).collect::<Result<_, _>>().map_err(failed("describing a table"))
}

/// A column's name as SQL, whatever it is.
fn quoted(column: &str) -> String {
    format!("\"{column}\"")
}

/// How many columns the table lacks at its end, all of them nullable unless it has none yet; `None` when it differs in another way.
fn missing_columns(table: &[DuckLakeTableColumn], wanted: &[ColumnDef]) -> Option<usize> {
    let missing = wanted.len().checked_sub(table.len())?;
    let is_same =
        |(a, b): (&DuckLakeTableColumn, &ColumnDef)| a.column_name == b.name() && a.column_type == b.ducklake_type() && a.is_nullable == b.is_nullable();
    let may_be_added = table.is_empty() || wanted.iter().skip(table.len()).all(ColumnDef::is_nullable);
    (table.iter().zip(wanted).all(is_same) && may_be_added).then_some(missing)
}

fn failed(doing: &'static str) -> impl Fn(DuckLakeError) -> WarehouseError {
    move |source| WarehouseError::Storage { doing, source: Box::new(source) }
}
