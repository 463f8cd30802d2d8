use std::{collections::BTreeSet, sync::Arc};

use backplane_proto::plugin::v1::{Deployment, EnablePluginRequest};
use kernel_base::{CallContext, City, Permission, PluginId, Rights, Scope};
use kernel_storage::DeploymentRow;
use tracing::info;

use crate::{Host, HostError, Manifest, effective_rights::DeploymentRights, present};

impl Host {
    /// Makes a version answer calls in a city, in place of the one that does.
    pub(crate) async fn enable(&self, context: &CallContext, request: EnablePluginRequest) -> Result<Deployment, HostError> {
        let plugin: PluginId = request.plugin_id.parse()?;
        let city: City = request.city.parse()?;
        context.require("plugin.enable", None, city)?;
        let version = self.version_row(plugin.as_str(), &request.version).await?;
        let manifest = Manifest::parse(&version.manifest)?;
        let granted = check_granted(&manifest, &request.granted)?;
        if !manifest.jobs.is_empty() {
            self.check_grantor(context, &granted, city)?;
        }
        let compiled = self.inner.versions.installed(&version.digest).await?;
        let configuration = compiled.configuration.check(&request.configuration_json)?;

        let _one_at_a_time = self.inner.administration.lock().await;
        self.check_beside_enabled(&compiled, Some(city))?;
        let mut row = DeploymentRow {
            plugin_id: version.plugin_id,
            city: city.to_string(),
            version: version.version,
            digest: version.digest,
            revision: 0,
            granted: granted.join("\n"),
            configuration,
            enabled: 1,
            enabled_at: self.inner.clock.now_micros(),
            enabled_by: context.caller_id().to_owned(),
        };
        row.revision = self.inner.rows.upsert_deployment(&row).await?;
        self.activate(self.deployment_of(&row).await?);
        info!(plugin = row.plugin_id, version = row.version, city = row.city, revision = row.revision, by = row.enabled_by, "a plugin was enabled");
        Ok(present::deployment(&row))
    }
}

impl Host {
    /// A job acts for nobody, so nobody's rights bound it but those of whoever grants.
    fn check_grantor(&self, context: &CallContext, granted: &[String], city: City) -> Result<(), HostError> {
        let rights = DeploymentRights::new(granted.to_vec(), city);
        let all = rights.intersection(&Arc::new(Rights::new([(Permission::everything(), Scope::city(city))])), &self.inner.access, city);
        let held = rights.intersection(&context.rights, &self.inner.access, city);
        if held.rights == all.rights {
            return Ok(());
        }
        Err(HostError::GrantorLacks { caller: context.caller_id().to_owned(), city: city.to_string() })
    }
}

/// Exactly what is asked must be granted, so that whoever enables has seen the list. Texts are compared as permissions: the order of columns does not matter.
fn check_granted(manifest: &Manifest, granted: &[String]) -> Result<Vec<String>, HostError> {
    let canonical = |text: &String| text.parse::<Permission>().map_or_else(|_| text.clone(), |permission| permission.to_string());
    let asked: BTreeSet<String> = manifest.capabilities().into_iter().collect();
    let granted: BTreeSet<String> = granted.iter().map(canonical).collect();
    if let Some(unasked) = granted.difference(&asked).next() {
        return Err(HostError::CapabilityUnasked { capability: unasked.chars().take(200).collect() });
    }
    let missing: Vec<String> = asked.difference(&granted).cloned().collect();
    if missing.is_empty() { Ok(asked.into_iter().collect()) } else { Err(HostError::CapabilitiesMissing { missing }) }
}
