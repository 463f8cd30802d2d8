use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use kernel_base::{INGESTED_AT, ORIGIN_COLUMNS, SOURCE};
use serde::Deserialize;

use crate::{
    error::WarehouseError,
    lake::{Layout, TableName},
};

mod read;
mod seeds;

pub(crate) use read::yaml;
pub(crate) use seeds::SEEDS;

/// How many columns stand before the declared ones in a table.
pub(crate) const HIDDEN_COLUMNS: usize = ORIGIN_COLUMNS.len();
/// The column that scopes rows; every dataset has it.
pub(crate) const CITY: &str = "city";
/// The column that says whose a row is, in datasets that have it.
pub(crate) const CUSTOMER: &str = "customer_id";
/// The column that the kernel sets in datasets with `at`, and its month.
pub(crate) const DAY: &str = "day";
pub(crate) const MONTH: &str = "month";
/// The column that the kernel sets in `latest` datasets.
pub(crate) const REVISION: &str = "revision";

impl ColumnContract {
    pub(crate) fn allows_text(&self, text: &str) -> bool {
        self.values.is_empty() || self.values.iter().any(|value| value == text)
    }

    pub(crate) fn allows_integer(&self, number: i64) -> bool {
        self.at_least.is_none_or(|least| least <= number) && self.at_most.is_none_or(|most| number <= most)
    }

    #[allow(clippy::cast_precision_loss, reason = "bounds of real numbers are small")]
    pub(crate) fn allows_real(&self, number: f64) -> bool {
        self.at_least.is_none_or(|least| least as f64 <= number) && self.at_most.is_none_or(|most| number <= most as f64)
    }

    /// The values that the column may hold, as an error names them.
    pub(crate) fn allowed(&self) -> String {
        match (self.at_least, self.at_most) {
            (Some(least), Some(most)) => format!("a number from {least} to {most}"),
            (Some(least), None) => format!("a number of at least {least}"),
            (None, Some(most)) => format!("a number of at most {most}"),
            (None, None) => format!("one of {}", self.values.join(", ")),
        }
    }
}

/// What a dataset is: the promise that its feeds keep and its readers rely on.
#[derive(Debug, Clone)]
pub(crate) struct DatasetContract {
    pub(crate) name: String,
    pub(crate) purpose: String,
    pub(crate) owner: String,
    pub(crate) mode: Mode,
    pub(crate) visibility: Visibility,
    pub(crate) key: Vec<String>,
    /// The columns by which its files are sorted.
    pub(crate) sorted_by: Vec<String>,
    /// The columns, besides the city, that make a cell of rows for who may see no rows; `month` is that of the day. Empty when it is not seen so.
    pub(crate) aggregated_by: Vec<String>,
    /// Of how many customers, or rows without any, a cell is at least that is shown.
    pub(crate) minimum_group: u32,
    pub(crate) columns: Vec<ColumnContract>,
}

/// How rows change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Never by row.
    Append,
    /// A row replaces the earlier one with the same key.
    Latest,
}

/// Who sees which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Visibility {
    /// Each city its own, and those of the province.
    City,
    /// Reference rows: every city sees all of them.
    Shared,
}

#[derive(Debug, Clone)]
pub(crate) struct ColumnContract {
    pub(crate) name: String,
    pub(crate) column_type: ColumnType,
    pub(crate) nullable: bool,
    pub(crate) unit: Option<String>,
    pub(crate) class: Class,
    /// How the column is shown to who may not see it as it is; every personal column has one.
    pub(crate) mask: Option<Mask>,
    /// The only texts that the column may hold; empty for any.
    pub(crate) values: Vec<String>,
    /// Of numbers.
    pub(crate) at_least: Option<i64>,
    pub(crate) at_most: Option<i64>,
    pub(crate) meaning: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ColumnType {
    Text,
    Integer,
    Real,
    Boolean,
    Instant,
    Day,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Class {
    Public,
    Internal,
    /// Masked unless the caller holds `dataset.unmask`.
    Personal,
    /// Never leaves.
    Secret,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mask {
    /// A service number: 3 + 4 digits stay.
    Msisdn,
    /// A network address: its first two parts stay.
    Address,
    /// Free text: digits become `*`.
    Text,
    /// Nothing stays.
    All,
}

impl ColumnType {
    pub(crate) fn arrow(self) -> DataType {
        match self {
            ColumnType::Text => DataType::Utf8,
            ColumnType::Integer => DataType::Int64,
            ColumnType::Real => DataType::Float64,
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            ColumnType::Day => DataType::Date32,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            ColumnType::Text => "text",
            ColumnType::Integer => "integer",
            ColumnType::Real => "real",
            ColumnType::Boolean => "boolean",
            ColumnType::Instant => "instant",
            ColumnType::Day => "day",
        }
    }
}

impl Class {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::Public => "public",
            Class::Internal => "internal",
            Class::Personal => "personal",
            Class::Secret => "secret",
        }
    }
}

impl DatasetContract {
    /// Reads a contract from YAML; `file` is named in errors.
    ///
    /// # Errors
    /// CONTRACT_INVALID with line and column.
    pub(crate) fn read(file: &str, text: &str) -> Result<DatasetContract, WarehouseError> {
        read::dataset(file, text)
    }

