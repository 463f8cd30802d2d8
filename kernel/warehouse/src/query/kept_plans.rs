use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arrow_schema::DataType;
use datafusion::{
    common::{
        ScalarValue,
        config::ConfigOptions,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    datasource::source_as_provider,
    error::Result,
    execution::SessionState,
    logical_expr::{Expr, LogicalPlan, Volatility},
    optimizer::{
        Optimizer, OptimizerContext, eliminate_filter::EliminateFilter, propagate_empty_relation::PropagateEmptyRelation, push_down_filter::PushDownFilter,
        simplify_expressions::SimplifyExpressions,
    },
    prelude::SessionConfig,
};
use kernel_base::Rights;

use crate::{
    contract::Datasets,
    guard::{PlannedTable, planned_table},
};

// Limit: plans that are kept, some tens of kilobytes each. A plugin asks some ten queries, in each city with other rights.
const PLANS_MAX: usize = 512;
// Limit: SQL of a plan that is kept. What is longer has values written into it, and does not come again.
const SQL_BYTES_MAX: usize = 16 << 10;
// Limit: nodes of a plan that is kept, and parts of their expressions, some hundred bytes each. Short SQL makes a large plan when a WITH is used twice by one that
// is used twice, or when it has a long list.
const PARTS_MAX: usize = 1_000;

/// The optimized plans of queries, for those who ask the same with other values: to parse and optimize takes longer than many a query runs. A plan holds for one
/// caller's rights and the contracts in force, at every snapshot at which its tables have the same columns; it names no rows and no files.
pub(crate) struct KeptPlans {
    plans: Mutex<Plans>,
    after_binding: Optimizer,
    options: Arc<ConfigOptions>,
}

#[derive(Default)]
struct Plans {
    kept: HashMap<PlanKey, (Arc<KeptPlan>, u64)>,
    /// Counts look-ups: the plan that was not asked for longest leaves first.
    lookups: u64,
}

/// Who asks what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PlanKey {
    sql: String,
    rights: Arc<Rights>,
}

/// An optimized plan with placeholders.
struct KeptPlan {
    plan: LogicalPlan,
    asks: Asks,
    /// What its tables were planned by.
    datasets: Arc<Datasets>,
}

/// What a plan asks for before it can run.
#[derive(Default)]
struct Asks {
    /// The types of `$1`, `$2` …; `None` for one that is not used.
    types: Vec<Option<DataType>>,
    tables: Vec<Arc<PlannedTable>>,
    /// How large the plan is.
    parts: usize,
}

impl PlanKey {
    /// `None` for SQL that is too long to be kept.
    pub(super) fn new(sql: &str, rights: &Arc<Rights>) -> Option<PlanKey> {
        (sql.len() <= SQL_BYTES_MAX).then(|| PlanKey { sql: sql.to_owned(), rights: rights.clone() })
    }
}

impl KeptPlans {
    pub(crate) fn new() -> KeptPlans {
        let mut options = SessionConfig::new().options().as_ref().clone();
        options.optimizer.max_passes = 1;
        // What literals make of a plan that was optimized without them: conversions and conditions of values alone are computed, what no row can meet goes, and
        // comparisons of columns with literals go down to the tables, which take no other conditions.
        let after_binding = Optimizer::with_rules(vec![
            Arc::new(SimplifyExpressions::new()),
            Arc::new(EliminateFilter::new()),
            Arc::new(PropagateEmptyRelation::new()),
            Arc::new(PushDownFilter::new()),
        ]);
        KeptPlans { plans: Mutex::default(), after_binding, options: Arc::new(options) }
    }

    /// The plan that is kept, with these values in it, if it holds for them, for the contracts and at the snapshot.
    pub(super) async fn get(&self, key: &PlanKey, datasets: &Arc<Datasets>, snapshot: i64, values: &[ScalarValue]) -> Option<LogicalPlan> {
        let kept = self.look_up(key).filter(|kept| Arc::ptr_eq(&kept.datasets, datasets))?;
        let values = kept.asks.converted(values)?;
        for table in &kept.asks.tables {
            if !table.is_same_at(snapshot).await {
                return None;
            }
        }
        self.bound(&kept, values)
    }

