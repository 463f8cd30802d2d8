use std::collections::BTreeSet;

use kernel_base::{City, DatasetRight, ORIGIN_COLUMNS, Rights, Scope};

use crate::contract::{CUSTOMER, Class, DatasetContract, HIDDEN_COLUMNS, Mask, Visibility};

pub(crate) mod cells;
mod files;
mod leakproof;
mod mask;
mod policy_exec;
pub(crate) mod session;
mod table;

pub(crate) use files::{rows_read, rows_to_read};
pub(crate) use table::{PlannedTable, planned_table};

/// What one caller sees of one dataset. The only way from rights to rows.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// Cities whose rows are seen; `None` is all of them.
    cities: Option<BTreeSet<String>>,
    columns: Vec<Shown>,
}

/// A column as the caller sees it.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    /// Where it stands in the table.
    index: usize,
    pub(crate) mask: Option<Mask>,
}

impl Policy {
    /// The policy of rights on a dataset, `None` when they do not reach it: the dataset then does not exist for the caller.
    pub(crate) fn of(contract: &DatasetContract, rights: &Rights) -> Option<Policy> {
        let right = rights.dataset(&contract.name)?;
        Some(Policy { cities: cities(contract.visibility, &right.cities), columns: shown(contract, &right).collect() })
    }

    /// The policy of rights to see a dataset in cells only, `None` when there are none. Personal columns are hidden; the customer is there to be counted.
    pub(crate) fn of_cells(contract: &DatasetContract, rights: &Rights) -> Option<Policy> {
        let right = rights.dataset_in_cells(&contract.name)?;
        let is_shown = |name: &String| right.columns.as_ref().is_none_or(|granted| granted.contains(name));
        let columns = contract.columns.iter().enumerate().filter(|(_, column)| match column.class {
            _ if column.name == CUSTOMER => true,
            Class::Public | Class::Internal => is_shown(&column.name),
            Class::Personal | Class::Secret => false,
        });
        let columns = columns.map(|(index, _)| Shown { index: HIDDEN_COLUMNS + index, mask: None }).collect();
        Some(Policy { cities: cities(contract.visibility, &right.cities), columns })
    }

    /// The same with the columns that say where a row came from, of those that are granted. They are the table's first and stand last here.
    pub(crate) fn with_origin(mut self, contract: &DatasetContract, rights: &Rights) -> Policy {
        let granted = rights.dataset(&contract.name).map(|right| right.columns);
        let is_granted = |name: &str| granted.as_ref().is_some_and(|columns| columns.as_ref().is_none_or(|columns| columns.contains(name)));
        let origin = ORIGIN_COLUMNS.iter().enumerate().filter(|(_, name)| is_granted(name));
        self.columns.extend(origin.map(|(index, _)| Shown { index, mask: None }));
        self
    }

    /// How a column of the contract is masked for this caller, if it is shown at all.
    pub(crate) fn shown(&self, index: usize) -> Option<&Shown> {
        self.columns.iter().find(|shown| shown.index == HIDDEN_COLUMNS + index)
    }
}

fn shown<'a>(contract: &'a DatasetContract, right: &'a DatasetRight) -> impl Iterator<Item = Shown> + 'a {
    contract.columns.iter().enumerate().filter_map(|(index, column)| {
        let index = HIDDEN_COLUMNS + index;
        let granted = right.columns.as_ref().is_none_or(|granted| granted.contains(&column.name));
        match column.class {
            Class::Secret => None,
            _ if !granted => None,
            // A personal column without a mask cannot be: contracts are checked. Were there one, it would be hidden rather than shown.
            Class::Personal if !right.unmasked => Some(Shown { index, mask: Some(column.mask.unwrap_or(Mask::All)) }),
            Class::Personal | Class::Public | Class::Internal => Some(Shown { index, mask: None }),
        }
    })
}

/// Every city reads the province's reference rows besides its own.
fn cities(visibility: Visibility, scope: &Scope) -> Option<BTreeSet<String>> {
    match (visibility, scope) {
        (Visibility::Shared, _) | (_, Scope::Province) => None,
        (Visibility::City, Scope::Cities(_)) => Some(scope.codes().into_iter().chain([City::PROVINCE.to_string()]).collect()),
    }
}
