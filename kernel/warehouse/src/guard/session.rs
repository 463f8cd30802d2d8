use std::{
    collections::{BTreeSet, HashMap},
    fmt, iter,
    sync::Arc,
};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider, TableProvider},
    common::tree_node::TreeNodeRecursion,
    datasource::source_as_provider,
    error::DataFusionError,
    execution::{
        SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext,
        memory_pool::{FairSpillPool, GreedyMemoryPool, MemoryPool},
        runtime_env::RuntimeEnvBuilder,
    },
    logical_expr::LogicalPlan,
    optimizer::{Optimizer, OptimizerRule},
    physical_plan::{ExecutionPlan, execute_stream},
    physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner},
    prelude::{SessionConfig, SessionContext},
};
use kernel_base::Rights;

use super::{
    Policy,
    cells::{Cells, CellsTable},
    files::rows_to_read,
    table::{GuardedTable, Shows, planned_table},
};
use crate::{
    append::Appender,
    contract::{DatasetContract, Datasets},
    distinct_counts::DistinctCounts,
    error::WarehouseError,
    settings::QueryLimits,
};

pub(crate) const CATALOG: &str = "backplane";
/// Of shared datasets; those of a plugin are in a schema of its own.
pub(crate) const SCHEMA: &str = "public";
/// The schema of the changes of shared datasets, and the catalog of those of plugins.
const CHANGES: &str = "changes";
/// The same of the cells of those that are seen so.
const AGGREGATES: &str = "aggregates";

// Limit: what a sort keeps back for merging what it has put on disk, on each core: the engine's own measure, or a part of the memory that leaves most of it for rows when
// several joins have two sorts each.
const SORT_RESERVATION_BYTES_MAX: usize = 10 << 20;
const SORT_RESERVATION_SHARE: usize = 32;

/// Makes the sessions of requests. What they share is made once: functions and rules are hundreds, and a small query should not wait for them.
pub(crate) struct Sessions {
    appender: Arc<Appender>,
    limits: QueryLimits,
    /// Of no catalog.
    blank: SessionState,
    /// The same without rules for the plans of the engine.
    bare: SessionState,
    /// The same as the first, and joins sort both sides.
    sorting: SessionState,
}

/// How a query uses its memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryUse {
    /// Whoever of its parts asks first has it, and joins hold one side: the fastest way, as long as it is enough.
    AsAsked,
    /// Each part has an equal share and puts the rest on disk, and joins sort both sides.
    Shared,
}

/// One request's way through the engine, at one snapshot: plans are made, laid out over the files and run.
pub(crate) struct GuardedSession<'a> {
    sessions: &'a Sessions,
    snapshot: i64,
    changes_after: i64,
    memory_bytes_max: u64,
}

/// The tables that a request may name.
pub(crate) struct Catalog<'a> {
    pub(crate) datasets: &'a Arc<Datasets>,
    pub(crate) rights: &'a Arc<Rights>,
    /// Whether tables show the columns that say where a row came from.
    pub(crate) with_origin: bool,
}

/// How a session scans its tables.
pub(super) struct Scans {
    pub(super) snapshot: i64,
    /// The snapshot after which changes are shown, 0 for all of them.
    pub(super) changes_after: i64,
    pub(super) looked_into_rows: usize,
}

impl Sessions {
    pub(crate) fn new(appender: Arc<Appender>, limits: QueryLimits) -> Sessions {
        let config =
            SessionConfig::new().with_default_catalog_and_schema(CATALOG, SCHEMA).with_create_default_catalog_and_schema(false).with_information_schema(false);
        let context = SessionContext::new_with_state(
            SessionStateBuilder::new()
                .with_config(config)
                .with_runtime_env(appender.lake().runtime_env().clone())
                .with_default_features()
                .with_optimizer_rules(optimizer_rules())
                // generate_series and range make rows from nothing, without end.
                .with_table_functions(HashMap::new())
                .build(),
        );
        for function in MAKES_MUCH_OF_LITTLE {
            context.deregister_udf(function);
        }
        let blank = context.state();
        let bare = SessionStateBuilder::new_from_existing(blank.clone()).with_physical_optimizer_rules(Vec::new()).build();
        let mut sorting = blank.clone();
        sorting.config_mut().options_mut().optimizer.prefer_hash_join = false;
        Sessions { appender, limits, blank, bare, sorting }
    }

