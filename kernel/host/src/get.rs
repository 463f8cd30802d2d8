use backplane_proto::plugin::v1::{GetPluginVersionRequest, PluginVersion};
use kernel_base::{CallContext, PluginId};
use kernel_storage::PluginVersionRow;

use crate::{Host, HostError, present};

impl Host {
    /// One version with its deployments in the caller's cities.
    pub(crate) async fn get(&self, context: &CallContext, request: GetPluginVersionRequest) -> Result<PluginVersion, HostError> {
        let plugin: PluginId = request.plugin_id.parse()?;
        let row = self.version_row(plugin.as_str(), &request.version).await?;
        let deployments = self.inner.rows.enabled_deployments().await?;
        present::version(&row, present::deployments_of(&row, &deployments, context))
    }

    /// The row of a version; of the one installed last when `version` is empty.
    pub(crate) async fn version_row(&self, plugin: &str, version: &str) -> Result<PluginVersionRow, HostError> {
        let row = self.inner.rows.plugin_version(plugin, version).await?;
        row.ok_or_else(|| HostError::VersionUnknown { plugin: plugin.to_owned(), version: version.chars().take(80).collect() })
    }
}
