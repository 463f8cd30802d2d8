use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arrow_schema::DataType;
use datafusion::{
    catalog::TableProvider,
    common::{
        ScalarValue,
        config::ConfigOptions,
        tree_node::{TreeNode, TreeNodeRecursion},
    },
    datasource::source_as_provider,
    logical_expr::{Expr, LogicalPlan, Volatility},
    optimizer::{
        Optimizer, OptimizerContext, eliminate_filter::EliminateFilter, propagate_empty_relation::PropagateEmptyRelation, push_down_filter::PushDownFilter,
        simplify_expressions::SimplifyExpressions,
    },
    prelude::SessionConfig,
};
use kernel_base::Rights;

use super::errors;
use crate::{contract::Datasets, error::WarehouseError, guard::is_as_planned};

// Limit: plans that are kept, some tens of kilobytes each. A plugin asks some ten queries, in each city with other rights.
const PLANS_MAX: usize = 512;
// Limit: SQL of a plan that is kept. What is longer has values written into it, and does not come again.
const SQL_BYTES_MAX: usize = 16 << 10;

/// The optimized plans of queries, for those who ask the same with other values: to parse and optimize takes longer than many a query runs. A plan holds for one
/// caller's rights and the contracts in force, at every snapshot at which its tables have the same columns; it names no rows and no files.
pub(crate) struct KeptPlans {
    plans: Mutex<Plans>,
    /// What is left to do once the values are there: conditions on columns go down to the tables only as comparisons with literals.
    finish: Optimizer,
    options: Arc<ConfigOptions>,
}

#[derive(Default)]
struct Plans {
    kept: HashMap<Question, (Arc<KeptPlan>, u64)>,
    /// Counts look-ups: the plan that was not asked for longest leaves first.
    looks: u64,
}

/// Who asks what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) sql: String,
    pub(super) rights: Arc<Rights>,
}

/// An optimized plan with places for values.
pub(super) struct KeptPlan {
    plan: LogicalPlan,
    places: Places,
    /// What its tables were planned by.
    datasets: Arc<Datasets>,
    tables: Vec<Arc<dyn TableProvider>>,
}

/// The types of the places `$1`, `$2` …; `None` for one that is not used.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Places(Vec<Option<DataType>>);

impl KeptPlans {
    pub(crate) fn new() -> KeptPlans {
        let mut options = SessionConfig::new().options().as_ref().clone();
        options.optimizer.max_passes = 1;
        let finish = Optimizer::with_rules(vec![
            Arc::new(SimplifyExpressions::new()),
            Arc::new(EliminateFilter::new()),
            Arc::new(PropagateEmptyRelation::new()),
            Arc::new(PushDownFilter::new()),
        ]);
        KeptPlans { plans: Mutex::default(), finish, options: Arc::new(options) }
    }

    /// The plan that is kept, if it holds for these contracts and this snapshot.
    pub(super) async fn get(&self, question: &Question, datasets: &Arc<Datasets>, snapshot: i64) -> Result<Option<Arc<KeptPlan>>, WarehouseError> {
        let Some(kept) = self.look(question).filter(|kept| Arc::ptr_eq(&kept.datasets, datasets)) else {
            return Ok(None);
        };
        for table in &kept.tables {
            if !is_as_planned(table, snapshot).await.map_err(errors::while_planning)? {
                return Ok(None);
            }
        }
        Ok(Some(kept))
    }

    fn look(&self, question: &Question) -> Option<Arc<KeptPlan>> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.looks += 1;
        let looks = plans.looks;
        let (kept, looked_at) = plans.kept.get_mut(question)?;
        *looked_at = looks;
        Some(kept.clone())
    }

    pub(super) fn keep(&self, question: Question, plan: KeptPlan) -> Arc<KeptPlan> {
        let plan = Arc::new(plan);
        if question.sql.len() <= SQL_BYTES_MAX {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            if plans.kept.len() >= PLANS_MAX && !plans.kept.contains_key(&question) {
                let longest_ago = plans.kept.iter().min_by_key(|(_, (_, looked_at))| *looked_at).map(|(question, _)| question.clone());
                longest_ago.map(|question| plans.kept.remove(&question));
            }
            let looks = plans.looks;
            plans.kept.insert(question, (plan.clone(), looks));
        }
        plan
    }

    /// The plan with values in its places; `None` when they are not of the types that it was planned for.
    pub(super) fn with_values(&self, kept: &KeptPlan, values: &[ScalarValue]) -> Result<Option<LogicalPlan>, WarehouseError> {
        let Some(values) = kept.places.fitting(values) else {
            return Ok(None);
        };
        if values.is_empty() {
            return Ok(Some(kept.plan.clone()));
        }
        let bound = kept.plan.clone().with_param_values(values).map_err(errors::while_planning)?;
        let context = OptimizerContext::new_with_config_options(self.options.clone());
        self.finish.optimize(bound, &context, |_, _| {}).map(Some).map_err(errors::while_planning)
    }
}

