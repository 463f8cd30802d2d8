use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use backplane_proto::plugin::v1::{EnablePluginRequest, InstallPluginRequest, plugins_client::PluginsClient, plugins_server::PluginsServer};
use backplane_tests::{FOSHAN, guest};
use kernel_auth::{AccessTable, Auth};
use kernel_base::{BusClient, CallContext, Caller, Clock, TraceId};
use kernel_bus::{Corridor, DoorLimits, Doors};
use kernel_host::{Host, HostLimits, HostSettings};
use kernel_storage::RowStore;
use prost_reflect::DescriptorPool;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::service::Routes;

/// The bus and the plugin host in this process, with the benchmark's plugin enabled in Foshan, and a door on loopback.
pub(crate) struct Platform {
    pub(crate) host: Host,
    pub(crate) context: CallContext,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) wasm: PathBuf,
    _dir: TempDir,
}

impl Platform {
    pub(crate) async fn start() -> Platform {
        let wasm = guest("bench");
        let dir = tempfile::tempdir().unwrap();
        let rows = RowStore::open(&dir.path().join("rows.db")).await.unwrap();
        let pool = DescriptorPool::decode(backplane_proto::DESCRIPTOR_SET).unwrap();
        let access = Arc::new(AccessTable::new(&pool, &[]).unwrap());
        let bus = BusClient::default();
        let auth = Auth::new(rows.clone(), Clock::system());
        let settings = HostSettings { dir: dir.path().join("plugins"), limits: HostLimits::default() };
        let host = Host::open(settings, rows, Arc::clone(&access), bus.clone(), Clock::system()).await.unwrap();
        let routes = Routes::new(PluginsServer::new(host.plugins_service()));
        let corridor = Corridor::new(Arc::clone(&access), routes, host.plugin_methods());
        bus.bind(corridor.bus_service());

        let token = auth.first_start().await.unwrap().unwrap();
        let proven = auth.authenticate(&token).await.unwrap();
        let context = CallContext {
            caller: Caller::Known(proven.principal.clone()),
            actor: None,
            rights: Arc::clone(&proven.rights),
            city: None,
            deadline: Instant::now() + Duration::from_secs(3_600),
            trace: TraceId([1; 16]),
            chain: Vec::new(),
        };
        install(&bus, &context, &wasm).await;

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let doors = Doors::new(corridor, access, auth, &DoorLimits::default());
        tokio::spawn(doors.serve(listener, std::future::pending(), Duration::ZERO));
        let context = context.narrowed(FOSHAN.parse().unwrap());
        Platform { host, context, address, token, wasm, _dir: dir }
    }
}

async fn install(bus: &BusClient, context: &CallContext, wasm: &PathBuf) {
    let mut plugins = PluginsClient::new(bus.acting(context.clone()));
    let bytes = std::fs::read(wasm).unwrap();
    let pieces: Vec<_> = bytes.chunks(1 << 19).map(|chunk| InstallPluginRequest { chunk: bytes::Bytes::copy_from_slice(chunk) }).collect();
    let version = plugins.install_plugin(tokio_stream::iter(pieces)).await.unwrap().into_inner();
    let enable = EnablePluginRequest {
        plugin_id: version.plugin_id,
        version: version.version,
        city: FOSHAN.to_owned(),
        granted: version.capabilities,
        configuration_json: String::new(),
    };
    plugins.enable_plugin(enable).await.unwrap();
}
