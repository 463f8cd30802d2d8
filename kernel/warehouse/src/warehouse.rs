use std::sync::Arc;

use backplane_proto::{ingest::v1::ingest_server, warehouse::v1::warehouse_server};
use kernel_base::Clock;
use tokio::sync::Semaphore;

use crate::{
    append::Appender,
    contract::Datasets,
    engine::Engine,
    error::WarehouseError,
    feed::Importer,
    ingest_service::IngestService,
    lake::{Lake, TableName},
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
    pub(crate) datasets: Arc<Datasets>,
    pub(crate) lake: Arc<Lake>,
    pub(crate) appender: Arc<Appender>,
    pub(crate) importer: Arc<Importer>,
    /// Turns of queries: how many run at once.
    pub(crate) queries: Semaphore,
    pub(crate) engine: Engine,
}

impl Warehouse {
    /// Opens the warehouse in its folder, making what is missing: catalog, tables, visitor key.
    ///
    /// # Errors
    /// When the folder cannot be written, a contract is wrong, or a table does not fit its contract.
    pub async fn open(settings: WarehouseSettings, clock: Clock) -> Result<Warehouse, WarehouseError> {
        std::fs::create_dir_all(&settings.dir).map_err(WarehouseError::storage("making the folder of the warehouse"))?;
        let engine = Engine::start()?;
        let (dir, datasets) = (settings.dir.clone(), Arc::new(Datasets::seeds()?));
        let seeds = datasets.clone();
        let appender = engine.run(async move {
            let lake = Arc::new(Lake::open(&dir).await?);
            for contract in seeds.iter() {
                lake.create_table(&TableName::dataset(&contract.name), &contract.table_schema()).await?;
            }
            Appender::open(lake, clock).await
        });
        let appender = Arc::new(appender.await?);
        let importer = Arc::new(Importer::open(&settings, datasets.clone(), appender.clone(), engine.handle().clone())?);
        let queries = Semaphore::new(settings.query.running_max);
        let lake = appender.lake().clone();
        Ok(Warehouse { inner: Arc::new(Inner { settings, datasets, lake, appender, importer, queries, engine }) })
    }

    /// Reading, as the bus mounts it.
    pub fn warehouse_service(&self) -> impl warehouse_server::Warehouse + use<> {
        WarehouseService::new(self.inner.clone())
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

    /// Stops imports between two commits and lets no query begin. What is cut off goes on with the next start.
    pub async fn close(&self) {
        self.inner.queries.close();
        self.inner.importer.close().await;
    }
}