    pub(crate) fn at(&self, snapshot: i64, changes_after: i64, memory_bytes_max: u64) -> GuardedSession<'_> {
        GuardedSession { sessions: self, snapshot, changes_after, memory_bytes_max }
    }
}

impl GuardedSession<'_> {
    pub(crate) fn snapshot(&self) -> i64 {
        self.snapshot
    }

    /// What plans SQL: its catalog holds the datasets that the rights reach, guarded, and nothing else. There is no table function, no information schema, no
    /// file table and no way to make any.
    pub(crate) fn planner(&self, catalog: &Catalog<'_>) -> Result<SessionState, WarehouseError> {
        let (rows, changes, cells) = (MemoryCatalogProvider::new(), MemoryCatalogProvider::new(), MemoryCatalogProvider::new());
        let register = |to: &MemoryCatalogProvider, name: &str, plugin: Option<&str>, seen| {
            let (appender, datasets, rights) = (self.sessions.appender.clone(), catalog.datasets.clone(), catalog.rights.clone());
            let plugin = plugin.map(str::to_owned);
            let schema = GuardedSchema { appender, datasets, rights, snapshot: self.snapshot, with_origin: catalog.with_origin, plugin, seen };
            to.register_schema(name, Arc::new(schema)).map_err(WarehouseError::broken)
        };
        register(&rows, SCHEMA, None, Seen::As(Shows::Rows))?;
        register(&rows, CHANGES, None, Seen::As(Shows::Changes))?;
        register(&rows, AGGREGATES, None, Seen::InCells)?;
        for plugin in plugins(catalog.datasets) {
            register(&rows, &plugin, Some(&plugin), Seen::As(Shows::Rows))?;
            register(&changes, &plugin, Some(&plugin), Seen::As(Shows::Changes))?;
            register(&cells, &plugin, Some(&plugin), Seen::InCells)?;
        }
        // A list of the session's own: the blank state's is shared.
        let catalogs = MemoryCatalogProviderList::new();
        catalogs.register_catalog(CATALOG.to_owned(), Arc::new(rows));
        catalogs.register_catalog(CHANGES.to_owned(), Arc::new(changes));
        catalogs.register_catalog(AGGREGATES.to_owned(), Arc::new(cells));
        let mut state = self.sessions.blank.clone();
        state.register_catalog_list(Arc::new(catalogs));
        state.mark_start_execution();
        Ok(state)
    }

    /// The columns of a dataset as a policy shows them.
    pub(crate) async fn columns(&self, contract: &Arc<DatasetContract>, policy: Policy) -> Result<SchemaRef, WarehouseError> {
        let table = GuardedTable::open(self.sessions.appender.clone(), contract.clone(), policy, Shows::Rows, self.snapshot).await;
        let failed = |source| WarehouseError::Storage { doing: "reading the columns of a dataset", source: Box::new(source) };
        Ok(table.map_err(failed)?.schema())
    }

    /// Lays an optimized plan out over the files.
    pub(crate) async fn lay_out(&self, plan: &LogicalPlan, memory: MemoryUse) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let planner = DefaultPhysicalPlanner::default();
        if memory == MemoryUse::Shared {
            return planner.create_physical_plan(plan, &self.state(&self.sessions.sorting)).await;
        }
        if !streams_through(plan)? {
            return planner.create_physical_plan(plan, &self.state(&self.sessions.blank)).await;
        }
        let laid_out = planner.create_physical_plan(plan, &self.state(&self.sessions.bare)).await?;
        if rows_to_read(laid_out.as_ref())?.is_none_or(|rows| rows >= self.sessions.limits.one_core_rows) {
            return planner.optimize_physical_plan(laid_out, &self.state(&self.sessions.blank), |_, _| {});
        }
        Ok(laid_out)
    }

    fn state(&self, of: &SessionState) -> SessionState {
        let mut state = of.clone();
        state.config_mut().set_extension(Arc::new(self.scans()));
        state.mark_start_execution();
        state
    }

    fn scans(&self) -> Scans {
        Scans { snapshot: self.snapshot, changes_after: self.changes_after, looked_into_rows: self.sessions.limits.looked_into_rows }
    }

    /// Runs a plan within the memory of the request.
    pub(crate) fn run(&self, plan: Arc<dyn ExecutionPlan>, memory: MemoryUse) -> Result<SendableRecordBatchStream, DataFusionError> {
        let memory_bytes_max = usize::try_from(self.memory_bytes_max).unwrap_or(usize::MAX);
        let memory: Arc<dyn MemoryPool> = match memory {
            MemoryUse::AsAsked => Arc::new(GreedyMemoryPool::new(memory_bytes_max)),
            MemoryUse::Shared => Arc::new(FairSpillPool::new(memory_bytes_max)),
        };
        let environment = RuntimeEnvBuilder::from_runtime_env(self.sessions.appender.lake().runtime_env()).with_memory_pool(memory).build_arc()?;
        let context = TaskContext::from(&self.sessions.blank);
        let mut config = context.session_config().clone();
        config.options_mut().execution.sort_spill_reservation_bytes =
            SORT_RESERVATION_BYTES_MAX.min(memory_bytes_max / SORT_RESERVATION_SHARE / config.target_partitions());
        execute_stream(plan, Arc::new(context.with_session_config(config).with_runtime(environment)))
    }
}

