use std::{
    collections::{BTreeSet, HashMap},
    fmt, iter,
    sync::Arc,
};

use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider, TableProvider},
    datasource::empty::EmptyTable,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext, memory_pool::GreedyMemoryPool, runtime_env::RuntimeEnvBuilder},
    physical_plan::{ExecutionPlan, execute_stream},
    prelude::{SessionConfig, SessionContext},
};
use kernel_base::Rights;

use super::{Policy, table::GuardedTable};
use crate::{
    append::Appender,
    contract::{DatasetContract, Datasets},
    error::WarehouseError,
};

const CATALOG: &str = "backplane";
const SCHEMA: &str = "public";

/// Makes the sessions of requests. What they share is made once: functions and rules are hundreds, and a small query should not wait for them.
pub(crate) struct Sessions {
    appender: Arc<Appender>,
    /// Of no catalog.
    blank: SessionState,
}

/// A session for one request: its catalog holds the datasets that the rights reach, guarded, at one snapshot, and nothing else. There is no table function, no
/// information schema, no file table and no way to make any.
pub(crate) struct GuardedSession {
    state: SessionState,
    /// What plans run in: the memory that the request may take.
    task: Arc<TaskContext>,
}

/// What a session is for.
pub(crate) struct SessionRequest<'a> {
    pub(crate) rights: &'a Arc<Rights>,
    pub(crate) snapshot: i64,
    pub(crate) memory_bytes_max: u64,
    /// Whether tables show the columns that say where a row came from.
    pub(crate) with_origin: bool,
}

impl Sessions {
    pub(crate) fn new(appender: Arc<Appender>) -> Sessions {
        let config =
            SessionConfig::new().with_default_catalog_and_schema(CATALOG, SCHEMA).with_create_default_catalog_and_schema(false).with_information_schema(false);
        let context = SessionContext::new_with_state(
            SessionStateBuilder::new()
                .with_config(config)
                .with_runtime_env(appender.lake().runtime_env().clone())
                .with_default_features()
                // generate_series and range make rows from nothing, without end.
                .with_table_functions(HashMap::new())
                .build(),
        );
        for function in MAKES_MUCH_OF_LITTLE {
            context.deregister_udf(function);
        }
        Sessions { appender, blank: context.state() }
    }

    pub(crate) fn guarded(&self, datasets: &Arc<Datasets>, request: &SessionRequest<'_>) -> Result<GuardedSession, WarehouseError> {
        let catalog = MemoryCatalogProvider::new();
        for plugin in iter::once(None).chain(plugins(datasets).into_iter().map(Some)) {
            let name = plugin.as_deref().unwrap_or(SCHEMA).to_owned();
            let (appender, datasets, rights) = (self.appender.clone(), datasets.clone(), request.rights.clone());
            let schema = GuardedSchema { appender, datasets, rights, snapshot: request.snapshot, with_origin: request.with_origin, plugin };
            catalog.register_schema(&name, Arc::new(schema)).map_err(WarehouseError::broken)?;
        }
        // A list of the session's own: the blank state's is shared.
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let mut state = self.blank.clone();
        state.register_catalog_list(Arc::new(catalogs));
        state.mark_start_execution();
        let memory = Arc::new(GreedyMemoryPool::new(usize::try_from(request.memory_bytes_max).unwrap_or(usize::MAX)));
        let environment =
            RuntimeEnvBuilder::from_runtime_env(self.appender.lake().runtime_env()).with_memory_pool(memory).build_arc().map_err(WarehouseError::broken)?;
        let task = Arc::new(TaskContext::from(&state).with_runtime(environment));
        Ok(GuardedSession { state, task })
    }
}

impl GuardedSession {
    pub(crate) fn state(&self) -> &SessionState {
        &self.state
    }

    /// Runs a plan within the memory of the request.
    pub(crate) fn run(&self, plan: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream, DataFusionError> {
        execute_stream(plan, self.task.clone())
    }
}

/// The plugins that have datasets, as their names begin.
fn plugins(datasets: &Datasets) -> BTreeSet<String> {
    datasets.iter().filter_map(|contract| contract.name.split_once('.')).map(|(plugin, _)| plugin.to_owned()).collect()
}

/// The datasets that some rights reach: the shared ones, or those of one plugin. A table is opened when a query names it: a province has dozens.
struct GuardedSchema {
    appender: Arc<Appender>,
    datasets: Arc<Datasets>,
    rights: Arc<Rights>,
    snapshot: i64,
    with_origin: bool,
    plugin: Option<String>,
}

impl GuardedSchema {
    fn policy(&self, table: &str) -> Option<(&DatasetContract, Policy)> {
        let contract = match &self.plugin {
            // A quoted name with a dot would be a second way to a plugin's dataset.
            None if table.contains('.') => return None,
            None => self.datasets.get(table)?,
            Some(plugin) => self.datasets.get(&format!("{plugin}.{table}"))?,
        };
        let policy = Policy::of(contract, &self.rights)?;
        Some((contract, if self.with_origin { policy.with_origin(contract, &self.rights) } else { policy }))
    }
}

impl fmt::Debug for GuardedSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardedSchema")
    }
}

#[async_trait]
impl SchemaProvider for GuardedSchema {
    fn table_names(&self) -> Vec<String> {
        let table = |contract: &Arc<DatasetContract>| match (&self.plugin, contract.name.split_once('.')) {
            (None, None) => Some(contract.name.clone()),
            (Some(plugin), Some((namespace, table))) if namespace == plugin => Some(table.to_owned()),
            _ => None,
        };
        self.datasets.iter().filter_map(table).filter(|name| self.table_exist(name)).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let Some((contract, policy)) = self.policy(name) else {
            return Ok(None);
        };
        let failed = |error: WarehouseError| DataFusionError::External(Box::new(error));
        let inside = match self.appender.whole_files(contract, self.snapshot).await.map_err(failed)? {
            Some(inside) => inside,
            // The first rows make the table.
            None => Arc::new(EmptyTable::new(contract.table_schema())),
        };
        Ok(Some(Arc::new(GuardedTable::new(inside, policy))))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.policy(name).is_some()
    }
}

// Limit: these make values of any size from a number, outside of the memory that a query may take and before its deadline can stop it.
const MAKES_MUCH_OF_LITTLE: &[&str] = &["range", "generate_series", "array_repeat", "list_repeat", "array_resize", "list_resize", "repeat", "lpad", "rpad"];
