use datafusion_ducklake::{
    DuckLakeError, MetadataProvider,
    metadata_provider::{
        ColumnWithTable, DataFileChange, DeleteFileChange, DuckLakeFileMetadata, DuckLakeTableColumn, DuckLakeTableFile, FileWithTable, SchemaMetadata,
        SnapshotMetadata, TableMetadata, TableWithSchema,
    },
};

type Result<T> = std::result::Result<T, DuckLakeError>;

/// What a table asks a catalog for, of columns and files that are given: at every snapshot the same. Nothing is known of the values in the files.
#[derive(Debug)]
pub(super) struct GivenFiles {
    pub(super) columns: Vec<DuckLakeTableColumn>,
    /// In the order of their ids.
    pub(super) files: Vec<DuckLakeTableFile>,
    /// The lists of removed rows whose rows are asked for.
    pub(super) deletions: Vec<DeleteFileChange>,
}

fn not_given<T>() -> Result<T> {
    Err(DuckLakeError::Unsupported("a table of given files has no catalog".to_owned()))
}

impl MetadataProvider for GivenFiles {
    /// None that a table is opened at: what is known of all rows at the newest snapshot says nothing of these.
    fn get_current_snapshot(&self) -> Result<i64> {
        Ok(-1)
    }

    fn get_table_structure(&self, _: i64, _: i64) -> Result<Vec<DuckLakeTableColumn>> {
        Ok(self.columns.clone())
    }

    fn get_table_files_for_select(&self, _: i64, _: i64) -> Result<Vec<DuckLakeTableFile>> {
        Ok(self.files.clone())
    }

    fn get_table_file_metadata_page(&self, _: i64, _: i64, after_data_file_id: Option<i64>, limit: usize) -> Result<Vec<DuckLakeFileMetadata>> {
        let after = self.files.iter().filter(|file| after_data_file_id.is_none_or(|after| file.data_file_id > after));
        Ok(after.take(limit).map(|file| DuckLakeFileMetadata { file: file.clone(), column_statistics: Vec::new() }).collect())
    }

    fn get_delete_files_added_between_snapshots(&self, _: i64, _: i64, _: i64) -> Result<Vec<DeleteFileChange>> {
        Ok(self.deletions.clone())
    }

    // A table that is opened over its files asks for nothing else.

    fn get_data_path(&self) -> Result<String> {
        not_given()
    }

    fn list_snapshots(&self) -> Result<Vec<SnapshotMetadata>> {
        not_given()
    }

    fn list_schemas(&self, _: i64) -> Result<Vec<SchemaMetadata>> {
        not_given()
    }

    fn list_tables(&self, _: i64, _: i64) -> Result<Vec<TableMetadata>> {
        not_given()
    }

    fn get_schema_by_name(&self, _: &str, _: i64) -> Result<Option<SchemaMetadata>> {
        not_given()
    }

    fn get_table_by_name(&self, _: i64, _: &str, _: i64) -> Result<Option<TableMetadata>> {
        not_given()
    }

    fn table_exists(&self, _: i64, _: &str, _: i64) -> Result<bool> {
        not_given()
    }

    fn list_all_tables(&self, _: i64) -> Result<Vec<TableWithSchema>> {
        not_given()
    }

    fn list_all_columns(&self, _: i64) -> Result<Vec<ColumnWithTable>> {
        not_given()
    }

    fn list_all_files(&self, _: i64) -> Result<Vec<FileWithTable>> {
        not_given()
    }

    fn get_data_files_added_between_snapshots(&self, _: i64, _: i64, _: i64) -> Result<Vec<DataFileChange>> {
        not_given()
    }
}
