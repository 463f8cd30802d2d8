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
    number_files_once(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)
}

/// The table of data files as the library makes it, but an id is never given twice: a merge takes the newest files out of the catalog, and whoever lists files
/// at that moment would take the statistics of the one for those of the other.
const DATA_FILES: &str = "
    CREATE TABLE ducklake_data_file (
        data_file_id INTEGER PRIMARY KEY AUTOINCREMENT, table_id INTEGER NOT NULL, path VARCHAR NOT NULL, path_is_relative BOOLEAN NOT NULL DEFAULT 1,
        file_size_bytes INTEGER NOT NULL, footer_size INTEGER, encryption_key VARCHAR, record_count INTEGER, row_id_start INTEGER, mapping_id INTEGER,
        begin_snapshot INTEGER NOT NULL, end_snapshot INTEGER, partial_max INTEGER, partition_id INTEGER
    );
";

const DATA_FILE_COLUMNS: &str = "data_file_id, table_id, path, path_is_relative, file_size_bytes, footer_size, encryption_key, record_count, row_id_start,
    mapping_id, begin_snapshot, end_snapshot, partial_max, partition_id";

/// Makes the table of data files before the library does, or anew when the library made it.
async fn number_files_once(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let made: Option<String> =
        sqlx::query_scalar("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = 'ducklake_data_file'").fetch_optional(&mut *connection).await?;
    let mut transaction = connection.begin().await?;
    match made {
        None => {
            sqlx::raw_sql(DATA_FILES).execute(&mut *transaction).await?;
        }
        Some(made) if made.contains("AUTOINCREMENT") => {}
        Some(_) => {
            sqlx::raw_sql("ALTER TABLE ducklake_data_file RENAME TO data_file_as_made").execute(&mut *transaction).await?;
            sqlx::raw_sql(DATA_FILES).execute(&mut *transaction).await?;
            let copy =
                format!("INSERT INTO ducklake_data_file ({DATA_FILE_COLUMNS}) SELECT {DATA_FILE_COLUMNS} FROM data_file_as_made; DROP TABLE data_file_as_made");
            sqlx::raw_sql(sqlx::AssertSqlSafe(copy)).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await
}

/// What is asked of the catalog with every scan and every commit is found without reading whole tables of it: a year of files has hundreds of thousands of
/// statistics. Other readers of the catalog are not concerned by indexes.
const INDEXES: &str = "
    CREATE INDEX IF NOT EXISTS backplane_data_file ON ducklake_data_file (table_id, data_file_id);
    CREATE INDEX IF NOT EXISTS backplane_delete_file ON ducklake_delete_file (table_id, data_file_id);
    CREATE INDEX IF NOT EXISTS backplane_file_column_stats ON ducklake_file_column_stats (table_id, data_file_id);
    CREATE INDEX IF NOT EXISTS backplane_column ON ducklake_column (table_id);
    CREATE INDEX IF NOT EXISTS backplane_deletes_of_file ON ducklake_delete_file (data_file_id);
    CREATE INDEX IF NOT EXISTS backplane_stats_of_file ON ducklake_file_column_stats (data_file_id);
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
