use std::sync::{Arc, Mutex, PoisonError};

use datafusion_ducklake::{
    ColumnDef, CommitIds, CompactionOutputFile, CompactionSourceFile, DataFileInfo, DuckLakeError, MetadataWriter, PartitionSpec, SortSpec, SourceRetirement,
    SqliteMetadataWriter, WriteMode, WriteSetupResult,
};

type Result<T> = std::result::Result<T, DuckLakeError>;

/// The catalog for a merge that is prepared while others commit: it reads from it, and what it would commit is noted instead.
///
/// Invariant: writes nothing to the catalog.
#[derive(Debug)]
pub(super) struct NotingWriter {
    catalog: Arc<SqliteMetadataWriter>,
    noted: Mutex<Option<NotedMerge>>,
}

/// A merge whose files are written and of which no snapshot knows yet.
#[derive(Debug)]
pub(super) struct NotedMerge {
    table_id: i64,
    base_snapshot: i64,
    sources: Vec<CompactionSourceFile>,
    pub(super) outputs: Vec<CompactionOutputFile>,
    retirement: SourceRetirement,
}

impl NotingWriter {
    pub(super) fn new(catalog: Arc<SqliteMetadataWriter>) -> NotingWriter {
        NotingWriter { catalog, noted: Mutex::new(None) }
    }

    /// What the merge would commit; `None` when there was nothing to merge.
    pub(super) fn take(&self) -> Option<NotedMerge> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl NotedMerge {
    /// Commits it, whatever was appended meanwhile.
    ///
    /// # Errors
    /// `Conflict` when rows were removed meanwhile from a file that was merged.
    pub(super) fn commit(&self, catalog: &SqliteMetadataWriter) -> Result<()> {
        catalog.commit_compaction(self.table_id, self.base_snapshot, &self.sources, &self.outputs, self.retirement).map(drop)
    }
}

fn refused<T>(what: &str) -> Result<T> {
    Err(DuckLakeError::Internal(format!("a merge that is prepared does not {what}")))
}

impl MetadataWriter for NotingWriter {
    fn get_data_path(&self) -> Result<String> {
        self.catalog.get_data_path()
    }

    fn get_table_column_nullability(&self, schema_name: &str, table_name: &str) -> Result<Option<Vec<(String, bool)>>> {
        self.catalog.get_table_column_nullability(schema_name, table_name)
    }

    fn live_partition_spec(&self, table_id: i64) -> Result<Option<PartitionSpec>> {
        self.catalog.live_partition_spec(table_id)
    }

    fn live_sort_spec(&self, table_id: i64) -> Result<Option<SortSpec>> {
        self.catalog.live_sort_spec(table_id)
    }

    fn commit_compaction(
        &self,
        table_id: i64,
        base_snapshot: i64,
        sources: &[CompactionSourceFile],
        outputs: &[CompactionOutputFile],
        retirement: SourceRetirement,
    ) -> Result<CommitIds> {
        let noted = NotedMerge { table_id, base_snapshot, sources: sources.to_vec(), outputs: outputs.to_vec(), retirement };
        *self.noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(noted);
        // Who merges looks at the counts alone.
        Ok(CommitIds { snapshot_id: base_snapshot, schema_id: 0, table_id })
    }

    fn create_snapshot(&self) -> Result<i64> {
        refused("make a snapshot")
    }

    fn get_or_create_schema(&self, _: &str, _: Option<&str>, _: i64) -> Result<(i64, bool)> {
        refused("make a schema")
    }

    fn get_or_create_table(&self, _: i64, _: &str, _: Option<&str>, _: i64) -> Result<(i64, bool)> {
        refused("make a table")
    }

    fn set_columns(&self, _: i64, _: &[ColumnDef], _: i64) -> Result<Vec<i64>> {
        refused("change columns")
    }

    fn register_data_file(&self, _: i64, _: &str, _: &str, _: i64, _: &DataFileInfo, _: WriteMode, _: i64, _: &[ColumnDef], _: &[i64]) -> Result<CommitIds> {
        refused("add a file")
    }

    fn end_table_files(&self, _: i64, _: i64) -> Result<u64> {
        refused("end files")
    }

    fn set_data_path(&self, _: &str) -> Result<()> {
        refused("move the data folder")
    }

    fn initialize_schema(&self) -> Result<()> {
        refused("make the catalog's tables")
    }

    fn begin_write_transaction(&self, _: &str, _: &str, _: &[ColumnDef], _: WriteMode) -> Result<WriteSetupResult> {
        refused("begin a write")
    }
}
