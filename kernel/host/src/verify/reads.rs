use kernel_base::ORIGIN_COLUMNS;
use serde::Deserialize;

use crate::{
    HostError,
    manifest::{Read, invalid},
};

/// The class of what never leaves the warehouse: a query finds no such column.
const SECRET: &str = "secret";

/// The part of a dataset's contract that says what a query can name.
#[derive(Deserialize)]
struct Contract {
    columns: Vec<Column>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    class: String,
}

/// That a dataset is not there, at the place in `manifest_toml` where the plugin asks to read it.
pub(crate) fn dataset_missing(manifest_toml: &str, read: &Read) -> HostError {
    let problem = format!(
        "reads: there is no dataset '{}': 'backplane tables' lists those that there are; correct the name and install that as a new version, or have the \
         dataset added first, by 'backplane dataset put' or with the plugin that brings it",
        read.dataset
    );
    invalid(manifest_toml, read.dataset_start, problem)
}

/// Checks that `contract`, the dataset's as it was written, has the columns that the plugin asks to read.
///
/// # Errors
/// PLUGIN_MANIFEST_INVALID at the place of the first column that is not there.
pub(crate) fn check_columns(manifest_toml: &str, read: &Read, contract: &str) -> Result<(), HostError> {
    let unreadable = |error: serde_saphyr::Error| HostError::Engine { problem: format!("the contract of {} cannot be read: {error}", read.dataset) };
    let contract: Contract = serde_saphyr::from_str(contract).map_err(unreadable)?;
    let is_there = |name: &str| ORIGIN_COLUMNS.contains(&name) || contract.columns.iter().any(|column| column.name == name && column.class != SECRET);
    for (name, start) in read.columns.iter().flatten().zip(&read.column_starts) {
        if !is_there(name) {
            let dataset = &read.dataset;
            let problem = format!(
                "reads: {dataset} has no column '{name}' that a plugin can read: 'backplane tables {dataset}' describes it; correct the name and install \
                 that as a new version, or have the column added first, by 'backplane dataset put'"
            );
            return Err(invalid(manifest_toml, *start, problem));
        }
    }
    Ok(())
}
