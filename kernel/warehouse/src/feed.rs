use std::{collections::BTreeMap, sync::Arc};

use crate::{
    contract::{ColumnType, DatasetContract, Datasets},
    error::WarehouseError,
};

// What a feed is.
mod file_name;
mod period;
mod read;
mod seeds;

// From bytes to rows.
mod combined_log;
mod control_file;
mod csv_file;
mod decode;
mod duplicates;
mod file_reader;
mod json_lines;
mod lines;
mod numbers;
mod parse;
mod row;
mod separated;
mod session;
mod text_chunks;
mod time;
mod visitor;

// Files on their way in, and what became of them.
mod completeness;
mod drop_folder;
mod file_import;
mod import;
mod in_order;
mod inbox;
mod list;
mod parts;
mod quarantine;
mod refusals;
mod replay;
mod retract;
mod slices;
mod status;
mod taken;
mod try_feed;
mod upload;

pub(crate) use completeness::list as list_completeness;
pub use drop_folder::DropFolder;
pub(crate) use drop_folder::watch as watch_drop_folder;
pub(crate) use import::Importer;
pub(crate) use list::list as list_feeds;
pub(crate) use quarantine::list as list_quarantine;
pub(crate) use read::feed as read_contract;
pub(crate) use replay::replay;
pub(crate) use retract::retract;
pub(crate) use seeds::SEEDS;
pub(crate) use status::list as list_statuses;
pub(crate) use try_feed::try_feed;
pub(crate) use upload::{Answers, receive};

/// Which files a feed takes, how a line is read, and into which dataset. `CONTRACTS.md` describes the fields.
#[derive(Debug)]
pub(crate) struct FeedContract {
    pub(crate) name: String,
    pub(crate) platform: String,
    pub(crate) dataset: Arc<DatasetContract>,
    /// `misc.usage.{city}.{period}.txt.gz`: names of this form say their city and period, others need a call that does.
    file_name: String,
    encoding: Encoding,
    compression: Compression,
    format: Format,
    has_control_file: bool,
    expected: Option<Expected>,
    drops_duplicates: bool,
    /// More bad rows than this in 1,000 refuse the file.
    bad_rows_permille_max: u64,
    /// One per column of the dataset, in its order.
    columns: Vec<ColumnRule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
enum Encoding {
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "gb18030")]
    Gb18030,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Gb18030 => "GB18030",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Compression {
    #[default]
    None,
    Gzip,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Format {
    /// Lines of fields between separators, without a header and without quotes.
    Separated { separator: u8, null_text: String, fields: Vec<String> },
    /// With a header and quotes.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Apache's and nginx's combined log format, with an optional last field of microseconds (%D).
    CombinedLog,
}

/// When a file of each period is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    every: Every,
    /// After the period's end.
    within_hours: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Every {
    Day,
    Month,
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
    // Filled in without a field.
    /// The city of the file, stamped.
    FileCity,
    /// The Shanghai day of the column `at`.
    DayOfAt,
    /// Not in this feed.
    Absent,
    /// Set by the kernel when the row is committed.
    Revision,
    /// Digest of the file and number of the line.
    LineId,
    PeriodDay,
    Constant(String),
    Visitor,
    Session,

    // Of one field.
    Text,
    Integer,
    Real,
    Boolean,
    Yuan,
    /// What stands for each text that may be sent.
    OneOf(Vec<(String, String)>),
    /// A code of GB/T 2260.
    City,
    CompactTime,
    LocalTime,
    EpochMillis,
    LogTime,
    CompactDay,
    IsoDay,
    CompactMonth,
    CompactTimeDay,
    EpochMillisDay,
    ActionOfMethod,
    /// Status below 400.
    Succeeded,
    MicrosToMillis,

    /// Of a field and another column: who had the number on the day of the column with this index.
    CustomerOfNumber {
        as_of: usize,
    },
}

impl Rule {
    /// The type that the rule gives; `None` fits any column.
    fn gives(&self) -> Option<ColumnType> {
        use Rule as R;
        Some(match self {
            R::Absent => return None,
            R::FileCity | R::LineId | R::Visitor | R::Session | R::Constant(_) | R::Text | R::OneOf(_) | R::City | R::ActionOfMethod => ColumnType::Text,
            R::Integer | R::Yuan | R::MicrosToMillis | R::Revision | R::CustomerOfNumber { .. } => ColumnType::Integer,
            R::Real => ColumnType::Real,
            R::Boolean | R::Succeeded => ColumnType::Boolean,
            R::CompactTime | R::LocalTime | R::EpochMillis | R::LogTime => ColumnType::Instant,
            R::DayOfAt | R::PeriodDay | R::CompactDay | R::IsoDay | R::CompactMonth | R::CompactTimeDay | R::EpochMillisDay => ColumnType::Day,
        })
    }

    fn reads_a_field(&self) -> bool {
        use Rule as R;
        !matches!(self, R::FileCity | R::DayOfAt | R::Absent | R::Revision | R::LineId | R::PeriodDay | R::Constant(_) | R::Visitor | R::Session)
    }
}

/// All feeds, by name.
#[derive(Debug)]
pub(crate) struct Feeds(BTreeMap<String, Arc<FeedContract>>);

impl Feeds {
    /// Reads contracts, each with the name of its file.
    pub(crate) fn read<'a>(contracts: impl Iterator<Item = (&'a str, &'a str)>, datasets: &Datasets) -> Result<Feeds, WarehouseError> {
        let contracts = contracts.map(|(file, text)| read::feed(file, text, datasets)).collect::<Result<Vec<_>, _>>()?;
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
    /// What a file's name says, if it has the contract's form.
    fn named(&self, file_name: &str) -> Result<Option<file_name::Named>, WarehouseError> {
        file_name::read(&self.file_name, file_name)
    }

    /// Whether rows take a day from the file's period.
    fn needs_period(&self) -> bool {
        self.columns.iter().any(|column| column.rule == Rule::PeriodDay)
    }

    /// Whether rows name customers by their service number.
    fn resolves_numbers(&self) -> bool {
        self.columns.iter().any(|column| matches!(column.rule, Rule::CustomerOfNumber { .. }))
    }
}
