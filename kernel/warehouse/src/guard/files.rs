use std::sync::{Arc, LazyLock};

use datafusion::{
    catalog::Session,
    common::{DFSchema, config::ConfigOptions},
    error::Result,
    logical_expr::{BinaryExpr, Expr, Operator},
    physical_expr::conjunction,
    physical_optimizer::{PhysicalOptimizerRule, filter_pushdown::FilterPushdown},
    physical_plan::{
        ExecutionPlan,
        filter::FilterExec,
        statistics::{StatisticsArgs, StatisticsContext},
    },
};

use super::policy_exec::PolicyExec;

/// Conditions leave out groups of rows and pages by their statistics.
static BY_STATISTICS: LazyLock<ConfigOptions> = LazyLock::new(ConfigOptions::new);
/// And the columns that they name are read before the others, of which only the rows that pass are.
static BY_ROWS: LazyLock<ConfigOptions> = LazyLock::new(|| {
    let mut options = ConfigOptions::new();
    options.execution.parquet.pushdown_filters = true;
    options
});

/// Where conditions ask for certain values, their columns are read and little of the others: as much work as all columns of so many times fewer rows.
const TIMES_FEWER: usize = 16;

/// The rows in the files that a plan reads, after those files were left out that its conditions exclude; `None` when that is not known.
pub(super) fn rows_to_read(plan: &dyn ExecutionPlan) -> Result<Option<usize>> {
    if let Some(guard) = plan.downcast_ref::<PolicyExec>() {
        return Ok(guard.rows_to_read());
    }
    let children = plan.children();
    if children.is_empty() {
        let statistics = StatisticsContext::new().compute(plan, &StatisticsArgs::new())?;
        return Ok(statistics.num_rows.get_value().copied());
    }
    children.into_iter().try_fold(Some(0), |rows, child| Ok(rows.zip(rows_to_read(child.as_ref())?).map(|(rows, more)| rows + more)))
}

/// A scan, and how many rows it reads as far as that is known.
pub(super) type Scan = (Arc<dyn ExecutionPlan>, Option<usize>);

/// The scan of files, which may leave out rows that do not fit conditions; whoever wants them left out checks again. The engine does this for a filter above a
/// scan, but lets nothing through the guard between them.
pub(super) fn leave_out(state: &dyn Session, (scan, rows): Scan, conditions: &[Expr]) -> Result<Scan> {
    if conditions.is_empty() {
        return Ok((scan, rows));
    }
    let schema = DFSchema::try_from(scan.schema())?;
    // Those that few rows fit first: each is checked on what the ones before left.
    let (few, many): (Vec<&Expr>, Vec<&Expr>) = conditions.iter().partition(|condition| fits_few(condition));
    let (options, rows) = if few.is_empty() { (&BY_STATISTICS, rows) } else { (&BY_ROWS, rows.map(|rows| rows / TIMES_FEWER)) };
    // One that cannot be checked here leaves nothing out.
    let conditions = few.into_iter().chain(many).filter_map(|condition| state.create_physical_expr(condition.clone(), &schema).ok());
    let filtered = FilterExec::try_new(conjunction(conditions), scan)?;
    let plan = FilterPushdown::new().optimize(Arc::new(filtered), options)?;
    let below = plan.downcast_ref::<FilterExec>().map(|filter| filter.input().clone());
    Ok((below.unwrap_or(plan), rows))
}

/// Whether a condition asks for certain values of a column.
fn fits_few(condition: &Expr) -> bool {
    matches!(condition, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. })) || matches!(condition, Expr::InList(list) if !list.negated)
}
