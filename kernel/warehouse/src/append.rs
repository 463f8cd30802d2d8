use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use arrow_array::{Array, RecordBatch};
use datafusion::{catalog::TableProvider, logical_expr::Expr};
use kernel_base::{City, Clock};

pub(crate) use self::{
    changes::change_column,
    commit::Begun,
    keys::Known,
    room::AppendRoom,
    writes::{of_keys, of_source},
};
use self::{keys::KeyIndex, partial_files::PartialFiles, waiting::WaitingBatches};
use crate::{
    contract::{DatasetContract, Mode},
    error::WarehouseError,
    lake::{Lake, TableName},
};

pub(crate) mod call;
mod changes;
mod commit;
pub(crate) mod incoming;
mod json_rows;
mod keys;
mod latest;
mod partial_files;
mod refuse;
mod room;
pub(crate) mod tables;
mod waiting;
mod writes;

// Limit: batches of fewer rows wait for their turn with others, and are written in it.
const WRITTEN_AHEAD_ROWS_MIN: usize = 20_000;

/// The one way into the tables: everything that writes makes a [`Batch`] and commits it here.
pub(crate) struct Appender {
    lake: Arc<Lake>,
    clock: Clock,
    keys: Mutex<KeyIndex>,
    partial_files: PartialFiles,
    waiting: WaitingBatches,
}

/// What is committed together: rows, the quarantine of those that could not be read, and the record of both, as one snapshot.
pub(crate) struct Batch {
    /// Names the batch for ever; the same key is committed once.
    pub(crate) key: String,
    /// SHA-256 of the content, in hex: tells a repeat from a key that is used for something else.
    pub(crate) digest: String,
    pub(crate) source: Source,
    pub(crate) principal: String,
    pub(crate) dataset: Arc<DatasetContract>,
    pub(crate) city: City,
    pub(crate) feed: Option<String>,
    pub(crate) file: Option<FileRange>,
    pub(crate) change: Change,
    pub(crate) quarantined: Vec<Quarantined>,
    /// Ids of quarantined rows that this batch brings in after all.
    pub(crate) resolved: Vec<String>,
    /// The newest event time in the rows, microseconds.
    pub(crate) newest_at: Option<i64>,
}

impl Batch {
    /// Rows that do not count, since the period has their key.
    pub(crate) fn duplicates(&self) -> u64 {
        match &self.change {
            Change::Add { duplicates, aside, .. } => *duplicates + aside.as_ref().map_or(0, |rows| rows.num_rows() as u64),
            Change::TakeBack { .. } => 0,
        }
    }

    /// Whether the batch changes nothing that is there.
    fn only_adds(&self) -> bool {
        match &self.change {
            Change::Add { restates, settled, .. } => self.dataset.mode == Mode::Append && restates.is_none() && settled.is_nothing(),
            Change::TakeBack { .. } => false,
        }
    }

    /// Whether its rows are written before its turn. Their file costs a few milliseconds when they are few, some hundreds when they are a full chunk.
    fn is_large(&self) -> bool {
        self.only_adds() && self.rows() >= WRITTEN_AHEAD_ROWS_MIN
    }

    /// Rows that come, as far as the batch holds them.
    fn rows(&self) -> usize {
        self.change.rows().map_or(0, RecordBatch::num_rows)
    }

    /// What those take.
    fn bytes(&self) -> usize {
        let columns = self.change.rows().into_iter().flat_map(RecordBatch::columns);
        columns.filter_map(|column| column.to_data().get_slice_memory_size().ok()).sum()
    }

    /// What was read of the file: rows, those that were left out among them, and what went to quarantine.
    pub(crate) fn records(&self) -> u64 {
        (self.rows() + self.quarantined.len()) as u64 + self.duplicates()
    }
}

/// What a batch does to its dataset.
pub(crate) enum Change {
    /// Adds rows of the declared columns, in order; to a `latest` dataset by their keys. The rows of the file that they restate leave in the same snapshot.
    Add {
        rows: RecordBatch,
        /// Rows of the batch that were left out: they were there.
        duplicates: u64,
        /// Rows that do not count while those of another part of their period have their keys.
        aside: Option<RecordBatch>,
        restates: Option<RowSource>,
        settled: Settled,
    },
    /// Takes the rows of a file back. Rows of a `latest` dataset that they had replaced return as they were at a snapshot before the file.
    TakeBack { source: RowSource, before_snapshot_id: i64, gone: Gone, settled: Settled },
}

impl Change {
    /// Those that come, as far as the batch holds them.
    fn rows(&self) -> Option<&RecordBatch> {
        match self {
            Change::Add { rows, .. } => Some(rows),
            Change::TakeBack { .. } => None,
        }
    }
}

/// What the change of one part of a period does to the rows of others that have the same keys.
#[derive(Default)]
pub(crate) struct Settled {
    /// Rows that count no more.
    pub(crate) leaving: Vec<Moved>,
    /// Rows that were set aside and count from now on.
    pub(crate) returning: Vec<Moved>,
}

/// Rows of one part that change between those that count and those set aside.
pub(crate) struct Moved {
    /// What holds for them alone.
    pub(crate) condition: Expr,
    /// With the hidden columns: they say as before where the rows came from and when.
    pub(crate) rows: Vec<RecordBatch>,
}

impl Settled {
    pub(crate) fn is_nothing(&self) -> bool {
        self.leaving.is_empty() && self.returning.is_empty()
    }

    pub(crate) fn rows(&self) -> usize {
        count_of(&self.leaving) + count_of(&self.returning)
    }
}

