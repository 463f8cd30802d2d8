use std::{collections::BTreeMap, sync::Arc};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::Deserialize;

use crate::error::WarehouseError;

mod read;

pub(crate) use read::yaml;

/// The contracts that the kernel ships; each is the seed of one dataset.
const SEEDS: &[(&str, &str)] =
    &[("datasets/city.yaml", include_str!("../datasets/city.yaml")), ("datasets/interaction.yaml", include_str!("../datasets/interaction.yaml"))];

/// Which feed or call wrote the row. In every table, in no query.
pub(crate) const SOURCE: &str = "_source";
/// When the row was committed. In every table, in no query.
pub(crate) const INGESTED_AT: &str = "_ingested_at";
/// The column that scopes rows; every dataset has it.
pub(crate) const CITY: &str = "city";
/// The column that the kernel sets in `latest` datasets.
pub(crate) const REVISION: &str = "revision";

/// What a dataset is: the promise that its feeds keep and its readers rely on.
#[derive(Debug, Clone)]
pub(crate) struct DatasetContract {
    pub(crate) name: String,
    pub(crate) purpose: String,
    pub(crate) owner: String,
    pub(crate) mode: Mode,
    pub(crate) visibility: Visibility,
    pub(crate) key: Vec<String>,
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

    /// The table: the contract's columns in their order, then the hidden ones.
    pub(crate) fn table_schema(&self) -> SchemaRef {
        let declared = self.columns.iter().map(|column| Field::new(&column.name, column.column_type.arrow(), column.nullable));
        let hidden = [Field::new(SOURCE, DataType::Utf8, false), Field::new(INGESTED_AT, ColumnType::Instant.arrow(), false)];
        Arc::new(Schema::new(declared.chain(hidden).collect::<Vec<_>>()))
    }

    pub(crate) fn column(&self, name: &str) -> Option<(usize, &ColumnContract)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
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
    /// The datasets that the kernel ships.
    pub(crate) fn seeds() -> Result<Datasets, WarehouseError> {
        let contracts = SEEDS.iter().map(|(file, text)| DatasetContract::read(file, text)).collect::<Result<Vec<_>, _>>()?;
        Ok(Datasets(contracts.into_iter().map(|contract| (contract.name.clone(), Arc::new(contract))).collect()))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<DatasetContract>> {
        self.0.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<DatasetContract>> {
        self.0.values()
    }
}
