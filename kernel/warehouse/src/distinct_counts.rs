use std::sync::Arc;

use datafusion::{
    common::{
        Column, NullEquality, Result,
        tree_node::{Transformed, TreeNode},
    },
    datasource::source_as_provider,
    logical_expr::{
        Aggregate, Expr, JoinType, LogicalPlan, LogicalPlanBuilder,
        expr::{AggregateFunction, AggregateFunctionParams},
    },
    optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule},
};

use crate::guard::planned_table;

// Limit: columns that are counted so: each reads the rows once more, and the plan grows with the square of them.
const COLUMNS_MAX: usize = 8;

/// Counts the different values of several columns in each group: every column in an aggregate of its own, which are joined by the group. The engine does so for one
/// column; of several it keeps a set for each group and column, and a million groups take minutes.
///
/// Only where the rows can be read again at little cost, from a table with conditions.
#[derive(Debug)]
pub(crate) struct DistinctCounts;

impl OptimizerRule for DistinctCounts {
    fn name(&self) -> &'static str {
        "distinct_counts"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else {
            return Ok(Transformed::no(plan));
        };
        // What cannot be written so, such as two groups of one name, stays as it is.
        match Counts::of(aggregate).and_then(|counts| counts.joined(aggregate).ok()) {
            Some(joined) => Ok(Transformed::yes(joined)),
            None => Ok(Transformed::no(plan)),
        }
    }
}

/// The aggregates of a node.
struct Counts<'a> {
    /// Those that see every row, with their places.
    plain: Vec<(usize, &'a Expr)>,
    /// The counts of different values.
    distinct: Vec<(usize, &'a AggregateFunction)>,
}

impl Counts<'_> {
    fn of(aggregate: &Aggregate) -> Option<Counts<'_>> {
        if aggregate.group_expr.is_empty() || aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_))) || !is_read_again(&aggregate.input)
        {
            return None;
        }
        let mut counts = Counts { plain: Vec::new(), distinct: Vec::new() };
        for (place, expression) in aggregate.aggr_expr.iter().enumerate() {
            match unaliased(expression) {
                Expr::AggregateFunction(function) if !function.params.distinct => counts.plain.push((place, expression)),
                Expr::AggregateFunction(function) if is_count(function) => counts.distinct.push((place, function)),
                _ => return None,
            }
        }
        let first = counts.distinct.first()?.1;
        if counts.distinct.len() > COLUMNS_MAX {
            return None;
        }
        counts.distinct.iter().any(|(_, function)| function.params.args != first.params.args).then_some(counts)
    }

    fn joined(&self, aggregate: &Aggregate) -> Result<LogicalPlan> {
        let groups = aggregate.group_expr.len();
        let input = || LogicalPlanBuilder::from(Arc::unwrap_or_clone(aggregate.input.clone()));
        let plain = input().aggregate(aggregate.group_expr.clone(), self.plain.iter().map(|(_, expression)| (*expression).clone()))?;
        let mut joined = named(plain, |column| if column < groups { group(0, column) } else { value(self.plain[column - groups].0) })?;
        for (turn, (place, function)) in (1..).zip(&self.distinct) {
            let different = input().aggregate(aggregate.group_expr.iter().chain(&function.params.args).cloned(), Vec::<Expr>::new())?;
            let columns: Vec<Expr> = different.schema().columns().into_iter().map(Expr::Column).collect();
            let counted = different.aggregate(columns[..groups].to_vec(), [function.func.call(columns[groups..].to_vec())])?;
            let counted = named(counted, |column| if column < groups { group(turn, column) } else { value(*place) })?.build()?;
            let keys = |turn| (0..groups).map(|column| Column::from_name(group(turn, column))).collect::<Vec<_>>();
            joined = joined.join_detailed(counted, JoinType::Inner, (keys(0), keys(turn)), None, NullEquality::NullEqualsNull)?;
        }
        let names = aggregate.schema.iter().enumerate().map(|(column, (qualifier, field))| {
            let name = if column < groups { group(0, column) } else { value(column - groups) };
            Expr::Column(Column::from_name(name)).alias_qualified(qualifier.cloned(), field.name())
        });
        joined.project(names)?.build()
    }
}

fn group(turn: usize, column: usize) -> String {
    format!("__group_{turn}_{column}")
}

fn value(place: usize) -> String {
    format!("__value_{place}")
}

fn named(plan: LogicalPlanBuilder, name: impl Fn(usize) -> String) -> Result<LogicalPlanBuilder> {
    let columns = plan.schema().columns().into_iter().enumerate().map(|(column, there)| Expr::Column(there).alias(name(column)));
    let columns: Vec<Expr> = columns.collect();
    plan.project(columns)
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        expression => expression,
    }
}

fn is_count(function: &AggregateFunction) -> bool {
    let AggregateFunctionParams { args, filter, order_by, null_treatment, .. } = &function.params;
    function.func.name() == "count" && args.len() == 1 && filter.is_none() && order_by.is_empty() && null_treatment.is_none()
}

/// Whether a plan gives the same rows again, and reads them from one table of ours.
fn is_read_again(plan: &LogicalPlan) -> bool {
    let is_simple = match plan {
        // What a recursive query reads of itself is there once.
        LogicalPlan::TableScan(scan) => source_as_provider(&scan.source).is_ok_and(|provider| planned_table(&provider).is_some()),
        LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => true,
        _ => false,
    };
    is_simple && plan.expressions().iter().all(is_plain) && plan.inputs().into_iter().all(is_read_again)
}

/// Whether an expression gives the same for the same row each time, and asks no other rows.
fn is_plain(expression: &Expr) -> bool {
    let asks_others = |part: &Expr| matches!(part, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_));
    !expression.is_volatile() && !expression.contains_outer() && !expression.exists(|part| Ok(asks_others(part))).unwrap_or(true)
}
