use backplane_proto::{
    plugin::v1::{ListPluginsRequest, PluginVersion, plugins_client::PluginsClient},
    warehouse::v1::{PutDatasetRequest, PutDatasetResponse},
};
use kernel_base::{ActingBus, BusClient, CallContext};
use tonic::Status;

use crate::{contracts::Draft, error::WarehouseError, warehouse::Inner};

/// Puts a dataset's contract in force.
///
/// # Errors
/// CONTRACT_INVALID, REVISION_CONFLICT, and CONTRACT_BREAKS with the feeds and plugins that rely on the dataset.
pub(crate) async fn put(inner: &Inner, bus: &BusClient, context: CallContext, request: PutDatasetRequest) -> Result<PutDatasetResponse, WarehouseError> {
    let draft = Draft { document: &request.document, after_revision: request.after_revision, principal: context.caller_id() };
    match inner.contracts.put_dataset(&inner.lake, draft).await {
        Ok((name, revision)) => Ok(PutDatasetResponse { name, revision }),
        Err(WarehouseError::ContractBreaks { dataset, problem }) => {
            let (feeds, plugins) = (feeds_of(inner, &dataset), plugins_of(bus.acting(context), &dataset).await);
            Err(WarehouseError::ContractBreaks { problem: format!("{problem}; feeds that write it: {feeds}; plugins that read it: {plugins}"), dataset })
        }
        Err(error) => Err(error),
    }
}

fn feeds_of(inner: &Inner, dataset: &str) -> String {
    named(inner.contracts.feeds().iter().filter(|feed| feed.dataset.name == dataset).map(|feed| feed.name.clone()).collect())
}

/// The plugins that asked to read the dataset and are enabled somewhere, or why they cannot be told.
async fn plugins_of(bus: ActingBus, dataset: &str) -> String {
    match enabled(bus).await {
        Ok(versions) => {
            named(versions.iter().filter(|version| reads(version, dataset)).map(|version| format!("{} {}", version.plugin_id, version.version)).collect())
        }
        Err(status) => format!("could not be asked ({})", status.message()),
    }
}

async fn enabled(bus: ActingBus) -> Result<Vec<PluginVersion>, Status> {
    let (mut plugins, mut enabled, mut page_token) = (PluginsClient::new(bus), Vec::new(), String::new());
    loop {
        let page = plugins.list_plugins(ListPluginsRequest { page_size: 0, page_token }).await?.into_inner();
        enabled.extend(page.versions.into_iter().filter(|version| !version.deployments.is_empty()));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(enabled);
        }
    }
}

/// A capability says `dataset.read:name`, or `dataset.read:name(column,column)`.
fn reads(version: &PluginVersion, dataset: &str) -> bool {
    let read = version.capabilities.iter().filter_map(|capability| capability.strip_prefix("dataset.read:"));
    read.map(|read| read.split_once('(').map_or(read, |(name, _)| name)).any(|name| name == dataset)
}

fn named(names: Vec<String>) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