    /// # Errors
    /// CONTRACT_BREAKS when rows that are there, or those who read them, would not fit this revision any more.
    pub(crate) fn refuse_breaking(&self, earlier: &DatasetContract) -> Result<(), WarehouseError> {
        let breaks = |problem: String| Err(WarehouseError::ContractBreaks { dataset: self.name.clone(), problem });
        if (self.mode, self.visibility, &self.key) != (earlier.mode, earlier.visibility, &earlier.key) {
            return breaks("mode, visibility and key cannot change: make another dataset".to_owned());
        }
        for (index, column) in earlier.columns.iter().enumerate() {
            match self.columns.get(index) {
                Some(same) if same.name == column.name && same.column_type == column.column_type && same.nullable == column.nullable => {}
                Some(other) if self.column(&column.name).is_some() => {
                    return breaks(format!(
                        "the column '{}' stands where '{}' stood or has another type: columns keep place, type and nullability",
                        other.name, column.name
                    ));
                }
                _ => {
                    return breaks(format!(
                        "the column '{}' is gone, and queries, feeds and plugins read it: leave it and say in its meaning that it ends",
                        column.name
                    ));
                }
            }
        }
        match self.columns[earlier.columns.len()..].iter().find(|column| !column.nullable) {
            Some(column) => breaks(format!("the new column '{}' must be nullable: the rows that are there have no value for it", column.name)),
            None => Ok(()),
        }
    }

    /// The table: the hidden columns, then the contract's in their order, so that a new revision can add some at the end.
    pub(crate) fn table_schema(&self) -> SchemaRef {
        let hidden = [Field::new(SOURCE, DataType::Utf8, false), Field::new(INGESTED_AT, ColumnType::Instant.arrow(), false)];
        let declared = self.columns.iter().map(|column| Field::new(&column.name, column.column_type.arrow(), column.nullable));
        Arc::new(Schema::new(hidden.into_iter().chain(declared).collect::<Vec<_>>()))
    }

    /// The tables that have its columns: of its rows, and of those set aside.
    pub(crate) fn tables(&self) -> [Layout; 2] {
        let rows = Layout { table: TableName::dataset(&self.name), schema: self.table_schema(), sorted_by: self.sorted_by.clone() };
        [rows, Layout::unsorted(TableName::aside(&self.name), self.table_schema())]
    }

    pub(crate) fn column(&self, name: &str) -> Option<(usize, &ColumnContract)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
    }

    /// What is wrong with a column's name that the dataset does not have.
    pub(crate) fn no_such_column(&self) -> String {
        let known = self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        format!("the dataset '{}' has no such column; it has {known}", self.name)
    }

    /// Where the key's columns stand.
    pub(crate) fn key_indexes(&self) -> Vec<usize> {
        self.key.iter().filter_map(|name| self.column(name)).map(|(index, _)| index).collect()
    }
}

/// All datasets, by name.
#[derive(Debug, Clone)]
pub(crate) struct Datasets(BTreeMap<String, Arc<DatasetContract>>);

impl Datasets {
    /// Reads contracts, each with the name of its file.
    pub(crate) fn read<'a>(contracts: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Datasets, WarehouseError> {
        let contracts = contracts.map(|(file, text)| DatasetContract::read(file, text)).collect::<Result<Vec<_>, _>>()?;
        Ok(Datasets(contracts.into_iter().map(|contract| (contract.name.clone(), Arc::new(contract))).collect()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<DatasetContract>> {
        self.0.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<DatasetContract>> {
        self.0.values()
    }
}
