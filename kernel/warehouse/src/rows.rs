use std::{borrow::Cow, fmt, sync::Arc};

use arrow_array::{
    Array, ArrayRef, RecordBatch,
    builder::{ArrayBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder},
    cast::AsArray,
    types::{Date32Type, Float64Type, Int64Type, TimestampMicrosecondType},
};
use arrow_schema::{DataType, SchemaRef, TimeUnit};

use crate::error::WarehouseError;

/// One cell, as the six types of a contract. Text is borrowed where the row is read from a text that lives longer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Text(Cow<'a, str>),
    Integer(i64),
    Real(f64),
    Boolean(bool),
    /// Microseconds since 1970, UTC.
    Instant(i64),
    /// Days since 1970.
    Day(i32),
}

/// A cell that holds its own text.
pub(crate) type Value = Cell<'static>;

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Cell::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Cell::Text(Cow::Owned(text))
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Value::Integer(number)
    }
}

impl From<u64> for Cell<'_> {
    fn from(number: u64) -> Self {
        Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl<'a, T: Into<Cell<'a>>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

/// Rows on their way to Arrow: values are pushed in the order of the schema.
pub(crate) struct RowsBuilder {
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
}

enum ColumnBuilder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Real(Float64Builder),
    Boolean(BooleanBuilder),
    Instant(TimestampMicrosecondBuilder),
    Day(Date32Builder),
}

impl RowsBuilder {
    pub(crate) fn new(schema: SchemaRef) -> Result<RowsBuilder, WarehouseError> {
        let columns = schema.fields().iter().map(|field| ColumnBuilder::of(field.data_type())).collect::<Result<_, _>>()?;
        Ok(RowsBuilder { schema, columns })
    }

    /// Adds a row; every value must have its column's type.
    pub(crate) fn push(&mut self, row: Vec<Cell<'_>>) -> Result<(), WarehouseError> {
        self.push_cells(&row)
    }

    /// The same from cells that are used again for the next row.
    pub(crate) fn push_cells(&mut self, row: &[Cell<'_>]) -> Result<(), WarehouseError> {
        if row.len() != self.columns.len() {
            return Err(WarehouseError::broken(format!("a row of {} values for {} columns", row.len(), self.columns.len())));
        }
        for ((builder, value), field) in self.columns.iter_mut().zip(row).zip(self.schema.fields()) {
            if !builder.push(value) {
                return Err(WarehouseError::broken(format!("column '{}' was given a value of another type", field.name())));
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> Result<RecordBatch, WarehouseError> {
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        RecordBatch::try_new(self.schema.clone(), columns).map_err(WarehouseError::broken)
    }
}

impl ColumnBuilder {
    fn of(data_type: &DataType) -> Result<ColumnBuilder, WarehouseError> {
        Ok(match data_type {
            DataType::Utf8 => ColumnBuilder::Text(StringBuilder::new()),
            DataType::Int64 => ColumnBuilder::Integer(Int64Builder::new()),
            DataType::Float64 => ColumnBuilder::Real(Float64Builder::new()),
            DataType::Boolean => ColumnBuilder::Boolean(BooleanBuilder::new()),
            DataType::Date32 => ColumnBuilder::Day(Date32Builder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) => {
                ColumnBuilder::Instant(TimestampMicrosecondBuilder::new().with_timezone(Arc::clone(zone)))
            }
            other => return Err(WarehouseError::broken(format!("no column of a contract has the type {other}"))),
        })
    }

    /// Whether the value fitted.
    fn push(&mut self, cell: &Cell<'_>) -> bool {
        match (self, cell) {
            (ColumnBuilder::Text(builder), Cell::Text(text)) => builder.append_value(text),
            (ColumnBuilder::Integer(builder), Cell::Integer(number)) => builder.append_value(*number),
            (ColumnBuilder::Real(builder), Cell::Real(number)) => builder.append_value(*number),
            (ColumnBuilder::Boolean(builder), Cell::Boolean(truth)) => builder.append_value(*truth),
            (ColumnBuilder::Instant(builder), Cell::Instant(micros)) => builder.append_value(*micros),
            (ColumnBuilder::Day(builder), Cell::Day(day)) => builder.append_value(*day),
            (ColumnBuilder::Text(builder), Cell::Null) => builder.append_null(),
            (ColumnBuilder::Integer(builder), Cell::Null) => builder.append_null(),
            (ColumnBuilder::Real(builder), Cell::Null) => builder.append_null(),
            (ColumnBuilder::Boolean(builder), Cell::Null) => builder.append_null(),
            (ColumnBuilder::Instant(builder), Cell::Null) => builder.append_null(),
            (ColumnBuilder::Day(builder), Cell::Null) => builder.append_null(),
            _ => return false,
        }
        true
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            ColumnBuilder::Text(builder) => ArrayBuilder::finish(builder),
            ColumnBuilder::Integer(builder) => ArrayBuilder::finish(builder),
            ColumnBuilder::Real(builder) => ArrayBuilder::finish(builder),
            ColumnBuilder::Boolean(builder) => ArrayBuilder::finish(builder),
            ColumnBuilder::Instant(builder) => ArrayBuilder::finish(builder),
            ColumnBuilder::Day(builder) => ArrayBuilder::finish(builder),
        }
    }
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Null => f.write_str("null"),
            Cell::Text(text) => f.write_str(text),
            Cell::Integer(number) => write!(f, "{number}"),
            Cell::Real(number) => write!(f, "{number}"),
            Cell::Boolean(truth) => write!(f, "{truth}"),
            Cell::Instant(micros) => write!(f, "{micros}"),
            Cell::Day(day) => write!(f, "{day}"),
        }
    }
}

/// One cell of an array whose type a contract may have.
pub(crate) fn value_at(array: &dyn Array, row: usize) -> Result<Value, WarehouseError> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    let value = match array.data_type() {
        DataType::Utf8 => array.as_string_opt::<i32>().map(|texts| Value::from(texts.value(row).to_owned())),
        DataType::Utf8View => array.as_string_view_opt().map(|texts| Value::from(texts.value(row).to_owned())),
        DataType::Int64 => array.as_primitive_opt::<Int64Type>().map(|numbers| Value::Integer(numbers.value(row))),
        DataType::Float64 => array.as_primitive_opt::<Float64Type>().map(|numbers| Value::Real(numbers.value(row))),
        DataType::Boolean => array.as_boolean_opt().map(|truths| Value::Boolean(truths.value(row))),
        DataType::Date32 => array.as_primitive_opt::<Date32Type>().map(|days| Value::Day(days.value(row))),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            array.as_primitive_opt::<TimestampMicrosecondType>().map(|instants| Value::Instant(instants.value(row)))
        }
        _ => None,
    };
    value.ok_or_else(|| WarehouseError::broken(format!("no column of a contract has the type {}", array.data_type())))
}
