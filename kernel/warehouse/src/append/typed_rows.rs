use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use prost_types::{Struct, Value, value::Kind};

use crate::{
    contract::{ColumnContract, ColumnType, DatasetContract},
    day::day_number,
    error::WarehouseError,
    rows::{Cell, RowsBuilder},
};

/// The largest whole number below which a double tells every one from the next.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Rows of plain values as columns of the contract's types: those that a row names, in the contract's order; a row that lacks one of them has null in it.
///
/// # Errors
/// ROWS_INVALID with row and column.
pub(super) fn read(contract: &DatasetContract, rows: &[Struct]) -> Result<RecordBatch, WarehouseError> {
    refuse_unknown(contract, rows)?;
    let named: Vec<&ColumnContract> = contract.columns.iter().filter(|column| rows.iter().any(|row| row.fields.contains_key(&column.name))).collect();
    if named.is_empty() {
        return Err(WarehouseError::rows("the rows are empty objects: name columns in them"));
    }
    let fields: Vec<Field> = named.iter().map(|column| Field::new(&column.name, column.column_type.arrow(), true)).collect();
    let mut builder = RowsBuilder::new(Schema::new(fields).into())?;
    let mut cells = Vec::with_capacity(named.len());
    for (index, row) in rows.iter().enumerate() {
        cells.clear();
        for column in &named {
            let value = row.fields.get(&column.name).and_then(|value| value.kind.as_ref());
            let cell = value.map_or(Ok(Cell::Null), |value| cell(column.column_type, value));
            cells.push(cell.map_err(|expected| WarehouseError::row(index, &column.name, format!("expected {expected}; found {}", shown(value))))?);
        }
        builder.push_cells(&cells)?;
    }
    builder.finish()
}

fn refuse_unknown(contract: &DatasetContract, rows: &[Struct]) -> Result<(), WarehouseError> {
    for (index, row) in rows.iter().enumerate() {
        if let Some(name) = row.fields.keys().find(|name| contract.column(name).is_none()) {
            let name: String = name.chars().take(80).collect();
            return Err(WarehouseError::row(index, &name, contract.no_such_column()));
        }
    }
    Ok(())
}

/// The value in the column's type, if it is exactly one.
///
/// # Errors
/// What was expected.
fn cell(column_type: ColumnType, value: &Kind) -> Result<Cell<'_>, &'static str> {
    match (column_type, value) {
        (_, Kind::NullValue(_)) => Ok(Cell::Null),
        (ColumnType::Text, Kind::StringValue(text)) => Ok(text.as_str().into()),
        (ColumnType::Text, _) => Err("text"),
        (ColumnType::Integer, value) => {
            integer(value).map(Cell::Integer).ok_or("a whole number; beyond 2^53 it is written as text, such as \"9007199254740993\"")
        }
        (ColumnType::Real, Kind::NumberValue(number)) if number.is_finite() => Ok(Cell::Real(*number)),
        (ColumnType::Real, _) => Err("a number"),
        (ColumnType::Boolean, Kind::BoolValue(truth)) => Ok(Cell::Boolean(*truth)),
        (ColumnType::Boolean, _) => Err("true or false"),
        (ColumnType::Instant, value) => {
            let instant = text(value).and_then(|text| text.parse::<jiff::Timestamp>().ok());
            instant.map(|instant| Cell::Instant(instant.as_microsecond())).ok_or("an instant with its offset, such as 2026-03-31T09:00:00+08:00")
        }
        (ColumnType::Day, value) => text(value).and_then(day).map(Cell::Day).ok_or("a day such as 2026-03-31"),
    }
}

fn text(value: &Kind) -> Option<&str> {
    match value {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "whole and within 2^53")]
fn integer(value: &Kind) -> Option<i64> {
    match value {
        Kind::NumberValue(number) => (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(*number as i64),
        Kind::StringValue(text) => text.parse().ok(),
        _ => None,
    }
}

fn day(text: &str) -> Option<i32> {
    let day: jiff::civil::Date = text.parse().ok()?;
    day_number(day.year().try_into().ok()?, day.month().try_into().ok()?, day.day().try_into().ok()?)
}

fn shown(value: Option<&Kind>) -> String {
    match value {
        None | Some(Kind::NullValue(_)) => "null".to_owned(),
        Some(Kind::NumberValue(number)) => number.to_string(),
        Some(Kind::BoolValue(truth)) => truth.to_string(),
        Some(Kind::StringValue(text)) => format!("'{}'", text.chars().take(40).collect::<String>()),
        Some(Kind::StructValue(_)) => "an object".to_owned(),
        Some(Kind::ListValue(_)) => "a list".to_owned(),
    }
}

/// About what the rows take in memory while they wait: of each value its name, its text and what holds them.
pub(super) fn bytes(rows: &[Struct]) -> usize {
    const OF_VALUE: usize = 64;
    let of_value = |value: &Value| match &value.kind {
        Some(Kind::StringValue(text)) => text.len(),
        _ => 0,
    };
    rows.iter().flat_map(|row| &row.fields).map(|(name, value)| OF_VALUE + name.len() + of_value(value)).sum()
}
