//! The wiring: every service, every layer and every background task of the kernel stands on this page.

use std::{
    fs::{self, File, TryLockError},
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use arrow_flight::flight_service_server::FlightServiceServer;
use backplane_proto::{
    auth::v1::auth_server::AuthServer, ingest::v1::ingest_server::IngestServer, plugin::v1::plugins_server::PluginsServer,
    warehouse::v1::warehouse_server::WarehouseServer,
};
use kernel_auth::{AccessTable, Auth};
use kernel_base::{BusClient, Clock, limits::MESSAGE_BYTES_MAX};
use kernel_bus::{Corridor, DoorLimits, Doors, Reflection};
use kernel_host::{Host, HostLimits, HostSettings};
use kernel_storage::RowStore;
use kernel_warehouse::{DropFolder, Warehouse, WarehouseSettings};
use prost_reflect::DescriptorPool;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::service::Routes;
use tonic_health::server::HealthReporter;
use tonic_reflection::pb::{v1, v1alpha};

/// What a kernel keeps in its folder and cannot make again: the row store, the catalog of the tables and their files, the key of the visitors' names, and the audit
/// log. Plugins that were compiled and files that are on their way in are not among them.
pub(crate) const ROWS: &str = "rows.db";
pub(crate) const CATALOG: &str = "warehouse/catalog.db";
pub(crate) const DATA: &str = "warehouse/data";
pub(crate) const VISITOR_KEY: &str = "warehouse/visitor.key";
pub(crate) const AUDIT_LOG: &str = "audit.log";

/// What a kernel is told at its start; everything else has a default beside the limit that it sets.
pub(crate) struct KernelSettings {
    /// Where it keeps everything.
    pub(crate) dir: PathBuf,
    /// Lines of a feed file that are committed together.
    pub(crate) import_chunk_lines: Option<usize>,
    /// Megabytes of memory that one query may have.
    pub(crate) query_memory_mb: Option<u32>,
    /// Folder in which platforms leave their files.
    pub(crate) drop_folder: Option<DropFolder>,
}

impl KernelSettings {
    pub(crate) fn in_dir(dir: impl Into<PathBuf>) -> KernelSettings {
        KernelSettings { dir: dir.into(), import_chunk_lines: None, query_memory_mb: None, drop_folder: None }
    }
}

/// A kernel that is open and not yet on the network.
pub(crate) struct Kernel {
    doors: Doors,
    auth: Auth,
    host: Host,
    warehouse: Warehouse,
    rows: RowStore,
    health: HealthReporter,
    services: Vec<String>,
    /// What runs beside the doors, until the kernel closes.
    background: Vec<JoinHandle<()>>,
    /// The administrator's token, on the first start only.
    pub(crate) first_token: Option<String>,
    /// Invariant: one kernel per folder (DESIGN 3.6); the lock ends with the process, however it ends.
    _lock: File,
}

impl Kernel {
    /// Opens everything under the folder, making it on the first start.
    ///
    /// # Errors
    /// When another kernel runs on the folder, or something in it cannot be opened; the message names it.
    pub(crate) async fn open(settings: &KernelSettings) -> anyhow::Result<Kernel> {
        let dir = settings.dir.as_path();
        fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let lock = lock(dir)?;
        let clock = Clock::system();
        let rows = RowStore::open(&dir.join(ROWS)).await?;
        let access = Arc::new(AccessTable::new(&contracts()?, &foreign_contracts()?)?);
        let bus = BusClient::default();

        let auth = Auth::new(rows.clone(), clock.clone());
        let mut warehouse_settings = WarehouseSettings::in_dir(dir.join("warehouse"));
        warehouse_settings.chunk_lines = settings.import_chunk_lines.unwrap_or(warehouse_settings.chunk_lines);
        if let Some(megabytes) = settings.query_memory_mb {
            warehouse_settings.query.memory_bytes_max = u64::from(megabytes) * 1_000_000;
        }
        let warehouse = Warehouse::open(warehouse_settings, rows.clone(), clock.clone()).await?;
        let host_settings = HostSettings { dir: dir.join("plugins"), limits: HostLimits::default() };
        let host = Host::open(host_settings, rows.clone(), Arc::clone(&access), bus.clone(), clock).await?;
        let (health, health_service) = tonic_health::server::health_reporter();

        let reflection = Reflection::new(Arc::clone(&access));
        let routes = Routes::new(health_service)
            .add_service(v1::server_reflection_server::ServerReflectionServer::new(reflection.clone()))
            .add_service(v1alpha::server_reflection_server::ServerReflectionServer::new(reflection))
            .add_service(AuthServer::new(auth.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(WarehouseServer::new(warehouse.warehouse_service(bus.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(FlightServiceServer::new(warehouse.flight_service()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(IngestServer::new(warehouse.ingest_service()).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(PluginsServer::new(host.plugins_service()).max_decoding_message_size(MESSAGE_BYTES_MAX));
        let corridor = Corridor::new(Arc::clone(&access), routes, host.plugin_methods());
        bus.bind(corridor.bus_service());

        let first_token = auth.first_start().await?;
        let services = access.native_services().iter().map(|service| service.full_name().to_owned()).collect();
        let doors = Doors::new(corridor, access, auth.clone(), &DoorLimits::default());
        let mut background = vec![tokio::spawn(resume_imports(warehouse.clone()))];
        background.extend(settings.drop_folder.clone().map(|folder| tokio::spawn(watch_drop_folder(warehouse.clone(), folder))));
        Ok(Kernel { doors, auth, host, warehouse, rows, health, services, background, first_token, _lock: lock })
    }

    /// A new token of the administrator's, for who has the folder and lost the others.
    ///
    /// # Errors
    /// When the row store fails.
    pub(crate) async fn administrator_token(&self) -> anyhow::Result<String> {
        Ok(self.auth.administrator_token().await?)
    }

    /// Answers calls until `shutdown`; then refuses new connections, lets running calls end for at most `drain`, and closes the stores.
    pub(crate) async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>, drain: Duration) {
        self.report_health(tonic_health::ServingStatus::Serving).await;
        let health = self.health.clone();
        let services = self.services.clone();
        let shutdown = async move {
            shutdown.await;
            report(&health, &services, tonic_health::ServingStatus::NotServing).await;
        };
        self.doors.serve(listener, shutdown, drain).await;
        self.background.iter().for_each(JoinHandle::abort);
        self.host.close().await;
        self.warehouse.close().await;
        self.rows.close().await;
    }

    async fn report_health(&self, status: tonic_health::ServingStatus) {
        report(&self.health, &self.services, status).await;
    }
}

async fn report(health: &HealthReporter, services: &[String], status: tonic_health::ServingStatus) {
    health.set_service_status("", status).await;
    for service in services {
        health.set_service_status(service, status).await;
    }
}

async fn resume_imports(warehouse: Warehouse) {
    match warehouse.resume_imports().await {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "imports that were interrupted go on"),
        Err(error) => tracing::error!(%error, "an interrupted import could not be finished: 'backplane feed status' shows which"),
    }
}

async fn watch_drop_folder(warehouse: Warehouse, folder: DropFolder) {
    let dir = folder.dir.display().to_string();
    if let Err(error) = warehouse.watch_drop_folder(folder).await {
        tracing::error!(%error, dir, "the drop folder is not watched");
    }
}

/// The kernel's own contracts.
fn contracts() -> anyhow::Result<DescriptorPool> {
    DescriptorPool::decode(backplane_proto::DESCRIPTOR_SET).context("the kernel's contracts cannot be read")
}

/// Contracts that are not ours: health and reflection.
fn foreign_contracts() -> anyhow::Result<Vec<DescriptorPool>> {
    [tonic_health::pb::FILE_DESCRIPTOR_SET, v1::FILE_DESCRIPTOR_SET, v1alpha::FILE_DESCRIPTOR_SET]
        .into_iter()
        .map(|encoded| DescriptorPool::decode(encoded).context("a foreign contract cannot be read"))
        .collect()
}

/// A new token of the administrator's of the kernel in a folder, which must not run.
///
/// # Errors
/// When there is no kernel in the folder, or it runs.
pub(crate) async fn recover(dir: &Path) -> anyhow::Result<String> {
    let rows = dir.join(ROWS);
    if !rows.is_file() {
        bail!("there is no kernel in {}: name the folder that 'backplane serve --dir' was given", dir.display());
    }
    let _lock = lock(dir)?;
    let rows = RowStore::open(&rows).await?;
    let token = Auth::new(rows.clone(), Clock::system()).administrator_token().await?;
    rows.close().await;
    Ok(token)
}

fn lock(dir: &Path) -> anyhow::Result<File> {
    let path: PathBuf = dir.join("kernel.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another kernel runs on {}: stop it, or name another folder with --dir", dir.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}
