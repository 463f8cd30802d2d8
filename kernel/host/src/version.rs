use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::Bytes;
use kernel_auth::MethodAccess;
use kernel_storage::RowStore;

use crate::{
    HostError, Manifest, artifact::Artifacts, bindings::PluginPre, configuration::ConfigurationSchema, engine::WasmEngine, guest_state::GuestState, package,
    verify,
};

/// An installed version, ready to run. Shared by its deployments.
pub(crate) struct CompiledVersion {
    pub(crate) manifest: Manifest,
    /// Of the services that the manifest names.
    pub(crate) methods: Vec<MethodAccess>,
    pub(crate) configuration: ConfigurationSchema,
    /// Linked against everything that it imports.
    pub(crate) code: PluginPre<GuestState>,
}

/// Versions that are in use, by digest: cities that run the same version share its code.
pub(crate) struct Versions {
    engine: WasmEngine,
    artifacts: Arc<Artifacts>,
    rows: RowStore,
    loaded: Mutex<HashMap<String, Weak<CompiledVersion>>>,
}

impl Versions {
    pub(crate) fn new(engine: WasmEngine, artifacts: Artifacts, rows: RowStore) -> Versions {
        Versions { engine, artifacts: Arc::new(artifacts), rows, loaded: Mutex::default() }
    }

    /// The version with this digest, loaded from the row store and the artifact cache unless it is in use.
    ///
    /// # Errors
    /// When its bytes are gone, or do not pass the checks of this kernel.
    pub(crate) async fn installed(&self, digest: &str) -> Result<Arc<CompiledVersion>, HostError> {
        let in_use = self.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(digest).and_then(Weak::upgrade);
        if let Some(version) = in_use {
            return Ok(version);
        }
        let wasm = self.rows.plugin_package(digest).await?;
        let wasm = wasm.ok_or_else(|| HostError::Engine { problem: format!("the row store lacks the package {digest}") })?;
        self.compile(wasm.into()).await
    }

    /// Checks a package and compiles it, off the runtime's threads.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) async fn compile(&self, wasm: Bytes) -> Result<Arc<CompiledVersion>, HostError> {
        let (engine, artifacts) = (self.engine.clone(), Arc::clone(&self.artifacts));
        let (digest, version) = tokio::task::spawn_blocking(move || compile(&engine, &artifacts, &wasm)).await??;
        let version = Arc::new(version);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|_, version| version.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(&version));
        Ok(version)
    }
}

fn compile(engine: &WasmEngine, artifacts: &Artifacts, wasm: &[u8]) -> Result<(String, CompiledVersion), HostError> {
    let package = package::read(wasm)?;
    let manifest = Manifest::parse(&package.manifest)?;
    verify::check_world(wasm)?;
    let methods = verify::check_descriptors(&package.descriptors, &manifest)?;
    let configuration = ConfigurationSchema::read(package.configuration_schema.as_deref())?;
    let component = artifacts.load(&engine.engine, &package.digest, wasm)?;
    // Names were checked before; what is left to disagree are types.
    let unsupported = |error: wasmtime::Error| HostError::WorldUnsupported { problem: format!("{error:#}").replace('\n', " ") };
    let code = PluginPre::new(engine.linker.instantiate_pre(&component).map_err(unsupported)?).map_err(unsupported)?;
    Ok((package.digest, CompiledVersion { manifest, methods, configuration, code }))
}
