use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kernel_base::{Code, Fault, Reason};
use sqlx::{
    Connection,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous},
};

/// Makes the SQLite file of a catalog that another library opens, and sets its journal to WAL, which the file remembers: readers then never wait for a commit.
/// `synchronous = FULL`, which a file cannot remember, is what SQLite starts every connection with.
///
/// # Errors
/// When the file cannot be made, is no SQLite database or is a damaged one.
pub async fn prepare_catalog_file(path: &Path) -> Result<(), CatalogFileError> {
    let failed = CatalogFileError::of(path);
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(&failed)?;
    refuse_damaged(&mut connection).await.map_err(&failed)?;
    // A file that was just named has its header written by the first statement that needs it.
    sqlx::query("PRAGMA user_version").execute(&mut connection).await.map_err(&failed)?;
    number_files_once(&mut connection).await.map_err(&failed)?;
    connection.close().await.map_err(&failed)
}

/// Reads every page of a database: half of one would be found by some query, or by a commit that makes it worse.
pub(crate) async fn refuse_damaged(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(connection).await?;
    if found == "ok" { Ok(()) } else { Err(sqlx::Error::Protocol(format!("it is damaged: {found}"))) }
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
    CREATE INDEX IF NOT EXISTS backplane_begun_files ON ducklake_data_file (table_id, begin_snapshot);
    CREATE INDEX IF NOT EXISTS backplane_ended_files ON ducklake_data_file (table_id, end_snapshot) WHERE end_snapshot IS NOT NULL;
    CREATE INDEX IF NOT EXISTS backplane_merged_files ON ducklake_data_file (table_id, partial_max) WHERE partial_max IS NOT NULL;
    CREATE INDEX IF NOT EXISTS backplane_begun_deletes ON ducklake_delete_file (table_id, begin_snapshot);
";

/// Columns of the DuckLake specification that the library leaves out and other readers ask for: table, column, and what it is declared as.
const COLUMNS: [(&str, &str, &str); 7] = [
    ("ducklake_snapshot", "next_catalog_id", "BIGINT NOT NULL DEFAULT 0"),
    ("ducklake_snapshot", "next_file_id", "BIGINT NOT NULL DEFAULT 0"),
    ("ducklake_schema", "schema_uuid", "UUID"),
    ("ducklake_table", "table_uuid", "UUID"),
    ("ducklake_data_file", "file_order", "BIGINT"),
    ("ducklake_data_file", "file_format", "VARCHAR DEFAULT 'parquet'"),
    ("ducklake_delete_file", "format", "VARCHAR DEFAULT 'parquet'"),
];

/// Tables of the specification that stay empty.
const EMPTY_TABLES: &str = "
    CREATE TABLE IF NOT EXISTS ducklake_macro (schema_id BIGINT, macro_id BIGINT, macro_name VARCHAR, begin_snapshot BIGINT, end_snapshot BIGINT);
    CREATE TABLE IF NOT EXISTS ducklake_macro_impl (macro_id BIGINT, impl_id BIGINT, dialect VARCHAR, sql VARCHAR, type VARCHAR);
    CREATE TABLE IF NOT EXISTS ducklake_macro_parameters (
        macro_id BIGINT, impl_id BIGINT, column_id BIGINT, parameter_name VARCHAR, parameter_type VARCHAR, default_value VARCHAR, default_value_type VARCHAR
    );
";

/// Others read the catalog and do not write it: the kernel knows the newest snapshot without asking. A snapshot of the library's has no `next_file_id`, and is given one
/// when it is there; another writer goes on from the one that it read.
const OTHERS_READ_ONLY: &str = "
    UPDATE ducklake_snapshot SET next_file_id = 1 WHERE next_file_id = 0;
    CREATE TRIGGER IF NOT EXISTS backplane_numbered AFTER INSERT ON ducklake_snapshot
    BEGIN
        UPDATE ducklake_snapshot SET next_file_id = 1 WHERE snapshot_id = NEW.snapshot_id;
    END;
    CREATE TRIGGER IF NOT EXISTS backplane_only_writer BEFORE INSERT ON ducklake_snapshot WHEN NEW.next_file_id <> 0
    BEGIN
        SELECT RAISE(ABORT, 'this catalog belongs to a kernel of Backplane, its only writer: attach it READ_ONLY');
    END;
    CREATE TRIGGER IF NOT EXISTS backplane_keeps_snapshots BEFORE DELETE ON ducklake_snapshot
    BEGIN
        SELECT RAISE(ABORT, 'this catalog belongs to a kernel of Backplane, which keeps its snapshots: attach it READ_ONLY');
    END;
";

/// A schema or table, NOUN, has an id for all catalogs.
const UUIDS: &str = "
    UPDATE ducklake_NOUN SET NOUN_uuid = NEW_UUID WHERE NOUN_uuid IS NULL;
    CREATE TRIGGER IF NOT EXISTS backplane_NOUN_uuid AFTER INSERT ON ducklake_NOUN WHEN NEW.NOUN_uuid IS NULL
    BEGIN
        UPDATE ducklake_NOUN SET NOUN_uuid = NEW_UUID WHERE NOUN_id = NEW.NOUN_id;
    END;
";
const NEW_UUID: &str = "lower(printf('%s-%s-4%s-a%s-%s', hex(randomblob(4)), hex(randomblob(2)), substr(hex(randomblob(2)), 2), substr(hex(randomblob(2)), 2), hex(randomblob(6))))";

/// Adds what the library that owns the catalog's tables, and has made them by now, leaves out: what else the specification has, so that DuckDB and others read the
/// catalog, a guard against other writers, and indexes.
///
/// # Errors
/// When the file cannot be written or is no catalog.
pub async fn complete_catalog_file(path: &Path) -> Result<(), CatalogFileError> {
    let failed = CatalogFileError::of(path);
    let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.map_err(&failed)?;
    complete(&mut connection).await.map_err(&failed)?;
    connection.close().await.map_err(&failed)
}

async fn complete(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    for (table, column, declared) in COLUMNS {
        let there: i64 =
            sqlx::query_scalar("SELECT count(*) FROM pragma_table_info($1) WHERE name = $2").bind(table).bind(column).fetch_one(&mut *transaction).await?;
        if there == 0 {
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("ALTER TABLE {table} ADD COLUMN {column} {declared}"))).execute(&mut *transaction).await?;
        }
    }
    for noun in ["schema", "table"] {
        let uuids = UUIDS.replace("NOUN", noun).replace("NEW_UUID", NEW_UUID);
        sqlx::raw_sql(sqlx::AssertSqlSafe(uuids)).execute(&mut *transaction).await?;
    }
    for statements in [EMPTY_TABLES, OTHERS_READ_ONLY, INDEXES] {
        sqlx::raw_sql(statements).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// When the newest snapshot was made, to the second; `None` in a catalog without any.
///
/// # Errors
/// When the file cannot be read or is no catalog.
pub async fn newest_snapshot_time(path: &Path) -> Result<Option<SystemTime>, CatalogFileError> {
    let failed = CatalogFileError::of(path);
    let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path)).await.map_err(&failed)?;
    let newest = "SELECT unixepoch(snapshot_time) FROM ducklake_snapshot ORDER BY snapshot_id DESC LIMIT 1";
    let seconds: Option<i64> = sqlx::query_scalar::<_, Option<i64>>(newest).fetch_optional(&mut connection).await.map_err(&failed)?.flatten();
    connection.close().await.map_err(&failed)?;
    Ok(seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?))))
}

