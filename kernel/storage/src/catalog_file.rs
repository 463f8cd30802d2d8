use std::path::Path;

use kernel_base::{Code, Fault, Reason};
use sqlx::{
    Connection,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous},
};

/// Makes the SQLite file of a catalog that another library opens, and sets its journal to WAL, which the file remembers: readers then never wait for a commit.
/// `synchronous = FULL`, which a file cannot remember, is what SQLite starts every connection with.
///
/// # Errors
/// When the file cannot be made or is no SQLite database.
pub async fn prepare_catalog_file(path: &Path) -> Result<(), CatalogFileError> {
    let failed = |source| CatalogFileError { path: path.display().to_string(), source };
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
    // A file that was just named has its header written by the first statement that needs it.
    sqlx::query("PRAGMA user_version").execute(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)
}

/// What is asked of the catalog with every scan and every commit is found without reading whole tables of it: a year of files has hundreds of thousands of
/// statistics. Other readers of the catalog are not concerned by indexes.
const INDEXES: &str = "
    CREATE INDEX IF NOT EXISTS backplane_data_file ON ducklake_data_file (table_id, data_file_id);
    CREATE INDEX IF NOT EXISTS backplane_delete_file ON ducklake_delete_file (table_id, data_file_id);
    CREATE INDEX IF NOT EXISTS backplane_file_column_stats ON ducklake_file_column_stats (table_id, data_file_id);
    CREATE INDEX IF NOT EXISTS backplane_column ON ducklake_column (table_id);
";

/// Adds the indexes that the catalog lacks; the library that owns its tables has made them by then.
///
/// # Errors
/// When the file cannot be written or is no catalog.
pub async fn index_catalog_file(path: &Path) -> Result<(), CatalogFileError> {
    let failed = |source| CatalogFileError { path: path.display().to_string(), source };
    let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.map_err(failed)?;
    sqlx::raw_sql(INDEXES).execute(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)
}

/// The catalog's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the catalog {path} cannot be opened: check that the folder exists, that this user may write it and that no other program made the file")]
pub struct CatalogFileError {
    path: String,
    source: sqlx::Error,
}

impl Fault for CatalogFileError {
    fn code(&self) -> Code {
        Code::Internal
    }
    fn reason(&self) -> Reason {
        Reason::StorageFailed
    }
}
