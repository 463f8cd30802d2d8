//! A host with everything around it: row store, access table, and a bus that authorizes nothing but routes as the real one does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use backplane_proto::{
    plugin::v1::{
        Deployment, DisablePluginRequest, EnablePluginRequest, InstallPluginRequest, PluginVersion, plugins_client::PluginsClient,
        plugins_server::PluginsServer,
    },
    v1::Reason,
    warehouse::v1::{
        Dataset, DatasetContract, DescribeDatasetRequest, GetDatasetContractRequest, ListDatasetsRequest, ListDatasetsResponse, PutDatasetRequest,
        PutDatasetResponse, QueryRequest, QueryResponse,
        warehouse_server::{Warehouse, WarehouseServer},
    },
};
use bytes::Bytes;
use http::Request;
use kernel_auth::AccessTable;
use kernel_base::{
    ActingBus, BusClient, BusService, CallContext, Caller, City, Clock, Permission, Principal, PrincipalKind, Rights, Scope, TraceId, context_of,
};
use kernel_host::{Host, HostLimits, HostSettings};
use kernel_storage::RowStore;
use prost_reflect::DescriptorPool;
use tokio::sync::Semaphore;
use tokio_stream::Stream;
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;
use tower::ServiceExt;

pub const FOSHAN: &str = "440600";
pub const DONGGUAN: &str = "441900";
pub const PROVINCE: &str = "440000";

/// What crossed the bus: path, metadata and context of each call.
pub type Passed = Arc<Mutex<Vec<(String, http::HeaderMap, CallContext)>>>;

pub struct World {
    pub host: Host,
    pub bus: BusClient,
    pub rows: RowStore,
    pub warehouse: FakeWarehouse,
    pub passed: Passed,
    ways: Arc<Mutex<Option<Ways>>>,
    dir: Arc<tempfile::TempDir>,
}

impl World {
    pub async fn new() -> World {
        World::with_limits(HostLimits::default()).await
    }

    pub async fn with_limits(limits: HostLimits) -> World {
        World::over(RowStore::in_memory().await.unwrap(), Arc::new(tempfile::tempdir().unwrap()), limits).await
    }

    /// Another process on the same rows and files.
    pub async fn restarted(&self) -> World {
        self.host.close().await;
        World::over(self.rows.clone(), Arc::clone(&self.dir), HostLimits::default()).await
    }

