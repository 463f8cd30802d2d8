use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    contract::{ColumnType, DatasetContract},
    day::day_number,
    error::WarehouseError,
    rows::{Cell, RowsBuilder},
};

/// The members of an object, as the texts that they are written as: whatever a caller nests is never built.
type Members<'t> = BTreeMap<Cow<'t, str>, &'t RawValue>;

/// Rows of a text of JSON objects, one a line, as columns of the contract's types: those that a row names, in the contract's order; a row that lacks one of them has
/// null in it. Blank lines are none.
///
/// # Errors
/// ROWS_INVALID with row and column.
pub(super) fn read(contract: &DatasetContract, text: &str, rows_max: usize) -> Result<RecordBatch, WarehouseError> {
    let fields: Vec<Field> = contract.columns.iter().map(|column| Field::new(&column.name, column.column_type.arrow(), true)).collect();
    let mut builder = RowsBuilder::new(Schema::new(fields).into())?;
    let (mut named, mut cells) = (HashSet::new(), Vec::with_capacity(contract.columns.len()));
    for (row, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
        if row == rows_max {
            return Err(WarehouseError::rows(format!("more than {rows_max} rows: send several appends with keys of their own")));
        }
        let members = members(row, line)?;
        if let Some(name) = members.keys().find(|name| contract.column(name).is_none()) {
            return Err(WarehouseError::row(row, &name.chars().take(80).collect::<String>(), contract.no_such_column()));
        }
        cells.clear();
        for (index, column) in contract.columns.iter().enumerate() {
            let Some(value) = members.get(column.name.as_str()).map(|value| value.get()) else {
                cells.push(Cell::Null);
                continue;
            };
            named.insert(index);
            cells.push(
                cell(column.column_type, value)
                    .map_err(|expected| WarehouseError::row(row, &column.name, format!("expected {expected}; found {}", shown(value))))?,
            );
        }
        builder.push_cells(&cells)?;
    }
    let named: Vec<usize> = (0..contract.columns.len()).filter(|index| named.contains(index)).collect();
    if named.is_empty() {
        return Err(WarehouseError::rows("the rows name no column: send objects with members"));
    }
    builder.finish()?.project(&named).map_err(WarehouseError::broken)
}

fn members(row: usize, line: &str) -> Result<Members<'_>, WarehouseError> {
    serde_json::from_str(line).map_err(|error| {
        let problem = format!("expected a line with one JSON object, such as {{\"id\": \"a\"}}; {error}");
        WarehouseError::RowsInvalid { row: Some(row), column: None, problem }
    })
}

/// The value in the column's type, if it is exactly one.
///
/// # Errors
/// What was expected.
fn cell(column_type: ColumnType, value: &str) -> Result<Cell<'_>, &'static str> {
    if value == "null" {
        return Ok(Cell::Null);
    }
    match column_type {
        ColumnType::Text => text(value).map(Cell::Text).ok_or("text"),
        ColumnType::Integer => exact(value).map(Cell::Integer).ok_or("a whole number of 64 bits"),
        ColumnType::Real => exact(value).map(Cell::Real).ok_or("a number"),
        ColumnType::Boolean => exact(value).map(Cell::Boolean).ok_or("true or false"),
        ColumnType::Instant => {
            let instant = text(value).and_then(|text| text.parse::<jiff::Timestamp>().ok());
            instant.map(|instant| Cell::Instant(instant.as_microsecond())).ok_or("an instant with its offset, such as 2026-03-31T09:00:00+08:00")
        }
        ColumnType::Day => text(value).and_then(|text| day(&text)).map(Cell::Day).ok_or("a day such as 2026-03-31"),
    }
}

fn exact<'t, T: Deserialize<'t>>(value: &'t str) -> Option<T> {
    serde_json::from_str(value).ok()
}

/// Borrowed where nothing in it is escaped.
fn text(value: &str) -> Option<Cow<'_, str>> {
    exact::<&str>(value).map(Cow::Borrowed).or_else(|| exact::<String>(value).map(Cow::Owned))
}

/// A day and nothing else: the parser takes instants too.
fn day(text: &str) -> Option<i32> {
    let day: jiff::civil::Date = Some(text).filter(|text| text.len() == "2026-03-31".len())?.parse().ok()?;
    day_number(day.year().try_into().ok()?, day.month().try_into().ok()?, day.day().try_into().ok()?)
}

/// As it is written, so far as a message takes it.
fn shown(value: &str) -> String {
    value.chars().take(40).collect()
}
