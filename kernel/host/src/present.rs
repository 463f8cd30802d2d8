//! From rows to the messages of `backplane.plugin.v1`.

use backplane_proto::plugin::v1::{Deployment, Job, PluginVersion};
use kernel_base::{CallContext, City};
use kernel_storage::{DeploymentRow, PluginVersionRow};
use prost_types::Timestamp;

use crate::{HostError, Manifest};

pub(crate) fn version(row: &PluginVersionRow, deployments: Vec<Deployment>) -> Result<PluginVersion, HostError> {
    let manifest = Manifest::parse(&row.manifest)?;
    Ok(PluginVersion {
        plugin_id: row.plugin_id.clone(),
        version: row.version.clone(),
        digest: row.digest.clone(),
        capabilities: manifest.capabilities(),
        title_zh: manifest.title.zh,
        title_en: manifest.title.en,
        services: manifest.services,
        datasets: manifest.writes.into_iter().map(|write| write.dataset).collect(),
        jobs: manifest.jobs.into_iter().map(|job| Job { name: job.name, title_zh: job.title.zh, title_en: job.title.en }).collect(),
        configuration_schema: row.configuration_schema.clone(),
        installed_at: Some(timestamp(row.installed_at)),
        deployments,
    })
}

pub(crate) fn deployment(row: &DeploymentRow) -> Deployment {
    Deployment {
        plugin_id: row.plugin_id.clone(),
        version: row.version.clone(),
        digest: row.digest.clone(),
        city: row.city.clone(),
        revision: row.revision,
        granted: row.granted.lines().map(str::to_owned).collect(),
        configuration_json: row.configuration.clone(),
        enabled_at: Some(timestamp(row.enabled_at)),
        enabled_by: row.enabled_by.clone(),
    }
}

/// The deployments of a version that the caller may see: in its cities, and the province's, which serves them.
pub(crate) fn deployments_of(version: &PluginVersionRow, deployments: &[DeploymentRow], context: &CallContext) -> Vec<Deployment> {
    let scope = context.rights.scope_of("plugin.read", None);
    let visible = |row: &&DeploymentRow| row.city.parse().is_ok_and(|city: City| city == City::PROVINCE || scope.contains(city));
    let of_version = |row: &&DeploymentRow| row.plugin_id == version.plugin_id && row.version == version.version;
    deployments.iter().filter(of_version).filter(visible).map(deployment).collect()
}

fn timestamp(micros: i64) -> Timestamp {
    let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0);
    Timestamp { seconds: micros.div_euclid(1_000_000), nanos }
}
