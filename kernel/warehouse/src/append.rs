use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;
use kernel_base::{City, Clock};

use self::keys::KeyIndex;
pub(crate) use self::keys::Known;
use crate::{contract::DatasetContract, error::WarehouseError, lake::Lake};

pub(crate) mod call;
mod commit;
pub(crate) mod incoming;
mod keys;
mod latest;
mod refuse;
pub(crate) mod tables;

/// The one way into the tables: everything that writes makes a [`Batch`] and commits it here.
pub(crate) struct Appender {
    lake: Arc<Lake>,
    clock: Clock,
    keys: Mutex<KeyIndex>,
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
    /// The declared columns of the dataset, in order.
    pub(crate) rows: RecordBatch,
    pub(crate) quarantined: Vec<Quarantined>,
    /// Ids of quarantined rows that this batch brings in after all.
    pub(crate) resolved: Vec<String>,
    /// The newest event time in the rows, microseconds.
    pub(crate) newest_at: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Append,
    File,
    Replay,
}

impl Source {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::Append => "append",
            Source::File => "file",
            Source::Replay => "replay",
        }
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
    /// The line as it came, invalid UTF-8 as U+FFFD, cut at a limit.
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
    /// True when the key was there before and nothing was written; the counts are then those of the first time.
    pub(crate) repeated: bool,
}

impl Appender {
    /// Makes the kernel's tables where they are missing and reads the keys that were used.
    pub(crate) async fn open(lake: Arc<Lake>, clock: Clock) -> Result<Appender, WarehouseError> {
        for (name, schema) in tables::all() {
            lake.create_table(&name, &schema).await?;
        }
        let keys = KeyIndex::load(&lake).await?;
        Ok(Appender { lake, clock, keys: Mutex::new(keys) })
    }

    pub(crate) fn lake(&self) -> &Arc<Lake> {
        &self.lake
    }
}
