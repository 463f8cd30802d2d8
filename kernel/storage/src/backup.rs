use std::path::Path;

use sqlx::{
    Connection,
    sqlite::{SqliteConnectOptions, SqliteConnection},
};

/// Copies a SQLite database as it is at one moment, also while a kernel writes it: the copy is one file without a journal, which the caller syncs.
///
/// # Errors
/// When there is no such database, or the copy cannot be written or is there already.
pub async fn copy_database(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = |source| BackupError { path: from.display().to_string(), source };
    let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(from)).await.map_err(failed)?;
    let to = to.to_string_lossy().into_owned();
    sqlx::query("VACUUM INTO $1").bind(to).execute(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)
}

/// What a catalog names.
#[derive(Debug)]
pub struct CatalogContents {
    pub newest_snapshot_id: i64,
    pub files: Vec<CatalogFile>,
}

/// A file of rows, or of which rows are gone.
#[derive(Debug, sqlx::FromRow)]
pub struct CatalogFile {
    /// Below the folder of the data files.
    pub path: String,
    pub size_bytes: i64,
}

/// The newest snapshot of a catalog and the files of all its snapshots.
///
/// # Errors
/// When the file cannot be read or is no catalog.
pub async fn catalog_contents(catalog: &Path) -> Result<CatalogContents, BackupError> {
    const FILES: &str = "
        SELECT s.path || t.path || f.path AS path, f.file_size_bytes AS size_bytes
        FROM (SELECT table_id, path, file_size_bytes FROM ducklake_data_file UNION ALL SELECT table_id, path, file_size_bytes FROM ducklake_delete_file) f
        JOIN (SELECT DISTINCT table_id, schema_id, path FROM ducklake_table) t USING (table_id)
        JOIN (SELECT DISTINCT schema_id, path FROM ducklake_schema) s USING (schema_id)
        ORDER BY 1";
    let failed = |source| BackupError { path: catalog.display().to_string(), source };
    let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(catalog)).await.map_err(failed)?;
    let newest = sqlx::query_scalar("SELECT coalesce(max(snapshot_id), 0) FROM ducklake_snapshot").fetch_one(&mut connection).await.map_err(failed)?;
    let files = sqlx::query_as(FILES).fetch_all(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    Ok(CatalogContents { newest_snapshot_id: newest, files })
}

/// A database cannot be read or copied.
#[derive(Debug, thiserror::Error)]
#[error("the database {path} cannot be copied: check that the folder is one of a kernel and that this user may read it")]
pub struct BackupError {
    path: String,
    source: sqlx::Error,
}
