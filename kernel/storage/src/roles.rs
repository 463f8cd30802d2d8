use sqlx::FromRow;

use crate::{RowStore, StorageError};

/// A named set of permissions.
#[derive(Debug, Clone, FromRow)]
pub struct RoleRow {
    pub role_id: String,
    pub display_name: String,
    /// A permission per line.
    pub permissions: String,
}

/// A role that a principal holds.
#[derive(Debug, Clone, FromRow)]
pub struct RoleGrantRow {
    pub role_id: String,
    /// City codes with commas.
    pub cities: String,
    /// Those of the role, a permission per line.
    pub permissions: String,
}

impl RowStore {
    /// Adds a role. False when the id is taken.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_role(&self, row: &RoleRow) -> Result<bool, StorageError> {
        let inserted = sqlx::query("insert into role (role_id, display_name, permissions) values ($1, $2, $3) on conflict (role_id) do nothing")
            .bind(&row.role_id)
            .bind(&row.display_name)
            .bind(&row.permissions)
            .execute(&self.pool)
            .await?;
        Ok(inserted.rows_affected() == 1)
    }

    /// # Errors
    /// When the database fails.
    pub async fn role(&self, role_id: &str) -> Result<Option<RoleRow>, StorageError> {
        let row = sqlx::query_as("select role_id, display_name, permissions from role where role_id = $1");
        Ok(row.bind(role_id).fetch_optional(&self.pool).await?)
    }

    /// Up to `rows_max` roles after `after`, by id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn roles(&self, after: &str, rows_max: i64) -> Result<Vec<RoleRow>, StorageError> {
        let rows = sqlx::query_as("select role_id, display_name, permissions from role where role_id > $1 order by role_id limit $2");
        Ok(rows.bind(after).bind(rows_max).fetch_all(&self.pool).await?)
    }

    /// Gives the role, or changes the cities of an earlier grant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn upsert_role_grant(&self, principal_id: &str, role_id: &str, cities: &str) -> Result<(), StorageError> {
        sqlx::query(
            "insert into role_grant (principal_id, role_id, cities) values ($1, $2, $3) on conflict (principal_id, role_id) do update set cities = excluded.cities",
        )
        .bind(principal_id)
        .bind(role_id)
        .bind(cities)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// # Errors
    /// When the database fails.
    pub async fn delete_role_grant(&self, principal_id: &str, role_id: &str) -> Result<(), StorageError> {
        sqlx::query("delete from role_grant where principal_id = $1 and role_id = $2").bind(principal_id).bind(role_id).execute(&self.pool).await?;
        Ok(())
    }

    /// The roles of a principal with their permissions, by role id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn role_grants(&self, principal_id: &str) -> Result<Vec<RoleGrantRow>, StorageError> {
        let rows = sqlx::query_as(
            "select role_grant.role_id, role_grant.cities, role.permissions from role_grant join role on role.role_id = role_grant.role_id \
             where role_grant.principal_id = $1 order by role_grant.role_id",
        );
        Ok(rows.bind(principal_id).fetch_all(&self.pool).await?)
    }
}
