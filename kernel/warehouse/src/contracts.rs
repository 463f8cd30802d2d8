use std::sync::{Arc, PoisonError, RwLock};

use kernel_base::Clock;
use kernel_storage::{ContractRow, RowStore};

use crate::{
    contract::{self, DatasetContract, Datasets},
    error::WarehouseError,
    feed::{self, Feeds},
    lake::Lake,
};

// Limit: characters of a contract. The longest shipped has 5,000.
const DOCUMENT_BYTES_MAX: usize = 1 << 20;
const DATASET: &str = "dataset";
const FEED: &str = "feed";

/// The contracts in force. The row store has the truth, every revision of it; the files that the kernel ships are the first revisions of a new installation.
pub(crate) struct Contracts {
    rows: RowStore,
    clock: Clock,
    in_force: RwLock<InForce>,
    /// Contracts are written one at a time: a feed is checked against the datasets that it will meet.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct InForce {
    datasets: Arc<Datasets>,
    feeds: Arc<Feeds>,
}

/// A contract as its author sent it.
pub(crate) struct Draft<'a> {
    pub(crate) document: &'a str,
    /// The revision that it follows.
    pub(crate) after_revision: i64,
    pub(crate) principal: &'a str,
}

impl Contracts {
    pub(crate) async fn open(rows: RowStore, clock: Clock) -> Result<Contracts, WarehouseError> {
        let row = |kind: &str, name: String, document: &str| ContractRow {
            kind: kind.to_owned(),
            name,
            revision: 1,
            document: document.to_owned(),
            written_at: clock.now_micros(),
            written_by: "kernel".to_owned(),
        };
        let mut seeds = Vec::new();
        for (file, document) in contract::SEEDS {
            seeds.push(row(DATASET, name_of(file), document));
        }
        for (file, document) in feed::SEEDS {
            seeds.push(row(FEED, name_of(file), document));
        }
        rows.seed_contracts(&seeds).await.map_err(failed)?;
        let in_force = read(rows.contracts(DATASET).await.map_err(failed)?, rows.contracts(FEED).await.map_err(failed)?)?;
        Ok(Contracts { rows, clock, in_force: RwLock::new(in_force), writing: tokio::sync::Mutex::new(()) })
    }

