use std::collections::HashSet;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use serde_json::{Map, Value};

use crate::{
    contract::{ColumnContract, ColumnType, DatasetContract},
    day::day_number,
    error::WarehouseError,
    rows::{Cell, RowsBuilder},
};

/// Rows of a text of JSON objects, one a line, as columns of the contract's types: those that a row names, in the contract's order; a row that lacks one of them has
/// null in it. Lines without a character are none.
///
/// # Errors
/// ROWS_INVALID with row and column.
pub(super) fn read(contract: &DatasetContract, text: &str, rows_max: usize) -> Result<RecordBatch, WarehouseError> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(rows_max + 1).collect();
    if lines.len() > rows_max {
        return Err(WarehouseError::rows(format!("more than {rows_max} rows: send several appends with keys of their own")));
    }
    // A row at a time is held as objects; first the columns that there are.
    let mut names = HashSet::new();
    for (row, line) in lines.iter().enumerate() {
        names.extend(object(row, line)?.into_iter().map(|(name, _)| name));
    }
    if let Some(name) = names.iter().find(|name| contract.column(name).is_none()) {
        let row = lines.iter().position(|line| serde_json::from_str::<Map<String, Value>>(line).is_ok_and(|row| row.contains_key(name)));
        let column = Some(name.chars().take(80).collect());
        return Err(WarehouseError::RowsInvalid { row, column, problem: contract.no_such_column() });
    }
    let named: Vec<&ColumnContract> = contract.columns.iter().filter(|column| names.contains(&column.name)).collect();
    if named.is_empty() {
        return Err(WarehouseError::rows("the rows are empty objects: name columns in them"));
    }
    let fields: Vec<Field> = named.iter().map(|column| Field::new(&column.name, column.column_type.arrow(), true)).collect();
    let mut builder = RowsBuilder::new(Schema::new(fields).into())?;
    for (row, line) in lines.iter().enumerate() {
        let values = object(row, line)?;
        let cells = named.iter().map(|column| {
            let value = values.get(&column.name).unwrap_or(&Value::Null);
            cell(column.column_type, value).map_err(|expected| WarehouseError::row(row, &column.name, format!("expected {expected}; found {}", shown(value))))
        });
        builder.push_cells(&cells.collect::<Result<Vec<_>, _>>()?)?;
    }
    builder.finish()
}

fn object(row: usize, line: &str) -> Result<Map<String, Value>, WarehouseError> {
    serde_json::from_str(line).map_err(|error| {
        let problem = format!("row {row}: expected a line with one JSON object, such as {{\"id\": \"a\"}}; {error}");
        WarehouseError::RowsInvalid { row: Some(row), column: None, problem }
    })
}

/// The value in the column's type, if it is exactly one.
///
/// # Errors
/// What was expected.
fn cell(column_type: ColumnType, value: &Value) -> Result<Cell<'_>, &'static str> {
    if value.is_null() {
        return Ok(Cell::Null);
    }
    match column_type {
        ColumnType::Text => value.as_str().map(Cell::from).ok_or("text"),
        ColumnType::Integer => value.as_i64().map(Cell::Integer).ok_or("a whole number of 64 bits"),
        ColumnType::Real => value.as_f64().filter(|number| number.is_finite()).map(Cell::Real).ok_or("a number"),
        ColumnType::Boolean => value.as_bool().map(Cell::Boolean).ok_or("true or false"),
        ColumnType::Instant => {
            let instant = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            instant.map(|instant| Cell::Instant(instant.as_microsecond())).ok_or("an instant with its offset, such as 2026-03-31T09:00:00+08:00")
        }
        ColumnType::Day => value.as_str().and_then(day).map(Cell::Day).ok_or("a day such as 2026-03-31"),
    }
}

/// A day and nothing else: the parser takes instants too.
fn day(text: &str) -> Option<i32> {
    let day: jiff::civil::Date = Some(text).filter(|text| text.len() == "2026-03-31".len())?.parse().ok()?;
    day_number(day.year().try_into().ok()?, day.month().try_into().ok()?, day.day().try_into().ok()?)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text.chars().take(40).collect::<String>()),
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        plain => plain.to_string(),
    }
}
