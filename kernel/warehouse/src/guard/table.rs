use std::{fmt, sync::Arc};

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::ScalarValue,
    error::Result,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
    prelude::{col, lit},
};

use super::{
    Policy, Shown,
    leakproof::is_leakproof,
    policy_exec::{PolicyExec, Rule},
};
use crate::contract::CITY;

/// A dataset as one caller sees it: granted columns only, rows of its cities only, personal columns masked. Gives no statistics and no plan of what is inside.
pub(super) struct GuardedTable {
    inside: Arc<dyn TableProvider>,
    policy: Policy,
    schema: SchemaRef,
}

impl GuardedTable {
    pub(super) fn new(inside: Arc<dyn TableProvider>, mut policy: Policy) -> GuardedTable {
        let table = inside.schema();
        // Columns that the contract has added since the snapshot was made are not in it.
        policy.columns.retain(|shown| shown.index < table.fields().len());
        let fields = policy.columns.iter().map(|shown| field(table.field(shown.index), shown)).collect::<Vec<_>>();
        GuardedTable { inside, policy, schema: Arc::new(Schema::new(fields)) }
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
            let city = self.inside.schema().index_of(CITY)?;
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
        let literal = |city: &String| match self.inside.schema().field_with_name(CITY).map(|field| field.data_type().clone()) {
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
        let below: Vec<Expr> =
            self.row_condition().into_iter().chain(filters.iter().filter(|filter| is_leakproof(&self.policy, &self.schema, filter)).cloned()).collect();
        // Never a limit: the inner scan would count rows that the caller does not see.
        let inner = self.inside.scan(state, Some(&columns.inner), &below, None).await?;
        let schema = match projection {
            Some(indexes) => Arc::new(self.schema.project(indexes)?),
            None => self.schema.clone(),
        };
        let rule = Rule { cities: columns.city.zip(self.policy.cities.clone()), columns: columns.output, schema };
        Ok(Arc::new(PolicyExec::new(inner, Arc::new(rule))))
    }
}