    pub(crate) fn datasets(&self) -> Arc<Datasets> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).datasets.clone()
    }

    pub(crate) fn feeds(&self) -> Arc<Feeds> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).feeds.clone()
    }

    /// Those that are in force once no contract is being written: its tables may have changed already.
    pub(crate) async fn feeds_after_writing(&self) -> Arc<Feeds> {
        let _none_is_written = self.writing.lock().await;
        self.feeds()
    }

    pub(crate) async fn dataset_rows(&self) -> Result<Vec<ContractRow>, WarehouseError> {
        self.rows.contracts(DATASET).await.map_err(failed)
    }

    pub(crate) async fn feed_rows(&self) -> Result<Vec<ContractRow>, WarehouseError> {
        self.rows.contracts(FEED).await.map_err(failed)
    }

    /// Puts a dataset's contract in force; gives its name and revision.
    pub(crate) async fn put_dataset(&self, lake: &Lake, draft: Draft<'_>) -> Result<(String, i64), WarehouseError> {
        let _one_at_a_time = self.writing.lock().await;
        let contract = DatasetContract::read(FILE, checked(draft.document)?)?;
        let (mut datasets, feeds) = (self.dataset_rows().await?, self.feed_rows().await?);
        let row = self.next(DATASET, &contract.name, &datasets, &draft)?;
        if let Some(earlier) = self.datasets().get(&contract.name) {
            contract.refuse_breaking(earlier)?;
        }
        replace(&mut datasets, row.clone());
        let in_force = read(datasets, feeds).map_err(|error| match error {
            WarehouseError::ContractInvalid { file, problem, .. } if file != FILE => {
                WarehouseError::ContractBreaks { dataset: contract.name.clone(), problem: format!("the feed of {file} would not fit it any more: {problem}") }
            }
            error => error,
        })?;
        // The columns first: a row that the contract allows must find its place.
        lake.reconcile(&contract.tables()).await?;
        self.put(row, in_force).await?;
        Ok((contract.name, draft.after_revision + 1))
    }

    /// Puts a feed's contract in force; gives its name and revision.
    pub(crate) async fn put_feed(&self, draft: Draft<'_>) -> Result<(String, i64), WarehouseError> {
        let _one_at_a_time = self.writing.lock().await;
        let contract = feed::read_contract(FILE, checked(draft.document)?, &self.datasets())?;
        let name = contract.name;
        if let Ok(earlier) = self.feeds().get(&name)
            && earlier.dataset.name != contract.dataset.name
        {
            // The rows of files that are in could neither be restated nor taken back any more.
            let line = draft.document.lines().position(|line| line.starts_with("dataset:")).map_or(1, |line| line as u64 + 1);
            let problem = format!("the feed writes '{}', which cannot change: make another feed for '{}'", earlier.dataset.name, contract.dataset.name);
            return Err(WarehouseError::ContractInvalid { file: FILE.to_owned(), line, column: 1, problem });
        }
        let (datasets, mut feeds) = (self.dataset_rows().await?, self.feed_rows().await?);
        let row = self.next(FEED, &name, &feeds, &draft)?;
        replace(&mut feeds, row.clone());
        self.put(row, read(datasets, feeds)?).await?;
        Ok((name, draft.after_revision + 1))
    }

    fn next(&self, kind: &str, name: &str, rows: &[ContractRow], draft: &Draft<'_>) -> Result<ContractRow, WarehouseError> {
        let newest = rows.iter().find(|row| row.name == name).map_or(0, |row| row.revision);
        if newest != draft.after_revision {
            return Err(WarehouseError::RevisionConflict { name: name.to_owned(), newest });
        }
        Ok(ContractRow {
            kind: kind.to_owned(),
            name: name.to_owned(),
            revision: newest + 1,
            document: draft.document.to_owned(),
            written_at: self.clock.now_micros(),
            written_by: draft.principal.to_owned(),
        })
    }

    async fn put(&self, row: ContractRow, in_force: InForce) -> Result<(), WarehouseError> {
        if !self.rows.insert_contract(&row).await.map_err(failed)? {
            return Err(WarehouseError::RevisionConflict { name: row.name, newest: row.revision });
        }
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = in_force;
        Ok(())
    }
}

/// How a contract that came by a call is named in errors.
pub(crate) const FILE: &str = "the contract";

pub(crate) fn checked(document: &str) -> Result<&str, WarehouseError> {
    if document.len() > DOCUMENT_BYTES_MAX {
        let problem = format!("{} bytes are more than the {DOCUMENT_BYTES_MAX} that a contract may have", document.len());
        return Err(WarehouseError::FieldInvalid { field: "document", problem });
    }
    Ok(document)
}

fn read(datasets: Vec<ContractRow>, feeds: Vec<ContractRow>) -> Result<InForce, WarehouseError> {
    let datasets = Arc::new(Datasets::read(datasets.iter().map(|row| (row.name.as_str(), row.document.as_str())))?);
    let feeds = Arc::new(Feeds::read(feeds.iter().map(|row| (row.name.as_str(), row.document.as_str())), &datasets)?);
    Ok(InForce { datasets, feeds })
}

fn replace(rows: &mut Vec<ContractRow>, row: ContractRow) {
    rows.retain(|other| other.name != row.name);
    rows.push(row);
}

/// `feeds/misc.usage.yaml` is the contract of `misc.usage`.
fn name_of(file: &str) -> String {
    file.rsplit('/').next().unwrap_or(file).trim_end_matches(".yaml").to_owned()
}

fn failed(source: kernel_storage::StorageError) -> WarehouseError {
    WarehouseError::Storage { doing: "keeping contracts", source: Box::new(source) }
}
