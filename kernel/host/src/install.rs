use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use backplane_proto::{
    plugin::v1::{InstallPluginRequest, PluginVersion},
    warehouse::v1::{DatasetContract, GetDatasetContractRequest, PutDatasetRequest, warehouse_client::WarehouseClient},
};
use bytes::Bytes;
use kernel_base::{CallContext, Caller, City, TraceId};
use kernel_storage::PluginVersionRow;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Status};
use tracing::info;

use crate::{
    Host, HostError, Manifest,
    deployment::{Deployment, Terms},
    package::{self, PACKAGE_BYTES_MAX, Package},
    present,
    verify::check_compatible,
    version::CompiledVersion,
};

/// Never a method of a plugin: its package is the kernel's.
const SMOKE_METHOD: &str = "/backplane.guest/Smoke";

// Limit: the smoke call as a whole; the guest's own time is bounded by its manifest.
const SMOKE_TIMEOUT: Duration = Duration::from_secs(60);

impl Host {
    /// Takes the pieces of a package, verifies it, lets it answer one call, and stores it.
    pub(crate) async fn install(
        &self,
        context: &CallContext,
        chunks: impl Stream<Item = Result<InstallPluginRequest, Status>> + Unpin,
    ) -> Result<PluginVersion, Status> {
        let wasm = collect(chunks).await?;
        self.install_package(context, wasm).await
    }

    async fn install_package(&self, context: &CallContext, wasm: Bytes) -> Result<PluginVersion, Status> {
        let package = package::read(&wasm)?;
        let manifest = Manifest::parse(&package.manifest)?;
        if let Some(same) = self.installed_before(&manifest, &package.digest).await? {
            return Ok(same);
        }
        let _one_at_a_time = self.inner.installing.acquire().await.map_err(|_| HostError::ShuttingDown)?;
        let version = self.inner.versions.compile(wasm.clone()).await?;
        self.check_beside_enabled(&version, None)?;
        self.smoke(version).await?;
        self.put_contracts(context, &package.datasets).await?;

        let row = version_row(&manifest, package, self.inner.clock.now_micros(), context.caller_id());
        if !self.inner.rows.insert_plugin_version(&row, &wasm).await.map_err(HostError::from)? {
            // Somebody else was quicker with this version number.
            let same = self.installed_before(&manifest, &row.digest).await?;
            return same.ok_or_else(|| HostError::Engine { problem: "a version was neither inserted nor there".to_owned() }.into());
        }
        info!(plugin = row.plugin_id, version = row.version, digest = row.digest, by = row.installed_by, "a plugin was installed");
        Ok(present::version(&row, Vec::new())?)
    }

    /// Puts the contracts of its datasets in force, with the rights of whoever installs. A contract that is in force as it is stays.
    async fn put_contracts(&self, context: &CallContext, datasets: &BTreeMap<String, String>) -> Result<(), Status> {
        let mut warehouse = WarehouseClient::new(self.inner.bus.acting(context.clone()));
        for (name, document) in datasets {
            let in_force = match warehouse.get_dataset_contract(GetDatasetContractRequest { name: name.clone() }).await {
                Ok(contract) => contract.into_inner(),
                Err(status) if status.code() == Code::NotFound => DatasetContract::default(),
                Err(status) => return Err(status),
            };
            if in_force.document != *document {
                warehouse.put_dataset(PutDatasetRequest { document: document.clone(), after_revision: in_force.revision }).await?;
            }
        }
        Ok(())
    }

    /// The version as it was installed, when its number is taken by the same bytes.
    async fn installed_before(&self, manifest: &Manifest, digest: &str) -> Result<Option<PluginVersion>, HostError> {
        let (plugin, version) = (manifest.id.to_string(), manifest.version.to_string());
        match self.inner.rows.plugin_version(&plugin, &version).await? {
            Some(row) if row.digest == digest => Ok(Some(present::version(&row, Vec::new())?)),
            Some(row) => Err(HostError::VersionExists { plugin, version, digest: row.digest }),
            None => Ok(None),
        }
    }

    /// Versions that are enabled at the same time must speak one protocol; the one that is replaced in a city need not.
    pub(crate) fn check_beside_enabled(&self, next: &CompiledVersion, replaced_in: Option<City>) -> Result<(), HostError> {
        let Some(next_pool) = next.methods.first().map(|access| access.method.parent_pool().clone()) else {
            return Ok(());
        };
        for running in self.inner.deployments.all().into_iter().filter(|running| Some(running.actor.city) != replaced_in) {
            if let Some(access) = running.version.methods.first().filter(|_| running.version.manifest.id == next.manifest.id) {
                check_compatible(access.method.parent_pool(), &running.actor.version, &next_pool)?;
            }
        }
        Ok(())
    }

    /// Runs the code for the first time: without rights, without methods to call, within the limits that it asks for itself. What matters is that it starts
    /// and gives control back; an error of its own is the expected answer to a method that it cannot know.
    async fn smoke(&self, version: Arc<CompiledVersion>) -> Result<(), HostError> {
        let terms = Terms { city: City::PROVINCE, revision: 0, granted: Vec::new(), configuration: "{}".to_owned() };
        let deployment = Arc::new(Deployment::new(version, terms, &self.inner.admission, &self.inner.idle_slots));
        let context = CallContext {
            caller: Caller::Anonymous,
            actor: None,
            rights: Arc::default(),
            city: Some(City::PROVINCE),
            deadline: Instant::now() + SMOKE_TIMEOUT,
            trace: TraceId::random(),
            chain: Vec::new(),
        };
        match self.call_deployment(&deployment, context, City::PROVINCE, SMOKE_METHOD, &[]).await {
            Ok(_) => Ok(()),
            Err(HostError::Guest(fault)) => Err(HostError::SmokeFailed { problem: fault.to_string() }),
            Err(other) => Err(other),
        }
    }
}

async fn collect(mut chunks: impl Stream<Item = Result<InstallPluginRequest, Status>> + Unpin) -> Result<Bytes, Status> {
    let mut wasm = Vec::new();
    while let Some(piece) = chunks.next().await {
        let chunk = piece?.chunk;
        if wasm.len() + chunk.len() > PACKAGE_BYTES_MAX {
            return Err(HostError::PackageTooLarge { bytes_max: PACKAGE_BYTES_MAX }.into());
        }
        wasm.extend_from_slice(&chunk);
    }
    Ok(wasm.into())
}

fn version_row(manifest: &Manifest, package: Package, installed_at: i64, installed_by: &str) -> PluginVersionRow {
    PluginVersionRow {
        plugin_id: manifest.id.to_string(),
        version: manifest.version.to_string(),
        digest: package.digest,
        manifest: package.manifest,
        configuration_schema: package.configuration_schema.unwrap_or_default(),
        installed_at,
        installed_by: installed_by.to_owned(),
    }
}
