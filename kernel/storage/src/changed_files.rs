use std::path::Path;

use sqlx::{
    Connection, Row,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow},
};

use crate::catalog_file::CatalogFileError;

/// A data file of a table that shows other rows at the end of a window than at its beginning.
#[derive(Debug, Clone)]
pub struct ChangedFile {
    pub data_file_id: i64,
    pub file: ListedFile,
    pub rows: i64,
    pub row_id_start: Option<i64>,
    /// The first snapshot that has it.
    pub begin: i64,
    /// The first snapshot that has it no more.
    pub end: Option<i64>,
    /// Of a file whose rows say in which snapshot they came: the newest of these.
    pub newest_origin: Option<i64>,
    /// The list of its removed rows at the beginning of the window.
    pub removed_before: Option<ListedFile>,
    /// The same at the end.
    pub removed_after: Option<ListedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Below the folder of the data files.
    pub path: String,
    pub size_bytes: i64,
    pub footer_bytes: Option<i64>,
}

/// Indexes find the files that began or ended, those with newer rows among older ones, and those of which rows were removed.
const CHANGED_FILES: &str = "
    WITH changed AS (
        SELECT data_file_id FROM ducklake_data_file WHERE table_id = $1 AND begin_snapshot > $2 AND begin_snapshot <= $3
        UNION SELECT data_file_id FROM ducklake_data_file WHERE table_id = $1 AND end_snapshot > $2 AND end_snapshot <= $3
        UNION SELECT data_file_id FROM ducklake_data_file WHERE table_id = $1 AND partial_max > $2
        UNION SELECT data_file_id FROM ducklake_delete_file WHERE table_id = $1 AND begin_snapshot > $2 AND begin_snapshot <= $3
    )
    SELECT f.data_file_id, f.record_count, f.row_id_start, f.begin_snapshot, f.end_snapshot, f.partial_max,
        s.path || t.path || f.path AS file_path, f.file_size_bytes AS file_size, f.footer_size AS file_footer,
        s.path || t.path || b.path AS before_path, b.file_size_bytes AS before_size, b.footer_size AS before_footer,
        s.path || t.path || a.path AS after_path, a.file_size_bytes AS after_size, a.footer_size AS after_footer
    FROM changed
    JOIN ducklake_data_file f USING (data_file_id)
    JOIN (SELECT DISTINCT table_id, schema_id, path FROM ducklake_table) t USING (table_id)
    JOIN (SELECT DISTINCT schema_id, path FROM ducklake_schema) s USING (schema_id)
    LEFT JOIN ducklake_delete_file b ON b.data_file_id = f.data_file_id AND b.begin_snapshot <= $2 AND (b.end_snapshot IS NULL OR b.end_snapshot > $2)
    LEFT JOIN ducklake_delete_file a ON a.data_file_id = f.data_file_id AND a.begin_snapshot <= $3 AND (a.end_snapshot IS NULL OR a.end_snapshot > $3)
    WHERE f.begin_snapshot <= $3 AND (f.end_snapshot IS NULL OR f.end_snapshot > $2)
    ORDER BY f.data_file_id";

/// The files of a table that show other rows at snapshot `until` than at `after`, in the order of their ids. One statement: merges that are committed meanwhile are
/// in it with all that they changed, or not at all.
///
/// # Errors
/// When the file cannot be read or is no catalog.
pub async fn changed_files(catalog: &Path, table_id: i64, after: i64, until: i64) -> Result<Vec<ChangedFile>, CatalogFileError> {
    let failed = CatalogFileError::of(catalog);
    let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(catalog)).await.map_err(&failed)?;
    let rows = sqlx::query(CHANGED_FILES).bind(table_id).bind(after).bind(until).fetch_all(&mut connection).await.map_err(&failed)?;
    connection.close().await.map_err(&failed)?;
    rows.iter().map(changed_file).collect::<Result<_, _>>().map_err(failed)
}

fn changed_file(row: &SqliteRow) -> Result<ChangedFile, sqlx::Error> {
    Ok(ChangedFile {
        data_file_id: row.try_get("data_file_id")?,
        file: listed_file(row, "file")?.ok_or(sqlx::Error::RowNotFound)?,
        rows: row.try_get("record_count")?,
        row_id_start: row.try_get("row_id_start")?,
        begin: row.try_get("begin_snapshot")?,
        end: row.try_get("end_snapshot")?,
        newest_origin: row.try_get("partial_max")?,
        removed_before: listed_file(row, "before")?,
        removed_after: listed_file(row, "after")?,
    })
}

fn listed_file(row: &SqliteRow, which: &str) -> Result<Option<ListedFile>, sqlx::Error> {
    let Some(path) = row.try_get(format!("{which}_path").as_str())? else {
        return Ok(None);
    };
    let (size_bytes, footer_bytes) = (row.try_get(format!("{which}_size").as_str())?, row.try_get(format!("{which}_footer").as_str())?);
    Ok(Some(ListedFile { path, size_bytes, footer_bytes }))
}
