use std::{fmt, sync::Arc};

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::ScalarValue,
    datasource::empty::EmptyTable,
    error::{DataFusionError, Result},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
    prelude::{col, lit},
};

use super::{
    Policy, Shown,
    files::{leave_out, rows_to_read},
    leakproof::is_leakproof,
    policy_exec::{PolicyExec, Rule},
    session::Scans,
};
use crate::{
    append::{Appender, change_column},
    contract::{CITY, DatasetContract},
    error::WarehouseError,
    lake::TableName,
};

/// A dataset as one caller sees it: granted columns only, rows of its cities only, personal columns masked. Gives no statistics and no plan of what is inside.
///
/// It has no rows of its own: a scan opens the table at the snapshot of its session, so that a plan holds as long as the columns are the same.
pub(super) struct GuardedTable {
    inside: Arc<PlannedTable>,
    policy: Policy,
    schema: SchemaRef,
}

/// The table behind a guard, with the columns that were planned for.
pub(crate) struct PlannedTable {
    appender: Arc<Appender>,
    contract: Arc<DatasetContract>,
    shows: Shows,
    columns: SchemaRef,
}

/// What a table shows of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    Rows,
    /// Which rows came and went, with a column at the end that says so.
    Changes,
}

/// The table of a plan, if it is a dataset's.
pub(crate) fn planned_table(provider: &Arc<dyn TableProvider>) -> Option<&Arc<PlannedTable>> {
    provider.downcast_ref::<GuardedTable>().map(|table| &table.inside)
}

impl PlannedTable {
    /// Whether what was planned with the table holds at a snapshot.
    pub(crate) async fn is_same_at(&self, snapshot: i64) -> bool {
        columns(&self.appender, &self.contract, self.shows, snapshot).await.is_ok_and(|columns| columns.fields() == self.columns.fields())
    }

    async fn open(&self, scans: &Scans) -> Result<Arc<dyn TableProvider>> {
        let table = match self.shows {
            Shows::Rows => self.appender.whole_files(&self.contract, scans.snapshot).await,
            Shows::Changes => self.appender.changes(&self.contract, scans.changes_after, scans.snapshot).await,
        };
        // The first rows make the table.
        let table = table.map_err(external)?.unwrap_or_else(|| Arc::new(EmptyTable::new(self.columns.clone())));
        // The policy goes by where a column stands.
        if table.schema().fields() != self.columns.fields() {
            return Err(DataFusionError::Internal(format!("the table of '{}' has other columns than were planned for", self.contract.name)));
        }
        Ok(table)
    }
}

async fn columns(appender: &Appender, contract: &DatasetContract, shows: Shows, snapshot: i64) -> Result<SchemaRef> {
    let table = appender.lake().table(snapshot, &TableName::dataset(&contract.name)).await.map_err(external)?;
    let columns = table.map_or_else(|| contract.table_schema(), |table| table.schema());
    Ok(match shows {
        Shows::Rows => columns,
        Shows::Changes => Arc::new(Schema::new(columns.fields().iter().cloned().chain([change_column()]).collect::<Vec<_>>())),
    })
}

