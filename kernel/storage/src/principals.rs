use sqlx::FromRow;

use crate::{RowStore, StorageError};

/// A person or a service account.
#[derive(Debug, Clone, FromRow)]
pub struct PrincipalRow {
    pub principal_id: String,
    /// person or service.
    pub kind: String,
    pub display_name: String,
    /// 0 or 1: the Any driver has no boolean that both databases share.
    pub disabled: i64,
    pub created_at: i64,
}

impl RowStore {
    /// Adds a principal. False when the id is taken.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_principal(&self, row: &PrincipalRow) -> Result<bool, StorageError> {
        let inserted = sqlx::query(
            "insert into principal (principal_id, kind, display_name, disabled, created_at) values ($1, $2, $3, $4, $5) on conflict (principal_id) do nothing",
        )
        .bind(&row.principal_id)
        .bind(&row.kind)
        .bind(&row.display_name)
        .bind(row.disabled)
        .bind(row.created_at)
        .execute(&self.pool)
        .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// # Errors
    /// When the database fails.
    pub async fn principal(&self, principal_id: &str) -> Result<Option<PrincipalRow>, StorageError> {
        let row = sqlx::query_as("select principal_id, kind, display_name, disabled, created_at from principal where principal_id = $1");
        Ok(row.bind(principal_id).fetch_optional(&self.pool).await?)
    }

    /// Up to `rows_max` principals after `after`, by id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn principals(&self, after: &str, rows_max: i64) -> Result<Vec<PrincipalRow>, StorageError> {
        let rows = sqlx::query_as(
            "select principal_id, kind, display_name, disabled, created_at from principal where principal_id > $1 order by principal_id limit $2",
        );
        Ok(rows.bind(after).bind(rows_max).fetch_all(&self.pool).await?)
    }

    /// False when there is no such principal.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enable_principal(&self, principal_id: &str) -> Result<bool, StorageError> {
        let updated = sqlx::query("update principal set disabled = 0 where principal_id = $1").bind(principal_id).execute(&self.pool).await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn disable_principal(&self, principal_id: &str) -> Result<bool, StorageError> {
        let updated = sqlx::query("update principal set disabled = 1 where principal_id = $1").bind(principal_id).execute(&self.pool).await?;
        Ok(updated.rows_affected() == 1)
    }
}
