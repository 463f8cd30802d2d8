use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use arrow_array::RecordBatch;
use datafusion_ducklake::{
    DuckLakeError, DuckLakeTag, MetadataProvider, PartitionSpec, SortSpec, SqliteMetadataProvider, TagTarget,
    inlined_filter::{InlinedDataScan, InlinedFilter},
    metadata_provider::{
        ColumnWithTable, DataFileChange, DeleteFileChange, DuckLakeFileMetadata, DuckLakeInlinedData, DuckLakeInlinedDelete, DuckLakeNameMapping,
        DuckLakeStatistics, DuckLakeTableColumn, DuckLakeTableField, DuckLakeTableFile, FileWithTable, SchemaMetadata, SnapshotMetadata, TableMetadata,
        TableWithSchema, ViewMetadata,
    },
    stats_filter::{PartitionTextMatch, StatsExpr, StatsFilter},
};

type Result<T> = std::result::Result<T, DuckLakeError>;

// Limit: files of a table whose descriptions are held, some kilobytes each. Of a larger table the catalog is asked for those that a query's conditions leave.
const FILES_HELD_MAX: usize = 256;

/// What the catalog says of one table at one snapshot, for the scans of it: asked once and held, since none of it can change. To ask takes longer than to read
/// a small table.
#[derive(Debug)]
pub(super) struct HeldMetadata {
    catalog: Arc<SqliteMetadataProvider>,
    /// The files that whoever changes the table may see, where not all.
    only: Option<HashSet<i64>>,
    /// In the order of their ids; `None` of a table with more files than are held.
    files: OnceLock<Option<Vec<DuckLakeFileMetadata>>>,
    /// Rows and deletions that stand in the catalog itself, where other writers keep what is small.
    inlined: OnceLock<Vec<RecordBatch>>,
    inlined_deletes: OnceLock<Vec<DuckLakeInlinedDelete>>,
}

impl HeldMetadata {
    pub(super) fn new(catalog: Arc<SqliteMetadataProvider>) -> HeldMetadata {
        HeldMetadata { catalog, only: None, files: OnceLock::new(), inlined: OnceLock::new(), inlined_deletes: OnceLock::new() }
    }

    /// The rows and bytes of the files, before deletions, once a scan has asked for them; `None` when nobody did or they are many.
    pub(super) fn size(&self) -> Option<(u64, u64)> {
        let files = self.files.get()?.as_ref()?;
        let of_file = |file: &DuckLakeFileMetadata| Some((u64::try_from(file.file.max_row_count?).ok()?, u64::try_from(file.file.file.file_size_bytes).ok()?));
        files.iter().try_fold((0, 0), |(rows, bytes), file| of_file(file).map(|(more_rows, more_bytes)| (rows + more_rows, bytes + more_bytes)))
    }

    /// Of a table that is opened to change these files and no others.
    pub(super) fn of_files(catalog: Arc<SqliteMetadataProvider>, files: HashSet<i64>) -> HeldMetadata {
        HeldMetadata { only: Some(files), ..HeldMetadata::new(catalog) }
    }
}

/// What is held, or else what is asked for now; an error is not held.
fn held<T>(held: &OnceLock<T>, ask: impl FnOnce() -> Result<T>) -> Result<&T> {
    match held.get() {
        Some(known) => Ok(known),
        None => ask().map(|answer| held.get_or_init(|| answer)),
    }
}

/// Whether a file's statistics leave room for rows that a filter asks for, as far as it compares texts with texts, which need no conversion: the city above all.
fn may_hold(file: &DuckLakeFileMetadata, filter: &StatsFilter) -> bool {
    let of_texts = filter.columns.iter().filter(|column| column.partition_text == Some(PartitionTextMatch::Exact));
    of_texts.into_iter().all(|column| {
        let statistics = file.column_statistics.iter().find(|statistics| statistics.column_id == column.column_id);
        let bounds = statistics.and_then(|statistics| statistics.min_value.as_deref().zip(statistics.max_value.as_deref()));
        bounds.is_none_or(|bounds| admits(&column.condition, bounds))
    })
}

