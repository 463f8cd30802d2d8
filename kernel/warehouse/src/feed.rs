use std::{collections::BTreeMap, sync::Arc};

use kernel_base::City;

use crate::{
    contract::{ColumnType, DatasetContract, Datasets},
    error::WarehouseError,
};

mod combined_log;
mod csv_file;
mod file_name;
mod file_reader;
mod import;
mod inbox;
mod lines;
mod parse;
mod quarantine;
mod read;
mod replay;
mod row;
mod session;
mod status;
mod taken;
mod upload;
mod visitor;

pub(crate) use import::Importer;
pub(crate) use quarantine::list as list_quarantine;
pub(crate) use replay::replay;
pub(crate) use status::list as list_statuses;
pub(crate) use upload::{Answers, receive};

/// The contracts that the kernel ships.
const SEEDS: &[(&str, &str)] =
    &[("feeds/portal.access.yaml", include_str!("../feeds/portal.access.yaml")), ("feeds/ref.city.yaml", include_str!("../feeds/ref.city.yaml"))];

/// Which files a feed takes, how a line is read, and into which dataset.
#[derive(Debug)]
pub(crate) struct FeedContract {
    pub(crate) name: String,
    pub(crate) platform: String,
    pub(crate) dataset: Arc<DatasetContract>,
    /// `portal.access.{city}.{day}.log`: names of this form say their city, others need a call that does.
    file_name: String,
    format: Format,
    /// More bad rows than this in 1,000 stop the file.
    bad_rows_permille_max: u64,
    /// One per column of the dataset, in its order.
    columns: Vec<ColumnRule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// Apache's and nginx's combined log format, with an optional last field of microseconds (%D).
    CombinedLog,
    /// UTF-8, with a header.
    Csv,
}

/// How one column of the dataset comes about.
#[derive(Debug)]
struct ColumnRule {
    /// The field of the record that the rule reads; `None` for rules that read none.
    from: Option<String>,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// The city of the file, stamped.
    FileCity,
    /// The Shanghai day of the column `at`.
    DayOfAt,
    /// Not in this feed.
    Absent,
    /// Digest of the file and number of the line.
    LineId,
    LogTime,
    Visitor,
    Session,
    Constant(String),
    Text,
    Integer,
    Real,
    /// A code of GB/T 2260.
    City,
    ActionOfMethod,
    /// Status below 400.
    Succeeded,
    MicrosToMillis,
    /// Set by the kernel when the row is committed.
    Revision,
}

impl Rule {
    /// The type that the rule gives; `None` fits any column.
    fn gives(&self) -> Option<ColumnType> {
        Some(match self {
            Rule::Absent => return None,
            Rule::FileCity | Rule::LineId | Rule::Visitor | Rule::Session | Rule::Constant(_) | Rule::Text | Rule::City | Rule::ActionOfMethod => {
                ColumnType::Text
            }
            Rule::Integer | Rule::MicrosToMillis | Rule::Revision => ColumnType::Integer,
            Rule::Real => ColumnType::Real,
            Rule::Succeeded => ColumnType::Boolean,
            Rule::LogTime => ColumnType::Instant,
            Rule::DayOfAt => ColumnType::Day,
        })
    }
}

/// All feeds, by name.
#[derive(Debug)]
pub(crate) struct Feeds(BTreeMap<String, Arc<FeedContract>>);

impl Feeds {
    /// The feeds that the kernel ships.
    pub(crate) fn seeds(datasets: &Datasets) -> Result<Feeds, WarehouseError> {
        let contracts = SEEDS.iter().map(|(file, text)| read::feed(file, text, datasets)).collect::<Result<Vec<_>, _>>()?;
        Ok(Feeds(contracts.into_iter().map(|feed| (feed.name.clone(), Arc::new(feed))).collect()))
    }

    /// # Errors
    /// FEED_UNKNOWN, naming those that there are.
    pub(crate) fn get(&self, name: &str) -> Result<&Arc<FeedContract>, WarehouseError> {
        self.0.get(name).ok_or_else(|| WarehouseError::FeedUnknown {
            feed: name.chars().take(80).collect(),
            known: self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<FeedContract>> {
        self.0.values()
    }
}

impl FeedContract {
    /// The city that the file's name says, if the name has the contract's form.
    pub(crate) fn city_of(&self, file_name: &str) -> Result<Option<City>, WarehouseError> {
        file_name::city(&self.file_name, file_name)
    }
}