/// Those of the engine and, before them, ours.
fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    iter::once(Arc::new(DistinctCounts) as _).chain(Optimizer::new().rules).collect()
}

/// Whether rows go through the plan one by one, each where it comes. Such a plan can run as it is laid out: no rule of the engine has to bring rows together or in
/// an order, and what rules could do for it, spread the work over the cores, few rows do not need.
fn streams_through(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    let mut streams = true;
    plan.apply_with_subqueries(|node| {
        streams &= match node {
            // A table of cells has a plan of its own, in which rows come together.
            LogicalPlan::TableScan(scan) => planned_table(&source_as_provider(&scan.source)?).is_some(),
            LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Union(_) => true,
            _ => false,
        };
        Ok(if streams { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(streams)
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
    seen: Seen,
}

/// How a schema shows its datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    As(Shows),
    InCells,
}

impl GuardedSchema {
    fn contract(&self, table: &str) -> Option<&Arc<DatasetContract>> {
        match &self.plugin {
            // A quoted name with a dot would be a second way to a plugin's dataset.
            None if table.contains('.') => None,
            None => self.datasets.get(table),
            Some(plugin) => self.datasets.get(&format!("{plugin}.{table}")),
        }
    }

    fn policy(&self, contract: &DatasetContract) -> Option<Policy> {
        let policy = Policy::of(contract, &self.rights)?;
        Some(if self.with_origin { policy.with_origin(contract, &self.rights) } else { policy })
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
        let Some(contract) = self.contract(name) else {
            return Ok(None);
        };
        let appender = self.appender.clone();
        Ok(match self.seen {
            Seen::As(shows) => match self.policy(contract) {
                Some(policy) => Some(Arc::new(GuardedTable::open(appender, contract.clone(), policy, shows, self.snapshot).await?)),
                None => None,
            },
            Seen::InCells => match Cells::of(contract, &self.rights) {
                Some(cells) => CellsTable::open(appender, cells, self.snapshot).await?.map(|table| Arc::new(table) as _),
                None => None,
            },
        })
    }

    fn table_exist(&self, name: &str) -> bool {
        self.contract(name).is_some_and(|contract| match self.seen {
            Seen::As(_) => self.policy(contract).is_some(),
            Seen::InCells => Cells::of(contract, &self.rights).is_some(),
        })
    }
}

// Limit: these make values of any size from a number, outside of the memory that a query may take and before its deadline can stop it.
const MAKES_MUCH_OF_LITTLE: &[&str] = &["range", "generate_series", "array_repeat", "list_repeat", "array_resize", "list_resize", "repeat", "lpad", "rpad"];
