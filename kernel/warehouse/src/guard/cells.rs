use std::{collections::BTreeSet, fmt, sync::Arc};

use arrow_schema::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    datasource::provider_as_source,
    error::{DataFusionError, Result},
    functions::datetime::expr_fn::{date_part, make_date},
    functions_aggregate::expr_fn::{count, count_distinct, sum},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, expr_rewriter::unnormalize_cols, utils::conjunction},
    physical_plan::ExecutionPlan,
    prelude::{col, lit, when},
};
use kernel_base::Rights;

use super::{
    Policy,
    leakproof::is_leakproof,
    policy_exec::{PolicyExec, Rule},
    table::{GuardedTable, Shows},
};
use crate::{
    append::Appender,
    contract::{CITY, CUSTOMER, ColumnContract, ColumnType, DAY, DatasetContract, MONTH, REVISION},
};

pub(crate) const ROW_COUNT: &str = "row_count";
pub(crate) const CUSTOMER_COUNT: &str = "customer_count";

/// A dataset as who may see no rows sees it: a row for each cell that the contract makes of city, and of the columns and month by which it is aggregated, with counts
/// and sums. Cells of fewer customers than the contract says are not there, and nothing of a query is computed of their rows.
#[derive(Debug)]
pub(crate) struct Cells {
    contract: Arc<DatasetContract>,
    policy: Policy,
    pub(crate) columns: Vec<CellColumn>,
}

/// A column of the cells.
#[derive(Debug, Clone)]
pub(crate) struct CellColumn {
    pub(crate) name: String,
    pub(crate) column_type: ColumnType,
    pub(crate) unit: Option<String>,
    pub(crate) meaning: String,
    holds: Holds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// A value that all rows of the cell have.
    Value,
    /// The month of their day.
    Month,
    Rows,
    Customers,
    /// The sum of a column that every row has.
    Sum,
    /// The sum of one that may be missing: of a cell in which too few customers have it nothing is said.
    SumOfSome,
}

impl Cells {
    /// `None` when the rights do not reach all by which the dataset is aggregated, or it is not.
    pub(crate) fn of(contract: &Arc<DatasetContract>, rights: &Rights) -> Option<Cells> {
        if contract.aggregated_by.is_empty() {
            return None;
        }
        let policy = Policy::of_cells(contract, rights)?;
        let shown = |name: &str| contract.column(name).filter(|(index, _)| policy.shown(*index).is_some()).map(|(_, column)| column);
        let mut columns = vec![value(shown(CITY)?)];
        for name in &contract.aggregated_by {
            columns.push(match shown(name) {
                Some(column) => value(column),
                None if name == MONTH && contract.column(MONTH).is_none() => month(shown(DAY)?),
                None => return None,
            });
        }
        columns.push(counted(ROW_COUNT, Holds::Rows, "Rows of the cell"));
        if contract.column(CUSTOMER).is_some() {
            columns.push(counted(CUSTOMER_COUNT, Holds::Customers, "Different customers of the cell; not to be added up over cells"));
        }
        let is_named = |column: &&ColumnContract| [CUSTOMER, REVISION].contains(&column.name.as_str()) || contract.key.contains(&column.name);
        let numbers = contract.columns.iter().filter(|column| matches!(column.column_type, ColumnType::Integer | ColumnType::Real) && !is_named(column));
        let sums: Vec<_> =
            numbers.filter(|column| !contract.aggregated_by.contains(&column.name)).filter_map(|column| shown(&column.name)).map(summed).collect();
        columns.extend(sums);
        Some(Cells { contract: contract.clone(), policy, columns })
    }

    /// Values have the types that the rows have, or no condition on them could be met below.
    fn schema(&self, rows: &Schema) -> SchemaRef {
        let data_type = |column: &CellColumn| match column.holds {
            Holds::Value => rows.field_with_name(&column.name).map_or_else(|_| column.column_type.arrow(), |field| field.data_type().clone()),
            _ => column.column_type.arrow(),
        };
        Arc::new(Schema::new(self.columns.iter().map(|column| Field::new(&column.name, data_type(column), true)).collect::<Vec<_>>()))
    }
}

fn value(column: &ColumnContract) -> CellColumn {
    let (name, unit, meaning) = (column.name.clone(), column.unit.clone(), column.meaning.clone());
    CellColumn { name, column_type: column.column_type, unit, meaning, holds: Holds::Value }
}

fn month(day: &ColumnContract) -> CellColumn {
    let (unit, meaning) = (Some(MONTH.to_owned()), format!("The first day of the month of `{}`", day.name));
    CellColumn { name: MONTH.to_owned(), column_type: ColumnType::Day, unit, meaning, holds: Holds::Month }
}

fn counted(name: &str, holds: Holds, meaning: &str) -> CellColumn {
    CellColumn { name: name.to_owned(), column_type: ColumnType::Integer, unit: None, meaning: meaning.to_owned(), holds }
}

fn summed(column: &ColumnContract) -> CellColumn {
    let meaning = format!("Sum over the cell: {}", column.meaning);
    let holds = if column.nullable { Holds::SumOfSome } else { Holds::Sum };
    CellColumn { meaning, holds, ..value(column) }
}

/// The cells of a dataset at the snapshot of a session.
pub(super) struct CellsTable {
    cells: Cells,
    rows: Arc<GuardedTable>,
    schema: SchemaRef,
}