impl KeptPlan {
    pub(super) fn new(plan: LogicalPlan, places: Places, datasets: Arc<Datasets>) -> Result<KeptPlan, WarehouseError> {
        let mut tables = Vec::new();
        let mut note = |node: &LogicalPlan| {
            if let LogicalPlan::TableScan(scan) = node {
                tables.push(source_as_provider(&scan.source)?);
            }
            Ok(TreeNodeRecursion::Continue)
        };
        plan.apply_with_subqueries(&mut note).map_err(errors::while_planning)?;
        Ok(KeptPlan { plan, places, datasets, tables })
    }
}

impl Places {
    /// The places of a plan that is not optimized yet; `None` when other values, or another time, could make another plan of it.
    pub(super) fn of(plan: &LogicalPlan) -> Result<Option<Places>, WarehouseError> {
        let (mut places, mut is_fit) = (Places::default(), true);
        let mut note = |part: &Expr| {
            is_fit &= places.note(part);
            Ok(TreeNodeRecursion::Continue)
        };
        plan.apply_with_subqueries(|node| node.apply_expressions(|expression| expression.apply(&mut note))).map_err(errors::while_planning)?;
        Ok(is_fit.then_some(places))
    }

    fn note(&mut self, part: &Expr) -> bool {
        match part {
            Expr::Placeholder(place) => {
                let index = place.id.trim_start_matches('$').parse::<usize>().ok().and_then(|place| place.checked_sub(1));
                // What the planner knows no type for has that of its value.
                index.zip(place.field.as_ref()).is_some_and(|(index, field)| self.note_type(index, field.data_type()))
            }
            // `now()` is a constant of the query that it is planned for.
            Expr::ScalarFunction(function) => function.func.signature().volatility != Volatility::Stable,
            _ => true,
        }
    }

    /// Whether the place has this type wherever it is used.
    fn note_type(&mut self, index: usize, data_type: &DataType) -> bool {
        if self.0.len() <= index {
            self.0.resize(index + 1, None);
        }
        self.0[index].get_or_insert_with(|| data_type.clone()) == data_type
    }

    /// The values as the plan has them; `None` when one is of another type, or is not there.
    pub(super) fn fitting(&self, values: &[ScalarValue]) -> Option<Vec<ScalarValue>> {
        if values.len() < self.0.len() {
            return None;
        }
        let fitting = self.0.iter().zip(values).map(|(data_type, value)| match (data_type, value) {
            (Some(DataType::Utf8View), ScalarValue::Utf8(text)) => Some(ScalarValue::Utf8View(text.clone())),
            (Some(data_type), value) if value.data_type() != *data_type => None,
            (_, value) => Some(value.clone()),
        });
        fitting.collect()
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
        let question = |number: usize| Question { sql: format!("select {number}"), rights: Arc::default() };
        let keep = |number: usize| plans.keep(question(number), KeptPlan::new(LogicalPlan::default(), Places::default(), datasets.clone()).unwrap());
        (0..PLANS_MAX).for_each(|number| drop(keep(number)));
        assert!(plans.look(&question(0)).is_some());
        keep(PLANS_MAX);
        assert!(plans.look(&question(0)).is_some() && plans.look(&question(PLANS_MAX)).is_some());
        assert!(plans.look(&question(1)).is_none());
        assert_eq!(plans.plans.lock().unwrap().kept.len(), PLANS_MAX);
        let long = Question { sql: " ".repeat(SQL_BYTES_MAX + 1), ..question(0) };
        plans.keep(long.clone(), KeptPlan::new(LogicalPlan::default(), Places::default(), datasets).unwrap());
        assert!(plans.look(&long).is_none());
    }

    #[test]
    fn values_fit_a_plan_of_their_own_types_only() {
        let places = Places(vec![Some(DataType::Int64), None, Some(DataType::Utf8View)]);
        let text = |text: &str| ScalarValue::Utf8(Some(text.to_owned()));
        let fitting = places.fitting(&[7_i64.into(), 2.5.into(), text("a"), text("unused")]).unwrap();
        assert_eq!(fitting, [7_i64.into(), 2.5.into(), ScalarValue::Utf8View(Some("a".to_owned()))]);
        assert_eq!(places.fitting(&[7.0.into(), 2.5.into(), text("a")]), None, "a real number for an integer");
        assert_eq!(places.fitting(&[7_i64.into(), 2.5.into()]), None, "too few");
    }
}