fn count_of(moved: &[Moved]) -> usize {
    moved.iter().flat_map(|moved| &moved.rows).map(RecordBatch::num_rows).sum()
}

/// The files that were taken back before: of each the snapshots at which an import of it began. Their rows do not return with what another file had replaced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gone(HashMap<String, Vec<i64>>);

impl Gone {
    pub(crate) fn add(&mut self, source: &RowSource, first_snapshot_ids: impl Iterator<Item = i64>) {
        self.0.entry(source.0.clone()).or_default().extend(first_snapshot_ids);
    }

    /// Where to look instead of a row that stood at a snapshot: just before the import that brought it, if its file is gone.
    fn look_before(&self, source: &str, snapshot_id: i64) -> Option<i64> {
        self.0.get(source)?.iter().filter(|first| **first <= snapshot_id).max().map(|first| first - 1)
    }
}

/// What stands in the hidden column of a row that says where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowSource(String);

impl RowSource {
    /// Of a file. Its period and part order the rows of a `latest` dataset, see [`RowSource::place`].
    pub(crate) fn file(feed: &str, period: &str, part: u32, sha256: &str) -> RowSource {
        let file_id: String = sha256.chars().take(FileRange::ID_CHARACTERS).collect();
        RowSource(format!("feed/{feed}/{period}/{part:04}/{file_id}"))
    }

    fn call(source: Source, principal: &str) -> RowSource {
        RowSource(format!("{}/{principal}", source.name()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Feed, and period with part, of a file that has a period: of two files of a feed the one with the greater place is the newer, whichever came first.
    fn place(source: &str) -> Option<(&str, (i64, &str))> {
        let mut parts = source.strip_prefix("feed/")?.split('/');
        let (feed, period, part) = (parts.next()?, parts.next()?, parts.next()?);
        // A month counts as its last day: `202603` after `20260331`, before `20260401`.
        let end: i64 = match period.len() {
            6 => period.parse::<i64>().ok()? * 100 + 99,
            8 => period.parse().ok()?,
            _ => return None,
        };
        Some((feed, (end, part)))
    }

    /// Whether rows of the one file are older than what another file of the same feed brought.
    pub(crate) fn is_older_than(&self, there: &str) -> bool {
        match (RowSource::place(&self.0), RowSource::place(there)) {
            (Some((feed, mine)), Some((other, theirs))) => feed == other && mine < theirs,
            _ => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Append,
    File,
    Replay,
    /// A file was taken back.
    Retraction,
}

impl Source {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::Append => "append",
            Source::File => "file",
            Source::Replay => "replay",
            Source::Retraction => "retraction",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Source> {
        [Source::Append, Source::File, Source::Replay, Source::Retraction].into_iter().find(|source| source.name() == name)
    }
}

/// Which lines of which file a batch holds. Lines count from 1.
#[derive(Debug, Clone)]
pub(crate) struct FileRange {
    pub(crate) name: String,
    pub(crate) sha256: String,
    pub(crate) first_line: u64,
    pub(crate) last_line: u64,
    /// Whether the file ends here.
    pub(crate) is_last: bool,
    /// `yyyyMMdd` or `yyyyMM`, where it is known.
    pub(crate) period: Option<String>,
    pub(crate) part: u32,
}

impl FileRange {
    /// How much of a file's digest stands in the ids of its rows: 128 bits name a file.
    pub(crate) const ID_CHARACTERS: usize = 32;
}

/// A row that could not be read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quarantined {
    pub(crate) quarantine_id: String,
    pub(crate) line: u64,
    /// The dataset's column, where one is to blame.
    pub(crate) column: Option<String>,
    /// Stable upper-case word.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// The line as it came, in UTF-8, what is none as U+FFFD, cut at a limit.
    pub(crate) raw_text: String,
    /// The file's header, where the format has one: without it the text could not be read again.
    pub(crate) header: Option<String>,
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) snapshot_id: i64,
    /// Rows written.
    pub(crate) rows: u64,
    /// Rows of a `latest` dataset that were there.
    pub(crate) unchanged: u64,
    /// Rows that left: of the file that this one restates, or that was taken back.
    pub(crate) removed: u64,
    /// True when the key was there before and nothing was written; the counts are then those of the first time.
    pub(crate) repeated: bool,
    /// Microseconds since 1970; of a repeat, when it was repeated.
    pub(crate) committed_at: i64,
}

impl Appender {
    /// Reads the keys that were used.
    pub(crate) async fn open(lake: Arc<Lake>, clock: Clock) -> Result<Appender, WarehouseError> {
        lake.reconcile(&tables::all()).await?;
        let (keys, partial_files) = (KeyIndex::load(&lake).await?, PartialFiles::load(&lake).await?);
        Ok(Appender { lake, clock, keys: Mutex::new(keys), partial_files, waiting: WaitingBatches::default() })
    }

    /// A dataset's table at a snapshot, without the rows of files that are not in to their end; `None` when it was not there yet.
    pub(crate) async fn whole_files(&self, contract: &DatasetContract, snapshot: i64) -> Result<Option<Arc<dyn TableProvider>>, WarehouseError> {
        let table = TableName::dataset(&contract.name);
        match (contract.mode, self.partial_files.is_whole(&contract.name, snapshot)) {
            (Mode::Append, Some(is_whole)) => {
                let Some(rows) = self.lake.frame(snapshot, &table).await? else {
                    return Ok(None);
                };
                rows.filter(is_whole).map(|rows| Some(rows.into_view())).map_err(WarehouseError::broken)
            }
            _ => self.lake.table_to_query(snapshot, &table).await,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }
}
