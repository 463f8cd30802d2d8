use sqlx::{Any, Executor, FromRow};

use crate::{RowStore, StorageError};

/// One revision of a contract.
#[derive(Debug, Clone, FromRow)]
pub struct ContractRow {
    /// `dataset` or `feed`.
    pub kind: String,
    pub name: String,
    /// From 1, without gaps.
    pub revision: i64,
    /// YAML as it was written.
    pub document: String,
    pub written_at: i64,
    pub written_by: String,
}

impl RowStore {
    /// The newest revision of every contract of a kind, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn contracts(&self, kind: &str) -> Result<Vec<ContractRow>, StorageError> {
        let rows = sqlx::query_as(
            "select kind, name, revision, document, written_at, written_by from contract newest \
             where kind = $1 and revision = (select max(revision) from contract where kind = newest.kind and name = newest.name) order by name",
        )
        .bind(kind)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows)
    }

    /// Adds a revision. False, changing nothing, when it is there already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_contract(&self, row: &ContractRow) -> Result<bool, StorageError> {
        Ok(insert(row, &self.pool).await? > 0)
    }

    /// Adds the first revisions of several contracts in one transaction; those that have one stay as they are.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn seed_contracts(&self, rows: &[ContractRow]) -> Result<(), StorageError> {
        let mut transaction = self.pool.begin().await?;
        for row in rows {
            insert(row, &mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

/// How many rows were added: none when the revision is there.
async fn insert<'e>(row: &ContractRow, executor: impl Executor<'e, Database = Any>) -> Result<u64, StorageError> {
    let inserted = sqlx::query(
        "insert into contract (kind, name, revision, document, written_at, written_by) values ($1, $2, $3, $4, $5, $6) \
         on conflict (kind, name, revision) do nothing",
    )
    .bind(row.kind.clone())
    .bind(row.name.clone())
    .bind(row.revision)
    .bind(row.document.clone())
    .bind(row.written_at)
    .bind(row.written_by.clone())
    .execute(executor)
    .await?;
    Ok(inserted.rows_affected())
}