    /// Keeps what a plan is optimized to, and gives it with these values in it; `None` when the plan is not fit to be kept, and has to be optimized with its values.
    pub(super) fn keep(
        &self,
        key: PlanKey,
        planner: &SessionState,
        plan: &LogicalPlan,
        datasets: Arc<Datasets>,
        values: &[ScalarValue],
    ) -> Option<LogicalPlan> {
        let asks = Asks::of(plan).ok()??;
        let values = asks.converted(values)?;
        // An error may come of a placeholder where a rule wants to compute, so it is none of the caller's yet.
        let kept = Arc::new(KeptPlan { plan: planner.optimize(plan).ok()?, asks, datasets });
        let bound = self.bound(&kept, values)?;
        self.insert(key, kept);
        Some(bound)
    }

    fn bound(&self, kept: &KeptPlan, values: Vec<ScalarValue>) -> Option<LogicalPlan> {
        if values.is_empty() {
            return Some(kept.plan.clone());
        }
        let bound = kept.plan.clone().with_param_values(values).ok()?;
        self.after_binding.optimize(bound, &OptimizerContext::new_with_config_options(self.options.clone()), |_, _| {}).ok()
    }

    fn look_up(&self, key: &PlanKey) -> Option<Arc<KeptPlan>> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.lookups += 1;
        let lookups = plans.lookups;
        let (kept, looked_up_at) = plans.kept.get_mut(key)?;
        *looked_up_at = lookups;
        Some(kept.clone())
    }

    fn insert(&self, key: PlanKey, kept: Arc<KeptPlan>) {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.kept.len() >= PLANS_MAX && !plans.kept.contains_key(&key) {
            let longest_ago = plans.kept.iter().min_by_key(|(_, (_, looked_up_at))| *looked_up_at).map(|(key, _)| key.clone());
            if let Some(key) = longest_ago {
                plans.kept.remove(&key);
            }
        }
        let lookups = plans.lookups;
        plans.kept.insert(key, (kept, lookups));
    }
}