/// Whether an error of a catalog's writer is one after which SQLite has ended the transaction by itself: a full disk, a failed read or write, no memory. What counts
/// transactions for a connection does not hear of it, and none can begin on that connection any more.
pub fn ends_transactions(error: &(dyn std::error::Error + 'static)) -> bool {
    // Of an extended code the last eight bits are the primary one: SQLITE_NOMEM, SQLITE_IOERR, SQLITE_FULL.
    let is_such = |code: &str| code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 7 | 10 | 13));
    let found = match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Database(refused)) => refused.code().is_some_and(|code| is_such(&code)),
        Some(sqlx::Error::InvalidSavePointStatement) => true,
        _ => false,
    };
    found || error.source().is_some_and(ends_transactions)
}

/// The catalog's file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the catalog {path} cannot be opened: check that the folder exists, that this user may write it and that no other program made the file; what is \
     damaged can be had from a backup ('backplane restore')"
)]
pub struct CatalogFileError {
    path: String,
    source: sqlx::Error,
}

impl CatalogFileError {
    pub(crate) fn of(path: &Path) -> impl Fn(sqlx::Error) -> CatalogFileError {
        let path = path.display().to_string();
        move |source| CatalogFileError { path: path.clone(), source }
    }
}

impl Fault for CatalogFileError {
    fn code(&self) -> Code {
        Code::Internal
    }
    fn reason(&self) -> Reason {
        Reason::StorageFailed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// As much of the library's tables as is completed, with rows of an earlier build.
    const AS_MADE: &str = "
        CREATE TABLE ducklake_snapshot (snapshot_id INTEGER PRIMARY KEY, schema_version INTEGER NOT NULL DEFAULT 0);
        CREATE TABLE ducklake_schema (schema_id INTEGER PRIMARY KEY, schema_name VARCHAR NOT NULL);
        CREATE TABLE ducklake_table (table_id INTEGER PRIMARY KEY, table_name VARCHAR NOT NULL);
        CREATE TABLE ducklake_data_file (data_file_id INTEGER PRIMARY KEY, table_id INTEGER NOT NULL, begin_snapshot INTEGER, end_snapshot INTEGER, partial_max INTEGER);
        CREATE TABLE ducklake_delete_file (delete_file_id INTEGER PRIMARY KEY, data_file_id INTEGER NOT NULL, table_id INTEGER NOT NULL, begin_snapshot INTEGER);
        CREATE TABLE ducklake_column (column_id BIGINT, table_id BIGINT);
        CREATE TABLE ducklake_file_column_stats (data_file_id INTEGER NOT NULL, table_id INTEGER NOT NULL);
        INSERT INTO ducklake_snapshot (snapshot_id) VALUES (0), (1);
        INSERT INTO ducklake_table (table_name) VALUES ('one'), ('other');
        INSERT INTO ducklake_data_file (table_id) VALUES (1);
    ";

    #[tokio::test]
    async fn a_catalog_of_an_earlier_build_is_completed_and_others_cannot_write_it() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(AS_MADE).execute(&mut connection).await.unwrap();
        complete(&mut connection).await.unwrap();
        complete(&mut connection).await.unwrap();
        // As the library goes on.
        sqlx::raw_sql("INSERT INTO ducklake_snapshot (snapshot_id) VALUES (2); INSERT INTO ducklake_table (table_name) VALUES ('third')")
            .execute(&mut connection)
            .await
            .unwrap();
        let numbered: i64 = sqlx::query_scalar("SELECT count(*) FROM ducklake_snapshot WHERE next_file_id = 1").fetch_one(&mut connection).await.unwrap();
        assert_eq!(numbered, 3);
        let uuids: Vec<String> = sqlx::query_scalar("SELECT DISTINCT table_uuid FROM ducklake_table").fetch_all(&mut connection).await.unwrap();
        assert_eq!(uuids.len(), 3);
        for uuid in uuids {
            let parts: Vec<usize> = uuid.split('-').map(str::len).collect();
            assert!(parts == [8, 4, 4, 4, 12] && uuid.chars().all(|character| character == '-' || character.is_ascii_hexdigit()), "{uuid}");
        }
        let format: String = sqlx::query_scalar("SELECT file_format FROM ducklake_data_file").fetch_one(&mut connection).await.unwrap();
        assert_eq!(format, "parquet");
        let of_another = "INSERT INTO ducklake_snapshot (snapshot_id, next_file_id) SELECT 3, max(next_file_id) FROM ducklake_snapshot";
        let refused = sqlx::raw_sql(of_another).execute(&mut connection).await.unwrap_err().to_string();
        assert!(refused.contains("attach it READ_ONLY"), "{refused}");
        let refused = sqlx::raw_sql("DELETE FROM ducklake_snapshot WHERE snapshot_id = 0").execute(&mut connection).await.unwrap_err().to_string();
        assert!(refused.contains("keeps its snapshots"), "{refused}");
    }
}
