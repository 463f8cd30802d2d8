use std::{
    path::Path,
    sync::{Arc, PoisonError},
};

use datafusion::{
    catalog::TableProvider,
    error::{DataFusionError, Result},
    execution::object_store::ObjectStoreUrl,
    logical_expr::{Expr, JoinType},
    prelude::{DataFrame, SessionConfig, SessionContext, col, lit},
};
use datafusion_ducklake::{
    DuckLakeTable, MetadataProvider,
    metadata_provider::{DeleteFileChange, DuckLakeFileData, DuckLakeTableColumn, DuckLakeTableFile},
    row_id::{ROWID_COLUMN_NAME, SNAPSHOT_ID_PARQUET_FIELD_ID},
    table_deletions::TableDeletionsTable,
};
use kernel_storage::{ChangedFile, ListedFile};

use super::{Lake, TableName, failed, given_files::GivenFiles};
use crate::error::WarehouseError;

/// Of a row in a merged file, the snapshot in which it came; null in other files, whose rows all came with them.
const ORIGIN: &str = "_origin";

/// The rows of a table that one snapshot has and another has not, with the columns of the later one.
pub(crate) struct Changes {
    pub(crate) inserted: DataFrame,
    pub(crate) removed: DataFrame,
}

/// Two snapshots of a table, and the columns that it has at the later one, with the origin.
struct Window<'a> {
    after: i64,
    until: i64,
    table_id: i64,
    data: &'a Path,
    /// Under names of ours: those of a contract may be the library's own for what it adds. Files know their columns by numbers.
    columns: Vec<DuckLakeTableColumn>,
    /// The names of the columns, without the origin's.
    names: Vec<String>,
    session: SessionContext,
}

impl Lake {
    /// What changed in a table after one snapshot until another; `None` when nothing did. A row is the same at both by its id, whatever file it has moved to: of what
    /// came and went in between neither is seen, and a row that was replaced by an equal one went while another came.
    ///
    /// Reads the files that began or ended meanwhile or have newer rows among older ones, and looks rows up by their ids only where files were written anew.
    pub(crate) async fn changes(&self, after: i64, until: i64, table: &TableName) -> Result<Option<Changes>, WarehouseError> {
        let known = self.tables.lock().unwrap_or_else(PoisonError::into_inner).known(table);
        if known.is_none_or(|known| known.changed_at <= after && self.opened_at <= after) {
            return Ok(None);
        }
        let Some(table_id) = self.table_id(table, until).map_err(failed("looking a table up"))? else {
            return Ok(None);
        };
        let files = kernel_storage::changed_files(&self.catalog, table_id, after, until).await;
        let files = files.map_err(|source| WarehouseError::Storage { doing: "listing the files that changed", source: Box::new(source) })?;
        if files.is_empty() {
            return Ok(None);
        }
        let mut columns = self.provider.get_table_structure(table_id, until).map_err(failed("reading the columns of a table"))?;
        let names = columns.iter_mut().enumerate().map(|(index, column)| std::mem::replace(&mut column.column_name, our_name(index))).collect();
        columns.push(DuckLakeTableColumn::new(i64::from(SNAPSHOT_ID_PARQUET_FIELD_ID), ORIGIN.to_owned(), "int64".to_owned(), true));
        // A join gathers the ids on its one side, and rows stream by: the rule that brings equal ids together may not run later.
        let config = SessionConfig::new().with_repartition_joins(false);
        let session = SessionContext::new_with_config_rt(config, self.runtime_env.clone());
        let window = Window { after, until, table_id, data: &self.data, columns, names, session };
        window.changes(&files).map(Some).map_err(|source| WarehouseError::Storage { doing: "opening the files that changed", source: Box::new(source) })
    }
}

