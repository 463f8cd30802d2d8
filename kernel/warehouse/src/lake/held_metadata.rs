use std::sync::{Arc, OnceLock};

use arrow_array::RecordBatch;
use datafusion_ducklake::{
    DuckLakeError, MetadataProvider, PartitionSpec, SortSpec, SqliteMetadataProvider,
    inlined_filter::{InlinedDataScan, InlinedFilter},
    metadata_provider::{
        ColumnWithTable, DataFileChange, DeleteFileChange, DuckLakeFileMetadata, DuckLakeInlinedDelete, DuckLakeNameMapping, DuckLakeStatistics,
        DuckLakeTableColumn, DuckLakeTableField, DuckLakeTableFile, FileWithTable, SchemaMetadata, SnapshotMetadata, TableMetadata, TableWithSchema,
    },
    stats_filter::StatsFilter,
};

type Result<T> = std::result::Result<T, DuckLakeError>;

// Limit: files of a table whose descriptions are held, some kilobytes each. Of a larger table the catalog is asked for those that a query's conditions leave.
const FILES_HELD_MAX: usize = 32;

/// What the catalog says of one table at one snapshot, for the scans of it: asked once and held, since none of it can change. To ask takes longer than to read
/// a small table.
#[derive(Debug)]
pub(super) struct HeldMetadata {
    catalog: Arc<SqliteMetadataProvider>,
    /// In the order of their ids; `None` of a table with more files than are held.
    files: OnceLock<Option<Vec<DuckLakeFileMetadata>>>,
    /// Rows and deletions that stand in the catalog itself, where other writers keep what is small.
    inlined: OnceLock<Vec<RecordBatch>>,
    inlined_deletes: OnceLock<Vec<DuckLakeInlinedDelete>>,
}

impl HeldMetadata {
    pub(super) fn new(catalog: Arc<SqliteMetadataProvider>) -> HeldMetadata {
        HeldMetadata { catalog, files: OnceLock::new(), inlined: OnceLock::new(), inlined_deletes: OnceLock::new() }
    }
}

/// What is held, or else what is asked for now; an error is not held.
fn held<T>(held: &OnceLock<T>, ask: impl FnOnce() -> Result<T>) -> Result<&T> {
    match held.get() {
        Some(known) => Ok(known),
        None => ask().map(|answer| held.get_or_init(|| answer)),
    }
}

/// Methods that ask the catalog each time: a table calls them when it is opened, or never.
macro_rules! asked {
    ($($name:ident($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> Result<$output> {
            self.catalog.$name($($argument),*)
        })*
    };
}

impl MetadataProvider for HeldMetadata {
    fn get_table_file_metadata_page_filtered(
        &self,
        table_id: i64,
        snapshot_id: i64,
        after_data_file_id: Option<i64>,
        limit: usize,
        filter: Option<&StatsFilter>,
    ) -> Result<Vec<DuckLakeFileMetadata>> {
        let files = held(&self.files, || {
            let files = self.catalog.get_table_file_metadata_page(table_id, snapshot_id, None, FILES_HELD_MAX + 1)?;
            Ok((files.len() <= FILES_HELD_MAX).then_some(files))
        })?;
        match files {
            // The scan leaves out the files that its conditions exclude.
            Some(files) => {
                let after = files.iter().filter(|file| after_data_file_id.is_none_or(|after| file.file.data_file_id > after));
                Ok(after.take(limit).cloned().collect())
            }
            None => self.catalog.get_table_file_metadata_page_filtered(table_id, snapshot_id, after_data_file_id, limit, filter),
        }
    }

    fn get_table_file_metadata_page(
        &self,
        table_id: i64,
        snapshot_id: i64,
        after_data_file_id: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DuckLakeFileMetadata>> {
        self.get_table_file_metadata_page_filtered(table_id, snapshot_id, after_data_file_id, limit, None)
    }

    fn get_inlined_data(&self, table_id: i64, snapshot_id: i64, columns: &[DuckLakeTableColumn]) -> Result<Vec<RecordBatch>> {
        held(&self.inlined, || self.catalog.get_inlined_data(table_id, snapshot_id, columns)).cloned()
    }

    fn scan_inlined_data(&self, table_id: i64, snapshot_id: i64, columns: &[DuckLakeTableColumn], _filter: Option<&InlinedFilter>) -> Result<InlinedDataScan> {
        let batches = self.get_inlined_data(table_id, snapshot_id, columns)?;
        let materialized_row_count = batches.iter().map(RecordBatch::num_rows).sum();
        Ok(InlinedDataScan { batches, materialized_row_count })
    }

    fn get_inlined_deletes(&self, table_id: i64, snapshot_id: i64) -> Result<Vec<DuckLakeInlinedDelete>> {
        held(&self.inlined_deletes, || self.catalog.get_inlined_deletes(table_id, snapshot_id)).cloned()
    }

    asked! {
        get_current_snapshot() -> i64;
        get_data_path() -> String;
        list_snapshots() -> Vec<SnapshotMetadata>;
        list_schemas(snapshot_id: i64) -> Vec<SchemaMetadata>;
        list_tables(schema_id: i64, snapshot_id: i64) -> Vec<TableMetadata>;
        get_schema_by_name(name: &str, snapshot_id: i64) -> Option<SchemaMetadata>;
        get_table_by_name(schema_id: i64, name: &str, snapshot_id: i64) -> Option<TableMetadata>;
        table_exists(schema_id: i64, name: &str, snapshot_id: i64) -> bool;
        get_table_structure(table_id: i64, snapshot_id: i64) -> Vec<DuckLakeTableColumn>;
        get_table_fields(table_id: i64, snapshot_id: i64) -> Vec<DuckLakeTableField>;
        get_name_mapping(mapping_id: i64) -> DuckLakeNameMapping;
        get_partition_spec(table_id: i64, snapshot_id: i64) -> Option<PartitionSpec>;
        get_sort_spec(table_id: i64, snapshot_id: i64) -> Option<SortSpec>;
        get_table_statistics(table_id: i64, snapshot_id: i64) -> DuckLakeStatistics;
        get_table_summary_statistics(table_id: i64, snapshot_id: i64) -> DuckLakeStatistics;
        get_table_files_for_select(table_id: i64, snapshot_id: i64) -> Vec<DuckLakeTableFile>;
        list_all_tables(snapshot_id: i64) -> Vec<TableWithSchema>;
        list_all_columns(snapshot_id: i64) -> Vec<ColumnWithTable>;
        list_all_files(snapshot_id: i64) -> Vec<FileWithTable>;
        get_data_files_added_between_snapshots(table_id: i64, start_snapshot: i64, end_snapshot: i64) -> Vec<DataFileChange>;
        get_delete_files_added_between_snapshots(table_id: i64, start_snapshot: i64, end_snapshot: i64) -> Vec<DeleteFileChange>;
    }
}
