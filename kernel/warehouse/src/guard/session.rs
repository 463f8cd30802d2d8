use std::{
    collections::{BTreeSet, HashMap},
    fmt, iter,
    sync::Arc,
};

use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, MemoryCatalogProvider, SchemaProvider, TableProvider},
    datasource::empty::EmptyTable,
    error::DataFusionError,
    execution::{SessionState, SessionStateBuilder, memory_pool::GreedyMemoryPool, runtime_env::RuntimeEnvBuilder},
    prelude::{SessionConfig, SessionContext},
};
use kernel_base::Rights;

use super::{Policy, table::GuardedTable};
use crate::{
    contract::{DatasetContract, Datasets},
    error::WarehouseError,
    lake::{Lake, TableName},
};

const CATALOG: &str = "backplane";
const SCHEMA: &str = "public";

/// A session for one request: its catalog holds the datasets that the rights reach, guarded, at one snapshot, and nothing else. There is no table function, no
/// information schema, no file table and no way to make any.
pub(crate) fn guarded_session(
    lake: &Arc<Lake>,
    datasets: &Arc<Datasets>,
    rights: &Arc<Rights>,
    snapshot: i64,
    memory_bytes_max: u64,
) -> Result<SessionContext, WarehouseError> {
    let catalog = MemoryCatalogProvider::new();
    for plugin in iter::once(None).chain(plugins(datasets).into_iter().map(Some)) {
        let name = plugin.as_deref().unwrap_or(SCHEMA).to_owned();
        let schema = GuardedSchema { lake: lake.clone(), datasets: datasets.clone(), rights: rights.clone(), snapshot, plugin };
        catalog.register_schema(&name, Arc::new(schema)).map_err(WarehouseError::broken)?;
    }
    let context = SessionContext::new_with_state(state(lake, memory_bytes_max).map_err(WarehouseError::broken)?);
    context.register_catalog(CATALOG, Arc::new(catalog));
    for function in MAKES_MUCH_OF_LITTLE {
        context.deregister_udf(function);
    }
    Ok(context)
}

/// The plugins that have datasets, as their names begin.
fn plugins(datasets: &Datasets) -> BTreeSet<String> {
    datasets.iter().filter_map(|contract| contract.name.split_once('.')).map(|(plugin, _)| plugin.to_owned()).collect()
}

/// The datasets that some rights reach: the shared ones, or those of one plugin. A table is opened when a query names it: a province has dozens.
struct GuardedSchema {
    lake: Arc<Lake>,
    datasets: Arc<Datasets>,
    rights: Arc<Rights>,
    snapshot: i64,
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
        Policy::of(contract, &self.rights).map(|policy| (contract.as_ref(), policy))
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
        let inside = match self.lake.table(self.snapshot, &TableName::dataset(&contract.name)).await.map_err(failed)? {
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

fn state(lake: &Lake, memory_bytes_max: u64) -> Result<SessionState, DataFusionError> {
    let config =
        SessionConfig::new().with_default_catalog_and_schema(CATALOG, SCHEMA).with_create_default_catalog_and_schema(false).with_information_schema(false);
    let memory = Arc::new(GreedyMemoryPool::new(usize::try_from(memory_bytes_max).unwrap_or(usize::MAX)));
    let environment = RuntimeEnvBuilder::from_runtime_env(lake.runtime_env()).with_memory_pool(memory).build_arc()?;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(environment)
        .with_default_features()
        // generate_series and range make rows from nothing, without end.
        .with_table_functions(HashMap::new())
        .build();
    Ok(state)
}
