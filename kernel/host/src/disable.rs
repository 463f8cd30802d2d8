use backplane_proto::plugin::v1::{DisablePluginRequest, DisablePluginResponse};
use kernel_base::{CallContext, City, PluginId};
use tracing::info;

use crate::{Host, HostError};

impl Host {
    /// Ends a deployment. Calls that run finish on it.
    pub(crate) async fn disable(&self, context: &CallContext, request: DisablePluginRequest) -> Result<DisablePluginResponse, HostError> {
        let plugin: PluginId = request.plugin_id.parse()?;
        let city: City = request.city.parse()?;
        context.require("plugin.enable", None, city)?;

        let _one_at_a_time = self.inner.administration.lock().await;
        let disabled = self.inner.rows.disable_deployment(plugin.as_str(), &city.to_string()).await?;
        // First the table that admits calls: what it admitted before may still come.
        self.inner.access.withdraw(&plugin, city);
        self.inner.deployments.withdraw(&plugin, city);
        if disabled {
            info!(%plugin, %city, by = context.caller_id(), "a plugin was disabled");
        }
        Ok(DisablePluginResponse { disabled })
    }
}
