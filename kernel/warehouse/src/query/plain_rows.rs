use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use crate::error::WarehouseError;

/// Rows in plain types, which every reader of Arrow knows: no views, no dictionaries.
pub(crate) struct PlainRows {
    pub(crate) schema: SchemaRef,
}

impl PlainRows {
    pub(crate) fn of(schema: &Schema) -> PlainRows {
        let fields: Vec<Field> = schema.fields().iter().map(|field| Field::new(field.name(), plain(field.data_type()), field.is_nullable())).collect();
        PlainRows { schema: Arc::new(Schema::new(fields)) }
    }

    /// With columns that may have nulls, whatever a plan knows of that: two plans of one query may know differently.
    pub(crate) fn nullable(schema: &Schema) -> PlainRows {
        let fields: Vec<Field> = schema.fields().iter().map(|field| Field::new(field.name(), plain(field.data_type()), true)).collect();
        PlainRows { schema: Arc::new(Schema::new(fields)) }
    }

    pub(crate) fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch, WarehouseError> {
        let columns = batch.columns().iter().zip(self.schema.fields()).map(|(column, field)| cast(column, field.data_type()));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(WarehouseError::broken)?;
        // A batch without columns (SELECT from nothing) still has rows.
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(WarehouseError::broken)
    }
}

fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            DataType::List(Arc::new(Field::new(item.name(), plain(item.data_type()), item.is_nullable())))
        }
        other => other.clone(),
    }
}