fn admits(condition: &StatsExpr, (min, max): (&str, &str)) -> bool {
    match condition {
        StatsExpr::And(conditions) => conditions.iter().all(|condition| admits(condition, (min, max))),
        StatsExpr::Or(conditions) => conditions.iter().any(|condition| admits(condition, (min, max))),
        StatsExpr::LiteralWithinBounds(literal) => (min..=max).contains(&literal.text()),
        // What is not told by equal texts the scan tells.
        _ => true,
    }
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
            // The scan leaves out the files that its conditions exclude, but looks at the statistics of each.
            Some(files) => {
                let after = files.iter().filter(|file| after_data_file_id.is_none_or(|after| file.file.data_file_id > after));
                Ok(after.filter(|file| filter.is_none_or(|filter| may_hold(file, filter))).take(limit).cloned().collect())
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

    // What follows asks the catalog each time: a table calls it when it is opened, or never.

    fn get_current_snapshot(&self) -> Result<i64> {
        self.catalog.get_current_snapshot()
    }

    fn get_data_path(&self) -> Result<String> {
        self.catalog.get_data_path()
    }

    fn list_snapshots(&self) -> Result<Vec<SnapshotMetadata>> {
        self.catalog.list_snapshots()
    }

    fn list_schemas(&self, snapshot_id: i64) -> Result<Vec<SchemaMetadata>> {
        self.catalog.list_schemas(snapshot_id)
    }

    fn list_tables(&self, schema_id: i64, snapshot_id: i64) -> Result<Vec<TableMetadata>> {
        self.catalog.list_tables(schema_id, snapshot_id)
    }

    fn get_schema_by_name(&self, name: &str, snapshot_id: i64) -> Result<Option<SchemaMetadata>> {
        self.catalog.get_schema_by_name(name, snapshot_id)
    }

    fn get_table_by_name(&self, schema_id: i64, name: &str, snapshot_id: i64) -> Result<Option<TableMetadata>> {
        self.catalog.get_table_by_name(schema_id, name, snapshot_id)
    }

    fn table_exists(&self, schema_id: i64, name: &str, snapshot_id: i64) -> Result<bool> {
        self.catalog.table_exists(schema_id, name, snapshot_id)
    }

    fn get_table_structure(&self, table_id: i64, snapshot_id: i64) -> Result<Vec<DuckLakeTableColumn>> {
        self.catalog.get_table_structure(table_id, snapshot_id)
    }

    fn get_table_fields(&self, table_id: i64, snapshot_id: i64) -> Result<Vec<DuckLakeTableField>> {
        self.catalog.get_table_fields(table_id, snapshot_id)
    }

    fn get_name_mapping(&self, mapping_id: i64) -> Result<DuckLakeNameMapping> {
        self.catalog.get_name_mapping(mapping_id)
    }

    fn get_partition_spec(&self, table_id: i64, snapshot_id: i64) -> Result<Option<PartitionSpec>> {
        self.catalog.get_partition_spec(table_id, snapshot_id)
    }

    fn get_sort_spec(&self, table_id: i64, snapshot_id: i64) -> Result<Option<SortSpec>> {
        self.catalog.get_sort_spec(table_id, snapshot_id)
    }

    fn get_table_statistics(&self, table_id: i64, snapshot_id: i64) -> Result<DuckLakeStatistics> {
        self.catalog.get_table_statistics(table_id, snapshot_id)
    }

    fn get_table_summary_statistics(&self, table_id: i64, snapshot_id: i64) -> Result<DuckLakeStatistics> {
        self.catalog.get_table_summary_statistics(table_id, snapshot_id)
    }

    fn get_table_files_for_select(&self, table_id: i64, snapshot_id: i64) -> Result<Vec<DuckLakeTableFile>> {
        let mut files = self.catalog.get_table_files_for_select(table_id, snapshot_id)?;
        files.retain(|file| self.only.as_ref().is_none_or(|only| only.contains(&file.data_file_id)));
        Ok(files)
    }

    fn list_all_tables(&self, snapshot_id: i64) -> Result<Vec<TableWithSchema>> {
        self.catalog.list_all_tables(snapshot_id)
    }

    fn list_all_columns(&self, snapshot_id: i64) -> Result<Vec<ColumnWithTable>> {
        self.catalog.list_all_columns(snapshot_id)
    }

    fn list_all_files(&self, snapshot_id: i64) -> Result<Vec<FileWithTable>> {
        self.catalog.list_all_files(snapshot_id)
    }

    fn get_data_files_added_between_snapshots(&self, table_id: i64, start_snapshot: i64, end_snapshot: i64) -> Result<Vec<DataFileChange>> {
        self.catalog.get_data_files_added_between_snapshots(table_id, start_snapshot, end_snapshot)
    }

    fn get_delete_files_added_between_snapshots(&self, table_id: i64, start_snapshot: i64, end_snapshot: i64) -> Result<Vec<DeleteFileChange>> {
        self.catalog.get_delete_files_added_between_snapshots(table_id, start_snapshot, end_snapshot)
    }

    fn get_metadata_settings(&self, schema_id: Option<i64>, table_id: Option<i64>) -> Result<HashMap<String, String>> {
        self.catalog.get_metadata_settings(schema_id, table_id)
    }

    fn get_inlined_data_with_row_ids(&self, table_id: i64, snapshot_id: i64, columns: &[DuckLakeTableColumn]) -> Result<Vec<DuckLakeInlinedData>> {
        self.catalog.get_inlined_data_with_row_ids(table_id, snapshot_id, columns)
    }

    fn list_views(&self, schema_id: i64, snapshot_id: i64) -> Result<Vec<ViewMetadata>> {
        self.catalog.list_views(schema_id, snapshot_id)
    }

    fn get_view_by_name(&self, schema_id: i64, name: &str, snapshot_id: i64) -> Result<Option<ViewMetadata>> {
        self.catalog.get_view_by_name(schema_id, name, snapshot_id)
    }

    fn get_tags(&self, target: TagTarget, snapshot_id: i64) -> Result<Vec<DuckLakeTag>> {
        self.catalog.get_tags(target, snapshot_id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow_schema::{DataType, Field, Schema};
    use datafusion::{
        common::DFSchema,
        logical_expr::Expr,
        prelude::{SessionContext, col, lit},
    };
    use datafusion_ducklake::{
        metadata_provider::{DuckLakeFileColumnStatistics, DuckLakeFileData},
        stats_filter::lower_predicate,
    };

    use super::*;

    /// Whether a file with these bounds of `city` and `text` is read for a condition.
    fn is_read(condition: Expr, bounds: [Option<(&str, &str)>; 2]) -> bool {
        let names = [("city", DataType::Utf8), ("text", DataType::Utf8), ("number", DataType::Int64)];
        let schema = Schema::new(names.clone().map(|(name, data_type)| Field::new(name, data_type, true)).to_vec());
        let columns: Vec<DuckLakeTableColumn> = names
            .iter()
            .zip(1..)
            .map(|((name, data_type), id)| {
                let ducklake_type = if *data_type == DataType::Int64 { "int64" } else { "varchar" };
                DuckLakeTableColumn::new(id, (*name).to_owned(), ducklake_type.to_owned(), true)
            })
            .collect();
        let df_schema = DFSchema::try_from(schema.clone()).unwrap();
        let predicate = SessionContext::new().create_physical_expr(condition, &df_schema).unwrap();
        let statistics = bounds.into_iter().zip(1..).map(|(bounds, column_id)| DuckLakeFileColumnStatistics {
            data_file_id: 7,
            column_id,
            column_size_bytes: None,
            value_count: Some(10),
            null_count: Some(1),
            min_value: bounds.map(|(min, _)| min.to_owned()),
            max_value: bounds.map(|(_, max)| max.to_owned()),
            contains_nan: None,
        });
        let file = DuckLakeTableFile::new(DuckLakeFileData::new("a.parquet".to_owned(), true, 100));
        let file = DuckLakeFileMetadata { file, column_statistics: statistics.collect() };
        lower_predicate(&predicate, &schema, &columns).is_none_or(|filter| may_hold(&file, &filter))
    }

    #[test]
    fn a_file_is_left_out_only_when_no_row_of_it_can_fit() {
        let foshan = [Some(("440600", "440600")), Some(("b", "f"))];
        let city = |code: &str| col("city").eq(lit(code));
        for (condition, expected) in [
            (city("440600"), true),
            (city("440100"), false),
            (col("city").in_list(vec![lit("440100"), lit("440600")], false), true),
            (col("city").in_list(vec![lit("440100"), lit("441900")], false), false),
            (city("440600").and(col("text").eq(lit("c"))), true),
            (city("440600").and(col("text").eq(lit("g"))), false),
            (city("440100").or(col("text").eq(lit("c"))), true),
            (city("440100").or(col("city").is_null()), true),
            (col("city").not_eq(lit("440600")), true),
            (col("city").in_list(vec![lit("440600")], true), true),
            (col("text").gt(lit("z")), true),
            (col("number").eq(lit(5_i64)), true),
            (city("440100").and(col("number").eq(lit(5_i64))), false),
        ] {
            let shown = condition.to_string();
            assert_eq!(is_read(condition, foshan), expected, "{shown}");
        }
        assert!(is_read(city("440100"), [None, None]), "without statistics nothing is known");
    }
}