impl CellsTable {
    /// Without the sums of columns that the dataset had not at the snapshot; `None` when it had not all that makes cells.
    pub(super) async fn open(appender: Arc<Appender>, mut cells: Cells, snapshot: i64) -> Result<Option<CellsTable>> {
        let (contract, policy) = (cells.contract.clone(), cells.policy.clone());
        let rows = Arc::new(GuardedTable::open(appender, contract, policy, Shows::Rows, snapshot).await?);
        let known = rows.schema();
        let is_there = |name: &str| known.index_of(name).is_ok();
        cells.columns.retain(|column| !matches!(column.holds, Holds::Sum | Holds::SumOfSome) || is_there(&column.name));
        let has_all = cells.columns.iter().all(|column| match column.holds {
            Holds::Value => is_there(&column.name),
            Holds::Month => is_there(DAY),
            Holds::Customers => is_there(CUSTOMER),
            Holds::Rows | Holds::Sum | Holds::SumOfSome => true,
        });
        let schema = cells.schema(&known);
        Ok(has_all.then_some(CellsTable { cells, rows, schema }))
    }

    /// A condition on what all rows of a cell have in common keeps whole cells, and can be met below them.
    fn is_of_cells(&self, filter: &Expr) -> bool {
        let is_value = |name: &str| self.cells.columns.iter().any(|column| column.name == name && column.holds == Holds::Value);
        filter.column_refs().into_iter().all(|column| is_value(&column.name)) && is_leakproof(&self.cells.policy, &self.rows.schema(), filter)
    }

    fn plan(&self, shown: &[usize], filters: &[Expr]) -> Result<LogicalPlan> {
        let least = lit(i64::from(self.cells.contract.minimum_group));
        let rows = LogicalPlanBuilder::scan("cell", provider_as_source(self.rows.clone()), None)?;
        let of_cells = filters.iter().filter(|filter| self.is_of_cells(filter)).cloned();
        let rows = match conjunction(unnormalize_cols(of_cells)) {
            Some(condition) => rows.filter(condition)?,
            None => rows,
        };
        let has_customers = self.cells.contract.column(CUSTOMER).is_some();
        let size = if has_customers { count_distinct(col(CUSTOMER)) } else { count(lit(1_i64)) };
        let (mut by, mut computed) = (Vec::new(), vec![size.alias(SIZE)]);
        let asked: BTreeSet<usize> = shown.iter().copied().collect();
        for (index, column) in self.cells.columns.iter().enumerate() {
            let name = column.name.as_str();
            match column.holds {
                Holds::Value => by.push(col(name)),
                // Not date_trunc, which fails on days that nanoseconds do not reach.
                Holds::Month => by.push(make_date(date_part(lit("year"), col(DAY)), date_part(lit("month"), col(DAY)), lit(1_i32)).alias(name)),
                // What is counted of each cell, of different customers above all, is counted for who asks.
                _ if !asked.contains(&index) => {}
                Holds::Rows => computed.push(count(lit(1_i64)).alias(name)),
                Holds::Customers => {}
                Holds::Sum => computed.push(sum(col(name)).alias(name)),
                Holds::SumOfSome => {
                    computed.push(sum(col(name)).alias(name));
                    computed.push(match has_customers {
                        true => count_distinct(when(col(name).is_not_null(), col(CUSTOMER)).end()?).alias(size_of(name)),
                        false => count(col(name)).alias(size_of(name)),
                    });
                }
            }
        }
        let large = rows.aggregate(by, computed)?.filter(col(SIZE).gt_eq(least.clone()))?;
        let columns = shown.iter().map(|index| {
            let column = &self.cells.columns[*index];
            Ok(match column.holds {
                Holds::Customers => col(SIZE).alias(CUSTOMER_COUNT),
                Holds::SumOfSome => when(col(size_of(&column.name)).gt_eq(least.clone()), col(&column.name)).end()?.alias(&column.name),
                _ => col(&column.name),
            })
        });
        large.project(columns.collect::<Result<Vec<_>>>()?)?.build()
    }
}

/// Names that no column of a contract has.
const SIZE: &str = "_size";

fn size_of(name: &str) -> String {
    format!("_size_of_{name}")
}

impl fmt::Debug for CellsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CellsTable")
    }
}

#[async_trait]
impl TableProvider for CellsTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let verdict = |filter: &&Expr| if self.is_of_cells(filter) { TableProviderFilterPushDown::Inexact } else { TableProviderFilterPushDown::Unsupported };
        Ok(filters.iter().map(verdict).collect())
    }

    async fn scan(&self, state: &dyn Session, projection: Option<&Vec<usize>>, filters: &[Expr], _: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let shown: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.cells.columns.len()).collect());
        // Cells are counted without any of their columns.
        let planned = if shown.is_empty() { vec![0] } else { shown.clone() };
        let inner = state.create_physical_plan(&self.plan(&planned, filters)?).await?;
        if inner.schema().fields().len() != planned.len() {
            return Err(DataFusionError::Internal("cells have other columns than they were asked for".to_owned()));
        }
        let columns = (0..shown.len()).map(|index| (index, None)).collect();
        let rule = Rule { cities: None, columns, schema: Arc::new(self.schema.project(&shown)?) };
        // What a query computes of cells is not computed of rows: the engine moves nothing below this.
        Ok(Arc::new(PolicyExec::new(inner, Arc::new(rule), None)))
    }
}
