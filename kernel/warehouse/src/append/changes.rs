use std::{fmt, sync::Arc};

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::ScalarValue,
    error::Result,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType, not},
    physical_plan::ExecutionPlan,
    prelude::{DataFrame, col, lit},
};

use super::Appender;
use crate::{
    contract::{DatasetContract, Mode},
    error::WarehouseError,
    lake::{Changes, TableName},
};

/// How a row of changes changed: 1 when it came, -1 when it went.
const CHANGE: &str = "_change";

/// The last column of changes.
pub(crate) fn change_column() -> FieldRef {
    Arc::new(Field::new(CHANGE, DataType::Int64, false))
}

impl Appender {
    /// The rows of a dataset that came after one snapshot and are there at another, and those that went, as whoever reads the dataset at both would see it: the rows of a
    /// file that came in several commits come with the last of them. `None` when nothing changed.
    pub(crate) async fn changes(&self, contract: &DatasetContract, after: i64, until: i64) -> Result<Option<Arc<dyn TableProvider>>, WarehouseError> {
        let table = TableName::dataset(&contract.name);
        let Some(columns) = self.lake.table(until, &table).await?.map(|table| table.schema()) else {
            return Ok(None);
        };
        let is_whole = |snapshot| match contract.mode {
            Mode::Append => self.partial_files.is_whole(&contract.name, snapshot),
            Mode::Latest => None,
        };
        let (before, now) = (is_whole(after), is_whole(until));
        let mut parts = Vec::new();
        if after == 0 {
            // All rows, of whose files the catalog knows what they hold.
            parts.extend(self.lake.frame(until, &table).await?.map(|rows| (rows, vec![now], 1)));
        } else {
            // First, since the union is planned in the session of the first.
            if let Some(Changes { inserted, removed }) = self.lake.changes(after, until, &table).await? {
                let whole = vec![before.clone(), now.clone()];
                parts.extend([(inserted, whole.clone(), 1), (removed, whole, -1)]);
            }
            // A file that was not whole at one of the snapshots is there at the other with all of its rows, or none.
            if let Some(before) = before.clone() {
                parts.extend(self.lake.frame(until, &table).await?.map(|rows| (rows, vec![Some(not(before)), now.clone()], 1)));
            }
            if let Some(now) = now {
                parts.extend(self.lake.frame(after, &table).await?.map(|rows| (rows, vec![Some(not(now)), before], -1)));
            }
        }
        let parts = parts.into_iter().map(|(rows, conditions, change)| marked(rows, conditions, &columns, change));
        let rows = parts.reduce(|rows, more| rows?.union(more?)).transpose().map_err(WarehouseError::broken)?;
        let fields = columns.fields().iter().cloned().chain([change_column()]).collect::<Vec<_>>();
        Ok(rows.map(|rows| Arc::new(PlannedRows { rows, schema: Arc::new(Schema::new(fields)) }) as _))
    }
}

/// The rows that fit conditions, in the columns of the later snapshot, and how they changed.
fn marked(mut rows: DataFrame, conditions: Vec<Option<Expr>>, columns: &Schema, change: i64) -> Result<DataFrame> {
    for condition in conditions.into_iter().flatten() {
        rows = rows.filter(condition)?;
    }
    let there = rows.schema().clone();
    let column = |field: &FieldRef| match there.has_column_with_unqualified_name(field.name()) {
        true => Ok(col(field.name().as_str())),
        false => ScalarValue::try_from(field.data_type()).map(|null| lit(null).alias(field.name())),
    };
    let selected = columns.fields().iter().map(column).chain([Ok(lit(change).alias(CHANGE))]);
    rows.select(selected.collect::<Result<Vec<_>>>()?)
}

/// Rows that are planned in the session that they were asked for in, whichever session scans them: its rules are those that they need.
struct PlannedRows {
    rows: DataFrame,
    schema: SchemaRef,
}

impl fmt::Debug for PlannedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlannedRows")
    }
}

#[async_trait]
impl TableProvider for PlannedRows {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(&self, _: &dyn Session, projection: Option<&Vec<usize>>, filters: &[Expr], _: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let mut rows = self.rows.clone();
        for filter in filters {
            rows = rows.filter(filter.clone())?;
        }
        if let Some(columns) = projection {
            rows = rows.select(columns.iter().map(|index| col(self.schema.field(*index).name().as_str())))?;
        }
        rows.create_physical_plan().await
    }
}
