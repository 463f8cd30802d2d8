use std::{collections::BTreeSet, sync::Arc};

use backplane_proto::{
    plugin::v1::{Deployment, EnablePluginRequest},
    warehouse::v1::{GetDatasetContractRequest, warehouse_client::WarehouseClient},
};
use kernel_base::{CallContext, Caller, City, Permission, PluginId, Principal, PrincipalId, PrincipalKind, Rights, Scope};
use kernel_storage::DeploymentRow;
use tonic::{Code, Status};
use tracing::info;

use crate::{Host, HostError, Manifest, effective_rights::DeploymentRights, present, verify};

/// How the warehouse is asked what a dataset has: it counts no rows for the answer.
const GET_CONTRACT: &str = "/backplane.warehouse.v1.Warehouse/GetDatasetContract";

impl Host {
    /// Makes a version answer calls in a city, in place of the one that does.
    pub(crate) async fn enable(&self, context: &CallContext, request: EnablePluginRequest) -> Result<Deployment, Status> {
        let plugin: PluginId = request.plugin_id.parse().map_err(HostError::PluginId)?;
        let city: City = request.city.parse().map_err(HostError::City)?;
        context.require("plugin.enable", None, city).map_err(HostError::Permission)?;
        let version = self.version_row(plugin.as_str(), &request.version).await?;
        let manifest = Manifest::parse(&version.manifest)?;
        let granted = check_granted(&manifest, &request.granted)?;
        if !manifest.jobs.is_empty() {
            self.check_grantor(context, &granted, city)?;
        }
        self.check_reads(context, &manifest, &version.manifest, city).await?;
        let compiled = self.inner.versions.installed(&version.digest).await?;

        let _one_at_a_time = self.inner.administration.lock().await;
        let configuration = if request.configuration_json.is_empty() {
            // A new version must not undo what a city has set.
            let last = self.inner.rows.deployment(plugin.as_str(), &city.to_string()).await.map_err(HostError::Storage)?;
            compiled.configuration.check(&last.map(|deployment| deployment.configuration).unwrap_or_default()).map_err(HostError::of_kept_configuration)?
        } else {
            compiled.configuration.check(&request.configuration_json)?
        };
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
        row.revision = self.inner.rows.upsert_deployment(&row).await.map_err(HostError::Storage)?;
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

    /// What is not there cannot be granted; without this the plugin's first query would be the one to find out. Not asked when a version is installed, which may come
    /// before the plugin or the contract that brings a dataset, and not again later: datasets and their columns stay.
    ///
    /// The host asks for itself, with the one right that it takes: whoever enables need not be able to read what the plugin reads, and learns of no name
    /// but those of the manifest.
    async fn check_reads(&self, context: &CallContext, manifest: &Manifest, manifest_toml: &str, city: City) -> Result<(), Status> {
        let right = |name: &String| (Permission::named(name), Scope::city(City::PROVINCE));
        let asking = CallContext {
            caller: Caller::Known(Principal { id: PrincipalId::of_deployment(&manifest.id, city), kind: PrincipalKind::Plugin }),
            actor: None,
            rights: Arc::new(Rights::new(self.inner.access.permissions_of(GET_CONTRACT).iter().map(right))),
            city: None,
            deadline: context.deadline,
            trace: context.trace,
            chain: Vec::new(),
        };
        let mut warehouse = WarehouseClient::new(self.inner.bus.acting(asking));
        for read in &manifest.reads {
            match warehouse.get_dataset_contract(GetDatasetContractRequest { name: read.dataset.clone() }).await {
                Ok(contract) => verify::check_columns(manifest_toml, read, &contract.into_inner().document)?,
                Err(status) if status.code() == Code::NotFound => return Err(verify::dataset_missing(manifest_toml, read).into()),
                Err(status) => return Err(status),
            }
        }
        Ok(())
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
