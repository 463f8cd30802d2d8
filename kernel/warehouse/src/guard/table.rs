use std::{fmt, sync::Arc};

use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    error::{DataFusionError, Result},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
    prelude::{col, lit},
};

use super::{
    Policy, city_index,
    leakproof::is_leakproof,
    policy_exec::{PolicyExec, Rule},
};
use crate::contract::CITY;

/// A dataset as one caller sees it: granted columns only, rows of its cities only, personal columns masked. Gives no statistics and no plan of what is inside.
pub(super) struct GuardedTable {
    inside: Arc<dyn TableProvider>,
    policy: Policy,
}

impl GuardedTable {
    pub(super) fn new(inside: Arc<dyn TableProvider>, policy: Policy) -> GuardedTable {
        GuardedTable { inside, policy }
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
            let city = city_index(&self.inside.schema()).ok_or_else(|| DataFusionError::Internal("a dataset without a city".to_owned()))?;
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
        Some(col(CITY).in_list(cities.iter().map(|city| lit(city.as_str())).collect(), false))
    }
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
        self.policy.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let verdict = |filter: &&Expr| match is_leakproof(&self.policy, filter) {
            // Inexact: files are skipped by it, rows are still judged above the policy.
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(verdict).collect())
    }

    async fn scan(&self, state: &dyn Session, projection: Option<&Vec<usize>>, filters: &[Expr], _: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = self.columns(projection)?;
        let below: Vec<Expr> = self.row_condition().into_iter().chain(filters.iter().filter(|filter| is_leakproof(&self.policy, filter)).cloned()).collect();
        // Never a limit: the inner scan would count rows that the caller does not see.
        let inner = self.inside.scan(state, Some(&columns.inner), &below, None).await?;
        let schema = match projection {
            Some(indexes) => Arc::new(self.policy.schema.project(indexes)?),
            None => self.policy.schema.clone(),
        };
        let rule = Rule { cities: columns.city.zip(self.policy.cities.clone()), columns: columns.output, schema };
        Ok(Arc::new(PolicyExec::new(inner, Arc::new(rule))))
    }
}
