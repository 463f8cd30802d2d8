use backplane_proto::plugin::v1::{
    Deployment, DisablePluginRequest, DisablePluginResponse, EnablePluginRequest, GetPluginVersionRequest, InstallPluginRequest, ListPluginsRequest,
    ListPluginsResponse, PluginVersion, RunJobRequest, RunJobResponse, plugins_server::Plugins,
};
use futures::{StreamExt, stream::BoxStream};
use kernel_base::context_of;
use tonic::{Request, Response, Status, Streaming};

use crate::{Host, HostError};

impl Host {
    /// `backplane.plugin.v1.Plugins`, for the bus.
    pub fn plugins_service(&self) -> impl Plugins {
        PluginsService { host: self.clone() }
    }
}

struct PluginsService {
    host: Host,
}

#[tonic::async_trait]
impl Plugins for PluginsService {
    type RunJobStream = BoxStream<'static, Result<RunJobResponse, Status>>;

    async fn install_plugin(&self, request: Request<Streaming<InstallPluginRequest>>) -> Result<Response<PluginVersion>, Status> {
        let context = context_of(&request)?;
        Ok(Response::new(self.host.install(&context, request.into_inner()).await?))
    }

    async fn get_plugin_version(&self, request: Request<GetPluginVersionRequest>) -> Result<Response<PluginVersion>, Status> {
        let context = context_of(&request)?;
        Ok(Response::new(self.host.get(&context, request.into_inner()).await?))
    }

    async fn list_plugins(&self, request: Request<ListPluginsRequest>) -> Result<Response<ListPluginsResponse>, Status> {
        let context = context_of(&request)?;
        Ok(Response::new(self.host.list(&context, request.into_inner()).await?))
    }

    async fn enable_plugin(&self, request: Request<EnablePluginRequest>) -> Result<Response<Deployment>, Status> {
        let context = context_of(&request)?;
        let host = self.host.clone();
        // A task of its own: a caller that hangs up between row and deployment would leave them apart.
        let enabled = tokio::spawn(async move { host.enable(&context, request.into_inner()).await });
        Ok(Response::new(enabled.await.map_err(HostError::from)??))
    }

    async fn disable_plugin(&self, request: Request<DisablePluginRequest>) -> Result<Response<DisablePluginResponse>, Status> {
        let context = context_of(&request)?;
        let host = self.host.clone();
        let disabled = tokio::spawn(async move { host.disable(&context, request.into_inner()).await });
        Ok(Response::new(disabled.await.map_err(HostError::from)??))
    }

    async fn run_job(&self, request: Request<RunJobRequest>) -> Result<Response<Self::RunJobStream>, Status> {
        let context = context_of(&request)?;
        Ok(Response::new(self.host.run_job(&context, request.into_inner())?.boxed()))
    }
}
