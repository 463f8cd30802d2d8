use sqlx::FromRow;

use crate::{RowStore, StorageError};

/// A token without its secret.
#[derive(Debug, Clone, FromRow)]
pub struct TokenRow {
    pub token_id: String,
    pub principal_id: String,
    pub secret_sha256: String,
    pub created_at: i64,
    pub expires_at: i64,
    pub revoked_at: Option<i64>,
}

impl RowStore {
    /// # Errors
    /// When the database fails, an unknown principal among the causes.
    pub async fn insert_token(&self, row: &TokenRow) -> Result<(), StorageError> {
        sqlx::query("insert into token (token_id, principal_id, secret_sha256, created_at, expires_at, revoked_at) values ($1, $2, $3, $4, $5, $6)")
            .bind(&row.token_id)
            .bind(&row.principal_id)
            .bind(&row.secret_sha256)
            .bind(row.created_at)
            .bind(row.expires_at)
            .bind(row.revoked_at)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The token with this hash.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token_by_secret(&self, secret_sha256: &str) -> Result<Option<TokenRow>, StorageError> {
        let row = sqlx::query_as("select token_id, principal_id, secret_sha256, created_at, expires_at, revoked_at from token where secret_sha256 = $1");
        Ok(row.bind(secret_sha256).fetch_optional(&self.pool).await?)
    }

    /// Up to `rows_max` tokens of a principal after `after`, by id; ids grow with time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tokens(&self, principal_id: &str, after: &str, rows_max: i64) -> Result<Vec<TokenRow>, StorageError> {
        let rows = sqlx::query_as(
            "select token_id, principal_id, secret_sha256, created_at, expires_at, revoked_at from token \
             where principal_id = $1 and token_id > $2 order by token_id limit $3",
        );
        Ok(rows.bind(principal_id).bind(after).bind(rows_max).fetch_all(&self.pool).await?)
    }

    /// Ends all tokens of a principal that have not ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_tokens_of(&self, principal_id: &str, at: i64) -> Result<(), StorageError> {
        let update = sqlx::query("update token set revoked_at = $2 where principal_id = $1 and revoked_at is null");
        update.bind(principal_id).bind(at).execute(&self.pool).await?;
        Ok(())
    }

    /// Ends a token; the first time counts. Gives the token as it then is, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn revoke_token(&self, token_id: &str, at: i64) -> Result<Option<TokenRow>, StorageError> {
        let row = sqlx::query_as(
            "update token set revoked_at = coalesce(revoked_at, $2) where token_id = $1 \
             returning token_id, principal_id, secret_sha256, created_at, expires_at, revoked_at",
        );
        Ok(row.bind(token_id).bind(at).fetch_optional(&self.pool).await?)
    }

    /// Whether any principal has a token: a first start has none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_tokens(&self) -> Result<bool, StorageError> {
        let (count,): (i64,) = sqlx::query_as("select count(*) from token").fetch_one(&self.pool).await?;
        Ok(count > 0)
    }
}
