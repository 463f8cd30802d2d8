use std::sync::Arc;

use arrow_flight::flight_service_server::FlightService;
use backplane_proto::{ingest::v1::ingest_server, warehouse::v1::warehouse_server};
use kernel_base::{BusClient, Clock};
use kernel_storage::RowStore;
use tokio::{runtime::Handle, sync::Semaphore};

use crate::{
    append::{AppendRoom, Appender},
    contracts::Contracts,
    engine::Engine,
    error::WarehouseError,
    feed::{self, DropFolder, Importer},
    flight_service::FlightSqlService,
    guard::session::Sessions,
    ingest_service::IngestService,
    lake::Lake,
    query::KeptPlans,
    settings::WarehouseSettings,
    warehouse_service::WarehouseService,
};

/// The shared data: tables, the one way in, the guarded way out. Cheap to clone.
#[derive(Clone)]
pub struct Warehouse {
    inner: Arc<Inner>,
}

/// What the services share.
pub(crate) struct Inner {
    pub(crate) settings: WarehouseSettings,
    pub(crate) contracts: Arc<Contracts>,
    pub(crate) lake: Arc<Lake>,
    pub(crate) sessions: Sessions,
    pub(crate) kept_plans: KeptPlans,
    pub(crate) appender: Arc<Appender>,
    pub(crate) importer: Arc<Importer>,
    /// Room for the appends that are on their way.
    pub(crate) append_room: AppendRoom,
    /// The same for those of streams, which wait for it and would leave no other append any.
    pub(crate) stream_room: AppendRoom,
    /// Turns of queries: how many run at once.
    pub(crate) queries: Semaphore,
    pub(crate) engine: Engine,
}

impl Warehouse {
    /// Opens the warehouse in its folder, making what is missing: catalog, visitor key, first contracts.
    ///
    /// # Errors
    /// When the folder cannot be written, a contract is wrong, or a table does not fit its contract.
    pub async fn open(settings: WarehouseSettings, rows: RowStore, clock: Clock) -> Result<Warehouse, WarehouseError> {
        std::fs::create_dir_all(&settings.dir).map_err(WarehouseError::storage("making the folder of the warehouse"))?;
        let engine = Engine::start()?;
        let opening = {
            let settings = settings.clone();
            async move {
                let contracts = Arc::new(Contracts::open(rows, clock.clone()).await?);
                let lake = Arc::new(Lake::open(&settings.dir).await?.holding(settings.held_rows));
                let datasets = contracts.datasets();
                let tables: Vec<_> = datasets.iter().flat_map(|contract| contract.tables()).collect();
                lake.reconcile(&tables).await?;
                let appender = Arc::new(Appender::open(lake, clock).await?);
                let importer = Arc::new(Importer::open(&settings, contracts.clone(), appender.clone(), Handle::current()).await?);
                Ok((contracts, appender, importer))
            }
        };
        let (contracts, appender, importer) = engine.run(opening).await?;
        let (append_room, stream_room) = (AppendRoom::new(settings.append_bytes), AppendRoom::new(settings.append_bytes / 2));
        let queries = Semaphore::new(settings.query.running_max);
        let lake = appender.lake().clone();
        let sessions = Sessions::new(appender.clone(), settings.query.clone());
        engine.handle().spawn({
            let (lake, rest) = (lake.clone(), settings.rest);
            async move { lake.keep_merged(rest).await }
        });
        Ok(Warehouse {
            inner: Arc::new(Inner {
                settings,
                contracts,
                lake,
                sessions,
                kept_plans: KeptPlans::new(),
                appender,
                importer,
                append_room,
                stream_room,
                queries,
                engine,
            }),
        })
    }

    /// Reading, as the bus mounts it; over the bus it asks who relies on a dataset.
    pub fn warehouse_service(&self, bus: BusClient) -> impl warehouse_server::Warehouse + use<> {
        WarehouseService::new(self.inner.clone(), bus)
    }

    /// Reading by Arrow Flight SQL, as the bus mounts it.
    pub fn flight_service(&self) -> impl FlightService + use<> {
        FlightSqlService::new(self.inner.clone())
    }

    /// Writing, as the bus mounts it.
    pub fn ingest_service(&self) -> impl ingest_server::Ingest + use<> {
        IngestService::new(self.inner.clone())
    }

    /// Goes on with the imports whose upload was complete when the kernel stopped, in the background, and says how many there are.
    ///
    /// # Errors
    /// When the inbox cannot be read.
    pub async fn resume_imports(&self) -> Result<usize, WarehouseError> {
        let importer = self.inner.importer.clone();
        self.inner.engine.run(async move { importer.resume().await }).await
    }

    /// Takes the files that platforms leave in a folder until the warehouse closes.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub async fn watch_drop_folder(&self, folder: DropFolder) -> Result<(), WarehouseError> {
        let importer = self.inner.importer.clone();
        self.inner.engine.run(async move { feed::watch_drop_folder(importer, folder).await }).await
    }

    /// Stops imports and merges between two commits and lets no query begin. What is cut off goes on with the next start.
    pub async fn close(&self) {
        self.inner.queries.close();
        self.inner.importer.close().await;
        self.inner.lake.stop_merging().await;
    }
}
