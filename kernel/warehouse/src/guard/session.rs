use std::{collections::HashMap, sync::Arc};

use datafusion::{
    catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider},
    error::DataFusionError,
    execution::{SessionState, SessionStateBuilder, memory_pool::GreedyMemoryPool, runtime_env::RuntimeEnvBuilder},
    prelude::{SessionConfig, SessionContext},
};
use kernel_base::Rights;

use super::{Policy, table::GuardedTable};
use crate::{
    contract::Datasets,
    error::WarehouseError,
    lake::{Lake, TableName},
};

const CATALOG: &str = "backplane";
const SCHEMA: &str = "public";

/// A session for one request: its catalog holds the datasets that the rights reach, guarded, at one snapshot, and nothing else. There is no table function, no
/// information schema, no file table and no way to make any.
pub(crate) async fn guarded_session(
    lake: &Lake,
    datasets: &Datasets,
    rights: &Rights,
    snapshot: i64,
    memory_bytes_max: u64,
) -> Result<SessionContext, WarehouseError> {
    let schema = MemorySchemaProvider::new();
    for contract in datasets.iter() {
        let Some(policy) = Policy::of(contract, rights) else {
            continue;
        };
        if let Some(inside) = lake.table(snapshot, &TableName::dataset(&contract.name)).await? {
            schema.register_table(contract.name.clone(), Arc::new(GuardedTable::new(inside, policy))).map_err(WarehouseError::broken)?;
        }
    }
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, Arc::new(schema)).map_err(WarehouseError::broken)?;
    let context = SessionContext::new_with_state(state(lake, memory_bytes_max).map_err(WarehouseError::broken)?);
    context.register_catalog(CATALOG, Arc::new(catalog));
    for function in MAKES_MUCH_OF_LITTLE {
        context.deregister_udf(function);
    }
    Ok(context)
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