impl Window<'_> {
    fn changes(&self, files: &[ChangedFile]) -> Result<Changes> {
        let was_there = |file: &&ChangedFile| file.begin <= self.after;
        let is_there = |file: &&ChangedFile| file.end.is_none_or(|end| end > self.until);
        let has_newer = |file: &&ChangedFile| !was_there(file) || file.newest_origin.is_some_and(|newest| newest > self.after);
        let came = files.iter().filter(is_there).filter(has_newer).map(|file| self.opened(file, file.removed_after.as_ref()));
        let went = files.iter().filter(was_there).filter(|file| !is_there(file)).map(|file| self.opened(file, file.removed_before.as_ref()));
        let lessened = files.iter().filter(was_there).filter(is_there).filter_map(|file| self.lessened(file));

        let is_older = col(ORIGIN).is_null().or(col(ORIGIN).lt_eq(lit(self.after)));
        let came = self.rows(self.until, came.collect::<Result<_>>()?)?.filter(col(ORIGIN).is_null().or(col(ORIGIN).gt(lit(self.after))))?;
        let lessened = self.removed(lessened.collect::<Result<_>>()?)?.filter(is_older)?;
        let went: Vec<DuckLakeTableFile> = went.collect::<Result<_>>()?;
        let (inserted, removed) = if went.is_empty() {
            (came, lessened)
        } else {
            // Rows of a file that was written anew are in the new one, under their ids.
            let went = self.rows(self.after, went)?;
            let removed = went.clone().union(lessened)?;
            (without(came.clone(), went)?, without(removed, came)?)
        };
        let columns: Vec<Expr> = self.names.iter().enumerate().map(|(index, name)| col(our_name(index)).alias(name)).collect();
        Ok(Changes { inserted: inserted.select(columns.clone())?, removed: removed.select(columns)? })
    }

    /// The rows of files as one snapshot has them.
    fn rows(&self, snapshot: i64, files: Vec<DuckLakeTableFile>) -> Result<DataFrame> {
        self.session.read_table(Arc::new(self.table(snapshot, files)?.with_row_lineage(true)))?.select(self.selected())
    }

    /// The rows that lists of removed rows have.
    fn removed(&self, deletions: Vec<DeleteFileChange>) -> Result<DataFrame> {
        let schema = self.table(self.until, Vec::new())?.schema();
        let given = Arc::new(GivenFiles { columns: self.columns.clone(), files: Vec::new(), deletions });
        let rows = TableDeletionsTable::new(given, self.table_id, self.until, self.until, files_url()?, String::new(), schema);
        self.session.read_table(Arc::new(rows.with_columns(self.columns.clone())))?.select(self.selected())
    }

    fn table(&self, snapshot: i64, files: Vec<DuckLakeTableFile>) -> Result<DuckLakeTable> {
        let given = Arc::new(GivenFiles { columns: self.columns.clone(), files, deletions: Vec::new() });
        DuckLakeTable::new(self.table_id, "changed", given, snapshot, files_url()?, String::new()).map_err(external)
    }

    fn selected(&self) -> Vec<Expr> {
        self.columns.iter().map(|column| column.column_name.as_str()).chain([ROWID_COLUMN_NAME]).map(col).collect()
    }

    fn opened(&self, changed: &ChangedFile, removed: Option<&ListedFile>) -> Result<DuckLakeTableFile> {
        let mut file = DuckLakeTableFile::new(self.listed(&changed.file)?);
        file.data_file_id = changed.data_file_id;
        file.row_id_start = changed.row_id_start;
        file.begin_snapshot = Some(changed.begin);
        file.partial_max = changed.newest_origin;
        file.max_row_count = Some(changed.rows);
        file.delete_file = removed.map(|removed| self.listed(removed)).transpose()?;
        Ok(file)
    }

    /// What was removed of a file that is there at both snapshots, if anything was.
    fn lessened(&self, changed: &ChangedFile) -> Option<Result<DeleteFileChange>> {
        let removed = changed.removed_after.as_ref().filter(|after| changed.removed_before.as_ref() != Some(*after))?;
        let before = changed.removed_before.as_ref();
        let change = || {
            Ok(DeleteFileChange {
                data_file_path: self.path(&changed.file)?,
                data_file_path_is_relative: false,
                data_file_size_bytes: changed.file.size_bytes,
                data_file_footer_size: changed.file.footer_bytes,
                data_row_id_start: changed.row_id_start,
                data_record_count: changed.rows,
                data_mapping_id: None,
                current_delete_path: Some(self.path(removed)?),
                current_delete_path_is_relative: Some(false),
                current_delete_file_size_bytes: Some(removed.size_bytes),
                current_delete_footer_size: removed.footer_bytes,
                previous_delete_path: before.map(|before| self.path(before)).transpose()?,
                previous_delete_path_is_relative: before.map(|_| false),
                previous_delete_file_size_bytes: before.map(|before| before.size_bytes),
                previous_delete_footer_size: before.and_then(|before| before.footer_bytes),
                snapshot_id: self.until,
            })
        };
        Some(change())
    }

    fn listed(&self, file: &ListedFile) -> Result<DuckLakeFileData> {
        let mut listed = DuckLakeFileData::new(self.path(file)?, false, file.size_bytes);
        listed.footer_size = file.footer_bytes;
        Ok(listed)
    }

    fn path(&self, file: &ListedFile) -> Result<String> {
        self.data.join(&file.path).into_os_string().into_string().map_err(|_| DataFusionError::Internal("the path of the data is no text".to_owned()))
    }
}

fn our_name(index: usize) -> String {
    format!("_column_{index}")
}

/// The rows whose id is none of others'.
fn without(rows: DataFrame, others: DataFrame) -> Result<DataFrame> {
    const OTHER: &str = "_other";
    others.select([col(ROWID_COLUMN_NAME).alias(OTHER)])?.join(rows, JoinType::RightAnti, &[OTHER], &[ROWID_COLUMN_NAME], None)
}

fn files_url() -> Result<Arc<ObjectStoreUrl>> {
    ObjectStoreUrl::parse("file://").map(Arc::new)
}

fn external(error: datafusion_ducklake::DuckLakeError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
