use sqlx::FromRow;

use crate::{RowStore, StorageError};

/// An installed version of a plugin, without its bytes.
#[derive(Debug, Clone, FromRow)]
pub struct PluginVersionRow {
    pub plugin_id: String,
    pub version: String,
    /// Lower-case hex of the SHA-256 of the package.
    pub digest: String,
    /// plugin.toml as it stands in the package.
    pub manifest: String,
    /// JSON Schema; empty without configuration.
    pub configuration_schema: String,
    pub installed_at: i64,
    pub installed_by: String,
}

/// A version enabled in a city, or one that was.
#[derive(Debug, Clone, FromRow)]
pub struct DeploymentRow {
    pub plugin_id: String,
    pub city: String,
    pub version: String,
    pub digest: String,
    /// Grows by one with each enabling; the store counts.
    pub revision: i64,
    /// A permission per line.
    pub granted: String,
    /// A JSON object.
    pub configuration: String,
    /// 1 while calls reach it.
    pub enabled: i64,
    pub enabled_at: i64,
    pub enabled_by: String,
}

impl RowStore {
    /// Adds a version with its bytes, both or neither. False, changing nothing, when the version number is taken.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn insert_plugin_version(&self, row: &PluginVersionRow, bytes: &[u8]) -> Result<bool, StorageError> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("insert into plugin_package (digest, bytes) values ($1, $2) on conflict (digest) do nothing")
            .bind(&row.digest)
            .bind(bytes)
            .execute(&mut *transaction)
            .await?;
        let inserted = sqlx::query(
            "insert into plugin_version (plugin_id, version, digest, manifest, configuration_schema, installed_at, installed_by) \
             values ($1, $2, $3, $4, $5, $6, $7) on conflict (plugin_id, version) do nothing",
        )
        .bind(&row.plugin_id)
        .bind(&row.version)
        .bind(&row.digest)
        .bind(&row.manifest)
        .bind(&row.configuration_schema)
        .bind(row.installed_at)
        .bind(&row.installed_by)
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// One version; the one installed last when `version` is empty.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plugin_version(&self, plugin_id: &str, version: &str) -> Result<Option<PluginVersionRow>, StorageError> {
        let row = sqlx::query_as(
            "select plugin_id, version, digest, manifest, configuration_schema, installed_at, installed_by from plugin_version \
             where plugin_id = $1 and ($2 = '' or version = $2) order by installed_at desc, version desc limit 1",
        );
        Ok(row.bind(plugin_id).bind(version).fetch_optional(&self.pool).await?)
    }

    /// Up to `rows_max` versions after `after` (plugin, installed_at, version), by plugin id and newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plugin_versions(&self, after: (&str, i64, &str), rows_max: i64) -> Result<Vec<PluginVersionRow>, StorageError> {
        let rows = sqlx::query_as(
            "select plugin_id, version, digest, manifest, configuration_schema, installed_at, installed_by from plugin_version \
             where plugin_id > $1 or (plugin_id = $1 and (installed_at < $2 or (installed_at = $2 and version < $3))) \
             order by plugin_id, installed_at desc, version desc limit $4",
        );
        Ok(rows.bind(after.0).bind(after.1).bind(after.2).bind(rows_max).fetch_all(&self.pool).await?)
    }

    /// The bytes of a package.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plugin_package(&self, digest: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let row: Option<(Vec<u8>,)> = sqlx::query_as("select bytes from plugin_package where digest = $1").bind(digest).fetch_optional(&self.pool).await?;
        Ok(row.map(|(bytes,)| bytes))
    }

    /// Enables a version in a city, replacing what runs there. Gives the deployment's revision; the one in `row` does not count.
    ///
    /// # Errors
    /// When the database fails, an unknown version among the causes.
    pub async fn upsert_deployment(&self, row: &DeploymentRow) -> Result<i64, StorageError> {
        let upserted = sqlx::query_as(
            "insert into plugin_deployment (plugin_id, city, version, digest, revision, granted, configuration, enabled, enabled_at, enabled_by) \
             values ($1, $2, $3, $4, 1, $5, $6, 1, $7, $8) on conflict (plugin_id, city) do update set version = excluded.version, digest = excluded.digest, \
             revision = plugin_deployment.revision + 1, granted = excluded.granted, configuration = excluded.configuration, enabled = 1, \
             enabled_at = excluded.enabled_at, enabled_by = excluded.enabled_by returning revision",
        )
        .bind(&row.plugin_id)
        .bind(&row.city)
        .bind(&row.version)
        .bind(&row.digest)
        .bind(&row.granted)
        .bind(&row.configuration)
        .bind(row.enabled_at)
        .bind(&row.enabled_by);
        let (revision,): (i64,) = upserted.fetch_one(&self.pool).await?;
        Ok(revision)
    }

    /// What was enabled last in a city, whether it still is or not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deployment(&self, plugin_id: &str, city: &str) -> Result<Option<DeploymentRow>, StorageError> {
        let row = sqlx::query_as(
            "select plugin_id, city, version, digest, revision, granted, configuration, enabled, enabled_at, enabled_by from plugin_deployment \
             where plugin_id = $1 and city = $2",
        );
        Ok(row.bind(plugin_id).bind(city).fetch_optional(&self.pool).await?)
    }

    /// Ends a deployment. False when nothing was enabled there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn disable_deployment(&self, plugin_id: &str, city: &str) -> Result<bool, StorageError> {
        let updated = sqlx::query("update plugin_deployment set enabled = 0 where plugin_id = $1 and city = $2 and enabled = 1")
            .bind(plugin_id)
            .bind(city)
            .execute(&self.pool)
            .await?;
        Ok(updated.rows_affected() == 1)
    }

    /// Every deployment that is enabled, by plugin and city.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enabled_deployments(&self) -> Result<Vec<DeploymentRow>, StorageError> {
        let rows = sqlx::query_as(
            "select plugin_id, city, version, digest, revision, granted, configuration, enabled, enabled_at, enabled_by from plugin_deployment \
             where enabled = 1 order by plugin_id, city",
        );
        Ok(rows.fetch_all(&self.pool).await?)
    }
}