    async fn over(rows: RowStore, dir: Arc<tempfile::TempDir>, limits: HostLimits) -> World {
        let kernel = DescriptorPool::decode(backplane_proto::DESCRIPTOR_SET).unwrap();
        let access = Arc::new(AccessTable::new(&kernel, &[]).unwrap());
        let bus = BusClient::default();
        let settings = HostSettings { dir: dir.path().to_owned(), limits };
        let host = Host::open(settings, rows.clone(), access, bus.clone(), Clock::system()).await.unwrap();
        let (warehouse, passed) = (FakeWarehouse::default(), Passed::default());
        let ways = Arc::new(Mutex::new(Some(Ways::to(&host))));
        bus.bind(routes(&ways, &warehouse, &passed));
        World { host, bus, rows, warehouse, passed, ways, dir }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn plugins(&self) -> PluginsClient<ActingBus> {
        PluginsClient::new(self.bus.acting(caller("root", &["*"], &[PROVINCE])))
    }

    pub async fn install(&self, wasm: Vec<u8>) -> Result<PluginVersion, Status> {
        let chunks: Vec<_> = wasm.chunks(1 << 20).map(|chunk| InstallPluginRequest { chunk: Bytes::copy_from_slice(chunk) }).collect();
        Ok(self.plugins().install_plugin(tokio_stream::iter(chunks)).await?.into_inner())
    }

    /// Enables a version with everything that it asks for.
    pub async fn enable(&self, version: &PluginVersion, city: &str) -> Deployment {
        let request = EnablePluginRequest {
            plugin_id: version.plugin_id.clone(),
            version: version.version.clone(),
            city: city.to_owned(),
            granted: version.capabilities.clone(),
            configuration_json: String::new(),
        };
        self.plugins().enable_plugin(request).await.unwrap().into_inner()
    }

    pub async fn disable(&self, plugin: &str, city: &str) -> bool {
        let request = DisablePluginRequest { plugin_id: plugin.to_owned(), city: city.to_owned() };
        self.plugins().disable_plugin(request).await.unwrap().into_inner().disabled
    }

    /// Installs the guest of all behaviours as `demo` and enables it in Foshan.
    pub async fn with_demo(rest: &str) -> World {
        let world = World::new().await;
        let version = world.install(crate::guests::package_of(&crate::guests::behaviours(), "demo", "0.1.0", rest)).await.unwrap();
        world.enable(&version, FOSHAN).await;
        world
    }

    /// The rights with which `path` was last called over the bus.
    pub fn rights_at(&self, path: &str) -> String {
        let passed = self.passed.lock().unwrap();
        let (_, _, context) = passed.iter().rfind(|(called, _, _)| called == path).unwrap_or_else(|| panic!("{path} was not called"));
        context.rights.fingerprint()
    }

    /// Waits until `calls` have asked the warehouse.
    pub async fn warehouse_is_asked(&self, calls: usize) {
        let asked = async {
            while self.warehouse.asked.lock().unwrap().len() < calls {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap();
    }

    /// Calls `demo.v1.Demo/Do` past the bus.
    pub async fn demo(&self, context: &CallContext, behaviour: u8) -> Result<Bytes, Status> {
        self.host.call(context.clone(), "/demo.v1.Demo/Do", crate::guests::request(behaviour).into()).await
    }
}

/// A caller in one city or several; with one, the call is narrowed to it as the bus does.
pub fn caller(id: &str, permissions: &[&str], cities: &[&str]) -> CallContext {
    let cities: Vec<City> = cities.iter().map(|city| city.parse().unwrap()).collect();
    let scope: Scope = cities.iter().copied().collect();
    let grants = permissions.iter().map(|permission| (permission.parse::<Permission>().unwrap(), scope.clone()));
    CallContext {
        caller: Caller::Known(Principal { id: id.parse().unwrap(), kind: PrincipalKind::Person }),
        actor: None,
        rights: Arc::new(Rights::new(grants)),
        city: (cities.len() == 1).then(|| cities[0]),
        deadline: Instant::now() + Duration::from_secs(30),
        trace: TraceId([7; 16]),
        chain: Vec::new(),
    }
}

/// A person of Foshan with the demo's own permission.
pub fn foshan() -> CallContext {
    caller("mei", &["demo.read"], &[FOSHAN])
}

/// The stable reason of an error.
pub fn reason(status: &Status) -> Reason {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    Reason::from_str_name(&info.reason).unwrap()
}

/// One value of the error's metadata.
pub fn place(status: &Status, key: &str) -> String {
    status.get_details_error_info().unwrap().metadata.get(key).cloned().unwrap_or_default()
}

pub fn assert_fails<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, expected: Reason, says: &str) -> Status {
    let status = result.unwrap_err();
    assert_eq!((status.code(), reason(&status)), (code, expected), "{}", status.message());
    assert!(status.message().contains(says), "'{says}' is not in '{}'", status.message());
    status
}

/// The ways from the bus to the host. The host holds the bus, so that they must end with their world: each engine reserves terabytes of addresses.
struct Ways {
    plugins: BusService,
    of_host: BusService,
}

impl Ways {
    fn to(host: &Host) -> Ways {
        let service = PluginsServer::new(host.plugins_service());
        let plugins = BusService::new(move |context, mut request: Request<Body>| {
            request.extensions_mut().insert(context);
            let service = service.clone();
            async move { service.oneshot(request).await.unwrap() }
        });
        Ways { plugins, of_host: host.plugin_methods() }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.ways.lock().unwrap().take();
    }
}

fn routes(ways: &Arc<Mutex<Option<Ways>>>, warehouse: &FakeWarehouse, passed: &Passed) -> BusService {
    let warehouse = WarehouseServer::new(warehouse.clone());
    let (ways, passed) = (Arc::clone(ways), Arc::clone(passed));
    BusService::new(move |context, mut request: Request<Body>| {
        let path = request.uri().path().to_owned();
        passed.lock().unwrap().push((path.clone(), request.headers().clone(), context.clone()));
        let warehouse = warehouse.clone();
        let way = ways
            .lock()
            .unwrap()
            .as_ref()
            .map(|ways| if path.starts_with("/backplane.plugin.v1.Plugins/") { ways.plugins.clone() } else { ways.of_host.clone() });
        async move {
            if path.starts_with("/backplane.warehouse.v1.Warehouse/") {
                request.extensions_mut().insert(context);
                warehouse.oneshot(request).await.unwrap()
            } else {
                way.unwrap().call(context, request).await
            }
        }
    })
}

/// Answers `DescribeDataset` and remembers with which context it was asked.
#[derive(Clone)]
pub struct FakeWarehouse {
    pub asked: Arc<Mutex<Vec<CallContext>>>,
    /// Calls pass one by one through it: whoever takes all permits holds them up.
    pub gate: Arc<Semaphore>,
    /// Contracts that were put, by the first line of each. That of `interaction` is there from the start.
    pub contracts: Arc<Mutex<BTreeMap<String, DatasetContract>>>,
}

const INTERACTION: &str = "name: interaction\ncolumns:\n  - {name: at, class: internal}\n  - {name: page, class: internal}\n  - {name: pin, class: secret}\n";

pub const GATE_PERMITS: u32 = 1_000;

impl Default for FakeWarehouse {
    fn default() -> FakeWarehouse {
        FakeWarehouse { asked: Arc::default(), gate: Arc::new(Semaphore::new(GATE_PERMITS as usize)), contracts: Arc::default() }
    }
}

impl FakeWarehouse {
    pub fn rights_seen(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap().iter().map(|context| context.rights.fingerprint()).collect()
    }
}

#[tonic::async_trait]
impl Warehouse for FakeWarehouse {
    type QueryStream = std::pin::Pin<Box<dyn Stream<Item = Result<QueryResponse, Status>> + Send>>;

    async fn query(&self, request: tonic::Request<QueryRequest>) -> Result<tonic::Response<Self::QueryStream>, Status> {
        self.asked.lock().unwrap().push(context_of(&request)?);
        let messages = (1..=3).map(|snapshot_id| Ok(QueryResponse { snapshot_id, ..Default::default() }));
        Ok(tonic::Response::new(Box::pin(tokio_stream::iter(messages))))
    }

    async fn list_datasets(&self, _: tonic::Request<ListDatasetsRequest>) -> Result<tonic::Response<ListDatasetsResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn get_dataset_contract(&self, request: tonic::Request<GetDatasetContractRequest>) -> Result<tonic::Response<DatasetContract>, Status> {
        let name = request.into_inner().name;
        let put = self.contracts.lock().unwrap().get(&name).cloned();
        let shipped = || DatasetContract { name: name.clone(), revision: 1, document: INTERACTION.to_owned(), ..Default::default() };
        let contract = put.or_else(|| (name == "interaction").then(shipped));
        contract.map(tonic::Response::new).ok_or_else(|| Status::not_found("no such dataset"))
    }

    /// Refuses what says so, and what does not follow the newest revision.
    async fn put_dataset(&self, request: tonic::Request<PutDatasetRequest>) -> Result<tonic::Response<PutDatasetResponse>, Status> {
        let PutDatasetRequest { document, after_revision } = request.into_inner();
        let name = document.lines().next().unwrap_or_default().trim_start_matches("name: ").to_owned();
        let mut contracts = self.contracts.lock().unwrap();
        if document.contains("breaks") || contracts.get(&name).map_or(0, |contract| contract.revision) != after_revision {
            return Err(Status::failed_precondition("the contract breaks"));
        }
        let revision = after_revision + 1;
        contracts.insert(name.clone(), DatasetContract { name: name.clone(), revision, document, ..Default::default() });
        Ok(tonic::Response::new(PutDatasetResponse { name, revision }))
    }

    async fn describe_dataset(&self, request: tonic::Request<DescribeDatasetRequest>) -> Result<tonic::Response<Dataset>, Status> {
        self.asked.lock().unwrap().push(context_of(&request)?);
        let _permit = self.gate.acquire().await.unwrap();
        Ok(tonic::Response::new(Dataset { name: "interaction".to_owned(), ..Default::default() }))
    }
}
