use kernel_base::ORIGIN_COLUMNS;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{CITY, CUSTOMER, Class, ColumnContract, ColumnType, DAY, DatasetContract, MONTH, Mask, Mode, REVISION, Visibility};
use crate::{
    error::WarehouseError,
    guard::cells::{CUSTOMER_COUNT, ROW_COUNT},
};

// Limit: columns of a dataset. The widest table of the data model has 25; each column of a scan costs memory per row group.
const COLUMNS_MAX: usize = 200;

/// What the tables call the number of a row.
const ROW_ID: &str = "rowid";

/// Schemas that are no plugin's: of the shared datasets, in queries and in the catalog, of their changes, of their cells, and of the kernel's own tables.
const SCHEMAS: [&str; 5] = ["public", "main", "changes", "aggregates", "kernel"];

// Limit: columns that make a cell. More make cells of nobody.
const AGGREGATED_BY_MAX: usize = 8;

/// The least number of customers in a cell that is shown, where a contract says no other.
const MINIMUM_GROUP: u32 = 10;
// Limit: no cell is of one customer, and none of more than all of a province.
const MINIMUM_GROUPS: std::ops::RangeInclusive<u32> = 2..=100_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Spanned<String>,
    purpose: String,
    owner: String,
    mode: Mode,
    visibility: Visibility,
    key: Vec<Spanned<String>>,
    #[serde(default)]
    sorted_by: Vec<Spanned<String>>,
    #[serde(default)]
    aggregated_by: Vec<Spanned<String>>,
    minimum_group: Option<Spanned<u32>>,
    columns: Vec<WrittenColumn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenColumn {
    name: Spanned<String>,
    r#type: ColumnType,
    nullable: bool,
    unit: Option<String>,
    class: Class,
    mask: Option<Mask>,
    #[serde(default)]
    values: Vec<String>,
    at_least: Option<i64>,
    at_most: Option<i64>,
    meaning: String,
}

pub(super) fn dataset(file: &str, text: &str) -> Result<DatasetContract, WarehouseError> {
    let written: Written = yaml(file, text)?;
    Checker { file }.check(&written)?;
    Ok(DatasetContract {
        name: written.name.value,
        purpose: written.purpose,
        owner: written.owner,
        mode: written.mode,
        visibility: written.visibility,
        key: written.key.into_iter().map(|name| name.value).collect(),
        sorted_by: written.sorted_by.into_iter().map(|name| name.value).collect(),
        aggregated_by: written.aggregated_by.into_iter().map(|name| name.value).collect(),
        minimum_group: written.minimum_group.map_or(MINIMUM_GROUP, |least| least.value),
        columns: written.columns.into_iter().map(column).collect(),
    })
}

/// Reads YAML into the shape of a contract.
pub(crate) fn yaml<'a, T: Deserialize<'a>>(file: &str, text: &'a str) -> Result<T, WarehouseError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
        WarehouseError::ContractInvalid { file: file.to_owned(), line, column, problem: first_line(&error.to_string()) }
    })
}

/// The parser's message without the excerpt that it draws below it.
fn first_line(message: &str) -> String {
    message.lines().find(|line| !line.trim().is_empty()).unwrap_or(message).trim().to_owned()
}

fn column(written: WrittenColumn) -> ColumnContract {
    ColumnContract {
        name: written.name.value,
        column_type: written.r#type,
        nullable: written.nullable,
        unit: written.unit,
        class: written.class,
        mask: written.mask,
        values: written.values,
        at_least: written.at_least,
        at_most: written.at_most,
        meaning: written.meaning,
    }
}

struct Checker<'a> {
    file: &'a str,
}

