use std::{path::Path, time::Duration};

use kernel_base::{Code, Fault, Reason};
use sqlx::{AnyPool, Connection, Executor, SqliteConnection, any::AnyPoolOptions, sqlite::SqliteConnectOptions};

use crate::catalog_file::refuse_damaged;

// Limit: connections. SQLite has one writer anyway; readers beyond the cores only queue.
const CONNECTIONS_MAX: u32 = 4;

// Limit: how long a write waits for another process, such as a backup, before it fails.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The kernel's rows: principals, tokens, plugin versions, deployments. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RowStore {
    pub(crate) pool: AnyPool,
}

impl RowStore {
    /// Opens the database file, making it if there is none, and brings its schema up to date.
    ///
    /// # Errors
    /// When the file cannot be opened or a migration fails; the message names the file.
    pub async fn open(file: &Path) -> Result<RowStore, StorageError> {
        let opening = |source| StorageError::Open { file: file.display().to_string(), source };
        let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file).create_if_missing(true)).await.map_err(opening)?;
        refuse_damaged(&mut connection).await.map_err(opening)?;
        connection.close().await.map_err(opening)?;
        let store = RowStore::connect(&format!("sqlite:{}?mode=rwc", file.display()), CONNECTIONS_MAX).await.map_err(opening)?;
        store.migrate().await.map_err(|source| opening(source.into()))?;
        Ok(store)
    }

    /// A store that ends with the value, for tests.
    ///
    /// # Errors
    /// When a migration fails.
    pub async fn in_memory() -> Result<RowStore, StorageError> {
        // More than one connection would be more than one empty database.
        let store = RowStore::connect("sqlite::memory:", 1).await?;
        store.migrate().await.map_err(sqlx::Error::from)?;
        Ok(store)
    }

    async fn connect(url: &str, connections_max: u32) -> Result<RowStore, sqlx::Error> {
        sqlx::any::install_default_drivers();
        let pool = AnyPoolOptions::new()
            .max_connections(connections_max)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    // FULL: a row that was acknowledged survives power loss.
                    let pragmas = format!(
                        "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on; pragma busy_timeout = {}",
                        BUSY_TIMEOUT.as_millis()
                    );
                    connection.execute(sqlx::AssertSqlSafe(pragmas)).await.map(drop)
                })
            })
            .connect(url)
            .await?;
        Ok(RowStore { pool })
    }

    async fn migrate(&self) -> Result<(), sqlx::migrate::MigrateError> {
        sqlx::migrate!("./migrations").run(&self.pool).await
    }

    /// Waits for running statements and closes the database.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// The database failed. Rows that break a rule of the schema are reported by the functions themselves, not by this.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("cannot open the row store {file}: check that this user may write it; what is damaged can be had from a backup ('backplane restore')")]
    Open { file: String, source: sqlx::Error },
    #[error("the row store failed")]
    Sql(#[from] sqlx::Error),
}

impl Fault for StorageError {
    fn code(&self) -> Code {
        Code::Internal
    }
    fn reason(&self) -> Reason {
        Reason::StorageFailed
    }
}