impl Asks {
    /// Of a plan that is not optimized yet; `None` when other values, or another time, could make another plan of it than the rules after binding do.
    fn of(plan: &LogicalPlan) -> Result<Option<Asks>> {
        let (mut asks, mut is_fit) = (Asks::default(), true);
        plan.apply_with_subqueries(|node| {
            is_fit &= asks.note(node)? && asks.parts <= PARTS_MAX;
            Ok(if is_fit { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })?;
        Ok(is_fit.then_some(asks))
    }

    /// Notes what a node asks for; false when it makes the plan unfit.
    fn note(&mut self, node: &LogicalPlan) -> Result<bool> {
        let (mut is_fit, mut has_placeholder) = (true, false);
        self.parts += 1;
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                has_placeholder |= matches!(part, Expr::Placeholder(_));
                is_fit &= self.note_part(part);
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        Ok(is_fit
            && match node {
                LogicalPlan::TableScan(scan) => match planned_table(&source_as_provider(&scan.source)?) {
                    Some(table) => {
                        self.note_table(table);
                        true
                    }
                    // What a recursive query reads of itself, or cells.
                    None => false,
                },
                LogicalPlan::Limit(_) => !has_placeholder,
                // DataFusion lets a condition of values alone through an aggregate that gives a row for no rows.
                LogicalPlan::Filter(_) | LogicalPlan::Join(_) => !has_placeholder || !node.exists(|below| Ok(gives_row_of_nothing(below)))?,
                _ => true,
            })
    }

    fn note_part(&mut self, part: &Expr) -> bool {
        self.parts += 1;
        match part {
            Expr::Placeholder(placeholder) => {
                let index = placeholder.id.trim_start_matches('$').parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                // One that the planner knows no type for has that of its value.
                index.zip(placeholder.field.as_ref()).is_some_and(|(index, field)| self.note_type(index, field.data_type()))
            }
            // `now()` is a constant of the query that it is planned for.
            Expr::ScalarFunction(function) => function.func.signature().volatility != Volatility::Stable,
            _ => true,
        }
    }

    /// Whether the placeholder has this type wherever it is used.
    fn note_type(&mut self, index: usize, data_type: &DataType) -> bool {
        if self.types.len() <= index {
            self.types.resize(index + 1, None);
        }
        self.types[index].get_or_insert_with(|| data_type.clone()) == data_type
    }

    fn note_table(&mut self, table: &Arc<PlannedTable>) {
        if !self.tables.iter().any(|known| Arc::ptr_eq(known, table)) {
            self.tables.push(table.clone());
        }
    }

    /// The values as the plan has them; `None` when one is of another type, or is not there.
    fn converted(&self, values: &[ScalarValue]) -> Option<Vec<ScalarValue>> {
        if values.len() < self.types.len() {
            return None;
        }
        let converted = self.types.iter().zip(values).map(|(data_type, value)| match (data_type, value) {
            (Some(DataType::Utf8View), ScalarValue::Utf8(text)) => Some(ScalarValue::Utf8View(text.clone())),
            (Some(data_type), value) if value.data_type() != *data_type => None,
            (_, value) => Some(value.clone()),
        });
        converted.collect()
    }
}

fn gives_row_of_nothing(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty() || aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_plan_that_was_not_asked_for_longest_leaves_first() {
        let plans = KeptPlans::new();
        let datasets = Arc::new(Datasets::read([].into_iter()).unwrap());
        let key = |number: usize| PlanKey::new(&format!("select {number}"), &Arc::default()).unwrap();
        let insert = |number: usize| {
            assert!(plans.look_up(&key(number)).is_none());
            plans.insert(key(number), Arc::new(KeptPlan { plan: LogicalPlan::default(), asks: Asks::default(), datasets: datasets.clone() }));
        };
        (0..PLANS_MAX).for_each(insert);
        assert!(plans.look_up(&key(0)).is_some());
        insert(PLANS_MAX);
        assert!(plans.look_up(&key(0)).is_some() && plans.look_up(&key(PLANS_MAX)).is_some());
        assert!(plans.look_up(&key(1)).is_none());
        assert_eq!(plans.plans.lock().unwrap().kept.len(), PLANS_MAX);
    }

    #[test]
    fn long_sql_and_large_plans_are_not_kept() {
        assert!(PlanKey::new(&" ".repeat(SQL_BYTES_MAX), &Arc::default()).is_some());
        assert!(PlanKey::new(&" ".repeat(SQL_BYTES_MAX + 1), &Arc::default()).is_none());
        let nested = |nodes: usize| {
            let one = datafusion::logical_expr::LogicalPlanBuilder::empty(true);
            (1..nodes).fold(one, |plan, _| plan.alias("a").unwrap()).build().unwrap()
        };
        assert!(Asks::of(&nested(PARTS_MAX / 10)).unwrap().is_some());
        assert!(Asks::of(&nested(PARTS_MAX + 1)).unwrap().is_none());
        let with_list = |values: usize| {
            let list = (0..values).map(|value| datafusion::prelude::lit(value as i64)).collect();
            let one = datafusion::logical_expr::LogicalPlanBuilder::empty(true);
            one.filter(datafusion::prelude::lit(1_i64).in_list(list, false)).unwrap().build().unwrap()
        };
        assert!(Asks::of(&with_list(PARTS_MAX / 2)).unwrap().is_some());
        assert!(Asks::of(&with_list(PARTS_MAX)).unwrap().is_none());
    }

    #[test]
    fn values_are_those_of_the_planned_types_only() {
        let asks = Asks { types: vec![Some(DataType::Int64), None, Some(DataType::Utf8View)], ..Asks::default() };
        let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
        let converted = asks.converted(&[7_i64.into(), 2.5.into(), text("a"), text("unused")]).unwrap();
        assert_eq!(converted, [7_i64.into(), 2.5.into(), ScalarValue::Utf8View(Some("a".to_owned()))]);
        assert_eq!(asks.converted(&[7.0.into(), 2.5.into(), text("a")]), None, "a real number for an integer");
        assert_eq!(asks.converted(&[7_i64.into(), 2.5.into()]), None, "too few");
    }
}