impl Checker<'_> {
    fn check(&self, written: &Written) -> Result<(), WarehouseError> {
        let (plugin, name) = written.name.value.split_once('.').map_or((None, written.name.value.as_str()), |(plugin, name)| (Some(plugin), name));
        if !is_name(name) || !plugin.is_none_or(|plugin| is_name(plugin) && !SCHEMAS.contains(&plugin)) {
            return self.fail(
                &written.name,
                "a dataset's name is 1 to 60 of a-z, 0-9 and '_', starting with a letter; that of a plugin's has the plugin's id and a dot before it",
            );
        }
        if written.columns.len() > COLUMNS_MAX {
            return self.fail(&written.name, &format!("a dataset has at most {COLUMNS_MAX} columns; this one has {}", written.columns.len()));
        }
        for (index, column) in written.columns.iter().enumerate() {
            self.check_column(column)?;
            if written.columns[..index].iter().any(|earlier| earlier.name.value == column.name.value) {
                return self.fail(&column.name, "the column is there twice");
            }
        }
        self.check_required(written, CITY, ColumnType::Text)?;
        if written.mode == Mode::Latest {
            self.check_required(written, REVISION, ColumnType::Integer)?;
            if written.key.is_empty() {
                return self.fail(&written.name, "a dataset of mode latest needs a key: the columns that name a row");
            }
        }
        self.check_key(written)?;
        self.check_sorting(written)?;
        self.check_cells(written)
    }

    fn check_column(&self, column: &WrittenColumn) -> Result<(), WarehouseError> {
        let name = &column.name;
        if !is_name(&name.value) || ORIGIN_COLUMNS.contains(&name.value.as_str()) {
            return self.fail(name, "a column's name is 1 to 60 of a-z, 0-9 and '_', starting with a letter");
        }
        if name.value == ROW_ID {
            return self.fail(name, "'rowid' is the number that every row has of itself: choose another name");
        }
        if !column.values.is_empty() && column.r#type != ColumnType::Text {
            return self.fail(name, "only text has a list of values");
        }
        let has_bounds = column.at_least.is_some() || column.at_most.is_some();
        if has_bounds && !matches!(column.r#type, ColumnType::Integer | ColumnType::Real) {
            return self.fail(name, "only an integer or a real has bounds");
        }
        if has_bounds && name.value == REVISION {
            return self.fail(name, "the kernel sets the revision: it has no bounds");
        }
        if column.at_least.zip(column.at_most).is_some_and(|(least, most)| least > most) {
            return self.fail(name, "no number is within its bounds: at_least is above at_most");
        }
        match (column.class, column.mask) {
            (Class::Personal, None) => self.fail(name, "a personal column says how it is masked: mask msisdn, address, text or all"),
            (Class::Public | Class::Internal | Class::Secret, Some(_)) => self.fail(name, "only personal columns have a mask"),
            (_, Some(mask)) if mask != Mask::All && column.r#type != ColumnType::Text => self.fail(name, "only text can be masked in part: use mask all"),
            _ => Ok(()),
        }
    }

    fn check_required(&self, written: &Written, name: &str, column_type: ColumnType) -> Result<(), WarehouseError> {
        let found = written.columns.iter().find(|column| column.name.value == name);
        match found {
            Some(column) if column.r#type == column_type && !column.nullable => Ok(()),
            Some(column) => self.fail(&column.name, &format!("'{name}' must be of type {} and not nullable", column_type.name())),
            None => self.fail(&written.name, &format!("the column '{name}' is missing: every dataset of this kind has it")),
        }
    }

    fn check_key(&self, written: &Written) -> Result<(), WarehouseError> {
        for key in &written.key {
            match written.columns.iter().find(|column| column.name.value == key.value) {
                None => return self.fail(key, "the key names a column that the dataset does not have"),
                Some(column) if column.nullable => return self.fail(key, "a column of the key cannot be nullable"),
                Some(column) if !matches!(column.r#type, ColumnType::Text | ColumnType::Integer | ColumnType::Instant | ColumnType::Day) => {
                    return self.fail(key, "a column of the key is text, integer, instant or day");
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn check_sorting(&self, written: &Written) -> Result<(), WarehouseError> {
        for (index, name) in written.sorted_by.iter().enumerate() {
            match written.columns.iter().find(|column| column.name.value == name.value) {
                None => return self.fail(name, "files are sorted by a column that the dataset does not have"),
                // Rows come in the order of their file: whose column is masked would be told how its values compare.
                Some(column) if matches!(column.class, Class::Personal | Class::Secret) => {
                    return self.fail(name, "files are not sorted by a personal or secret column: the order of rows would tell of it");
                }
                Some(_) => {}
            }
            if written.sorted_by[..index].iter().any(|earlier| earlier.value == name.value) {
                return self.fail(name, "files are sorted by the column twice");
            }
        }
        Ok(())
    }

    fn check_cells(&self, written: &Written) -> Result<(), WarehouseError> {
        let by = &written.aggregated_by;
        let column = |name: &str| written.columns.iter().find(|column| column.name.value == name);
        for (index, name) in by.iter().enumerate() {
            let problem = match column(&name.value) {
                _ if index == AGGREGATED_BY_MAX => "cells are made by at most 8 columns",
                _ if name.value == CITY => "the city makes cells in any case: leave it out",
                _ if name.value == CUSTOMER => "a cell is of many customers",
                _ if by[..index].iter().any(|earlier| earlier.value == name.value) => "cells are made by the column twice",
                None if name.value == MONTH
                    && column(DAY).is_some_and(|day| day.r#type == ColumnType::Day && matches!(day.class, Class::Public | Class::Internal)) =>
                {
                    continue;
                }
                None => "cells are made by a column that the dataset does not have; month is there with a day",
                Some(column) if matches!(column.class, Class::Personal | Class::Secret) => "cells are not made by a personal or secret column",
                Some(column) if matches!(column.r#type, ColumnType::Real | ColumnType::Instant) => "cells are made by text, integers, booleans and days",
                Some(_) => continue,
            };
            return self.fail(name, problem);
        }
        let counts = written.columns.iter().find(|column| [ROW_COUNT, CUSTOMER_COUNT].contains(&column.name.value.as_str()));
        if let Some(count) = counts.filter(|_| !by.is_empty()) {
            return self.fail(&count.name, "cells have a column of this name, which counts: choose another name");
        }
        match &written.minimum_group {
            Some(least) if by.is_empty() => self.fail(least, "a size of cells needs aggregated_by, which makes them"),
            Some(least) if !MINIMUM_GROUPS.contains(&least.value) => {
                let problem = format!("the customers of a cell are {} to {} at least", MINIMUM_GROUPS.start(), MINIMUM_GROUPS.end());
                self.fail(least, &problem)
            }
            _ => Ok(()),
        }
    }

    fn fail<T: std::fmt::Display>(&self, at: &Spanned<T>, problem: &str) -> Result<(), WarehouseError> {
        let (line, column) = (at.referenced.line(), at.referenced.column());
        Err(WarehouseError::ContractInvalid { file: self.file.to_owned(), line, column, problem: format!("'{}': {problem}", at.value) })
    }
}

fn is_name(name: &str) -> bool {
    (1..=60).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const GOOD: &str = "name: visit
purpose: p
owner: o
mode: append
visibility: city
key: [visit_id]
columns:
  - {name: city, type: text, nullable: false, class: public, meaning: m}
  - {name: visit_id, type: text, nullable: false, class: internal, meaning: m}
  - {name: phone, type: text, nullable: true, class: personal, mask: msisdn, meaning: m}
";

    #[test]
    fn a_wrong_contract_is_refused_with_line_and_column() {
        dataset("good.yaml", GOOD).unwrap();
        let cases = [
            ("mode: append", "mode: sometimes", 4, "sometimes"),
            ("name: visit\n", "name: Visit\n", 1, "a dataset's name"),
            ("key: [visit_id]", "key: [visit]", 6, "does not have"),
            ("key: [visit_id]", "key: [phone]", 6, "cannot be nullable"),
            ("key: [visit_id]", "key: [visit_id]\nsorted_by: [visit]", 7, "does not have"),
            ("key: [visit_id]", "key: [visit_id]\nsorted_by: [city, city]", 7, "twice"),
            ("key: [visit_id]", "key: [visit_id]\nsorted_by: [phone]", 7, "personal or secret"),
            ("key: [visit_id]", "key: [visit_id]\nminimum_group: 10", 7, "needs aggregated_by"),
            ("key: [visit_id]", "key: [visit_id]\naggregated_by: [visit_id]\nminimum_group: 1", 8, "2 to 100000000"),
            (
                "key: [visit_id]\ncolumns:",
                "key: [visit_id]\naggregated_by: [visit_id]\ncolumns:\n  - {name: row_count, type: text, nullable: true, class: public, meaning: m}",
                9,
                "choose another name",
            ),
            ("key: [visit_id]", "key: [visit_id]\naggregated_by: [month]", 7, "there with a day"),
            ("key: [visit_id]", "key: [visit_id]\naggregated_by: [city]", 7, "leave it out"),
            ("key: [visit_id]", "key: [visit_id]\naggregated_by: [customer_id]", 7, "many customers"),
            ("key: [visit_id]", "key: [visit_id]\naggregated_by: [phone]", 7, "personal or secret"),
            ("key: [visit_id]", "key: [visit_id]\naggregated_by: [visit_id, visit_id]", 7, "twice"),
            ("mask: msisdn, ", "", 10, "says how it is masked"),
            ("name: phone, type: text", "name: phone, type: integer", 10, "use mask all"),
            ("name: phone", "name: visit_id", 10, "there twice"),
            (
                "name: phone, type: text, nullable: true, class: personal, mask: msisdn",
                "name: revision, type: integer, at_least: 1, nullable: true, class: public",
                10,
                "it has no bounds",
            ),
            ("mask: msisdn", "mask: msisdn, at_least: 0", 10, "only an integer or a real has bounds"),
            ("type: text, nullable: true", "type: integer, at_least: 2, at_most: 1, nullable: true", 10, "at_least is above at_most"),
            ("name: phone", "name: _source", 10, "a column's name"),
            ("name: phone", "name: rowid", 10, "choose another name"),
            ("  - {name: city, type: text, nullable: false", "  - {name: city, type: text, nullable: true", 8, "not nullable"),
            ("owner: o", "owner: o\ncolour: red", 4, "colour"),
        ];
        for (from, to, expected_line, expected) in cases {
            let text = GOOD.replacen(from, to, 1);
            match dataset("bad.yaml", &text) {
                Err(WarehouseError::ContractInvalid { line, problem, .. }) => {
                    assert!(line == expected_line && problem.contains(expected), "{to}: line {line}: {problem}");
                }
                other => panic!("{to}: {other:?}"),
            }
        }
    }
}