fn external(error: WarehouseError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

impl GuardedTable {
    /// The table with the columns that it has at a snapshot.
    pub(super) async fn open(appender: Arc<Appender>, contract: Arc<DatasetContract>, mut policy: Policy, shows: Shows, snapshot: i64) -> Result<GuardedTable> {
        let columns = columns(&appender, &contract, shows, snapshot).await?;
        let of_dataset = columns.fields().len() - usize::from(shows == Shows::Changes);
        // Columns that the contract has added since the snapshot was made are not in it.
        policy.columns.retain(|shown| shown.index < of_dataset);
        policy.columns.extend((of_dataset..columns.fields().len()).map(|index| Shown { index, mask: None }));
        let fields = policy.columns.iter().map(|shown| field(columns.field(shown.index), shown)).collect::<Vec<_>>();
        let inside = Arc::new(PlannedTable { appender, contract, shows, columns });
        Ok(GuardedTable { inside, policy, schema: Arc::new(Schema::new(fields)) })
    }

    /// The columns of a scan: where each output column stands in the inner scan, the inner columns to read, and where the city is among them.
    fn columns(&self, projection: Option<&Vec<usize>>) -> Result<Columns> {
        let output: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.policy.columns.len()).collect());
        let mut columns = Columns { inner: Vec::new(), output: Vec::new(), city: None };
        for index in &output {
            let shown = &self.policy.columns[*index];
            columns.output.push((columns.inner.len(), shown.mask));
            columns.inner.push(shown.index);
        }
        if self.policy.cities.is_some() {
            let city = self.inside.columns.index_of(CITY)?;
            columns.city = Some(columns.inner.iter().position(|index| *index == city).unwrap_or_else(|| {
                columns.inner.push(city);
                columns.inner.len() - 1
            }));
        }
        Ok(columns)
    }

    /// The policy's own row condition, for the inner scan to skip files by; the node above checks it again.
    fn row_condition(&self) -> Option<Expr> {
        let cities = self.policy.cities.as_ref()?;
        // Of the column's own type, or files could not be skipped by it.
        let literal = |city: &String| match self.inside.columns.field_with_name(CITY).map(|field| field.data_type().clone()) {
            Ok(DataType::Utf8View) => lit(ScalarValue::Utf8View(Some(city.clone()))),
            _ => lit(city.as_str()),
        };
        Some(col(CITY).in_list(cities.iter().map(literal).collect(), false))
    }
}

/// The field as the caller sees it. A masked text is made anew, as a plain array; a mask may make a null of any other value.
fn field(column: &Field, shown: &Shown) -> Field {
    let data_type = match shown.mask {
        Some(_) if column.data_type().is_string() => DataType::Utf8,
        _ => column.data_type().clone(),
    };
    Field::new(column.name(), data_type, column.is_nullable() || shown.mask.is_some())
}

struct Columns {
    inner: Vec<usize>,
    output: Vec<(usize, Option<crate::contract::Mask>)>,
    city: Option<usize>,
}

impl fmt::Debug for GuardedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GuardedTable")
    }
}

#[async_trait]
impl TableProvider for GuardedTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let verdict = |filter: &&Expr| match is_leakproof(&self.policy, &self.schema, filter) {
            // Inexact: files are skipped by it, rows are still judged above the policy.
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(verdict).collect())
    }

    async fn scan(&self, state: &dyn Session, projection: Option<&Vec<usize>>, filters: &[Expr], _: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = self.columns(projection)?;
        let asked: Vec<Expr> = filters.iter().filter(|filter| is_leakproof(&self.policy, &self.schema, filter)).cloned().collect();
        let below: Vec<Expr> = self.row_condition().into_iter().chain(asked.iter().cloned()).collect();
        let Some(scans) = state.config().get_extension::<Scans>() else {
            return Err(DataFusionError::Internal("a guarded table is scanned in a session of no snapshot".to_owned()));
        };
        let inside = self.inside.open(&scans).await?;
        // Never a limit: the inner scan would count rows that the caller does not see.
        let inner = inside.scan(state, Some(&columns.inner), &below, None).await?;
        // A file has the rows of one city mostly, and whether it is one of the caller's the scan knows already. A view has conditions of its own, which are none of these.
        let rows = rows_to_read(inner.as_ref())?;
        let is_looked_into = inside.table_type() == TableType::Base && rows.is_none_or(|rows| rows >= scans.looked_into_rows);
        let (inner, rows) = if is_looked_into { leave_out(state, (inner, rows), &asked).await? } else { (inner, rows) };
        let (names, read) = (columns.inner.iter().map(|index| self.inside.columns.field(*index).name()), inner.schema());
        // Invariant: the policy finds columns by where they stand.
        if !names.eq(read.fields().iter().map(|field| field.name())) {
            return Err(DataFusionError::Internal("a scan gives other columns than it was asked for".to_owned()));
        }
        let schema = match projection {
            Some(indexes) => Arc::new(self.schema.project(indexes)?),
            None => self.schema.clone(),
        };
        let rule = Rule { cities: columns.city.zip(self.policy.cities.clone()), columns: columns.output, schema };
        Ok(Arc::new(PolicyExec::new(inner, Arc::new(rule), rows)))
    }
}
