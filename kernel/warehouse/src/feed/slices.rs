use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Mutex, PoisonError},
};

use arrow_array::{Array, RecordBatch, cast::AsArray, types::Int64Type};
use kernel_base::City;

use super::period::Period;
use crate::{
    append::{Source, tables},
    error::WarehouseError,
    lake::{Lake, TableName},
};

/// What a file of a feed holds: a city's day or month, or a part of it. At most one file stands for a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Slice {
    pub(crate) city: City,
    /// `None` when neither the file's name nor the call said: such a file stands for itself and restates none.
    pub(crate) period: Option<Period>,
    pub(crate) part: u32,
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.period, self.part) {
            (None, _) => write!(f, "{}", self.city),
            (Some(period), 0) => write!(f, "{} {period}", self.city),
            (Some(period), part) => write!(f, "{} {period} part {part}", self.city),
        }
    }
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TakenFile {
    pub(crate) slice: Slice,
    pub(crate) file_name: String,
    /// Whether its rows count: it was neither restated nor taken back.
    pub(crate) is_live: bool,
    /// Whether its last record is in.
    pub(crate) is_complete: bool,
    /// How often it was taken back. Importing it again after that is a new import.
    pub(crate) retractions: u64,
    /// The snapshot that has its first rows.
    pub(crate) first_snapshot_id: i64,
    pub(crate) committed_at: i64,
}

/// A feed and a file's digest in a city.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    pub(crate) feed: String,
    pub(crate) city: City,
    pub(crate) sha256: String,
}

/// Every file that was taken, and which stands for its slice. Read from the batch records at the start, kept by the imports; about 300 bytes a file.
#[derive(Default)]
pub(crate) struct Slices {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    files: HashMap<FileKey, TakenFile>,
    live: HashMap<(String, Slice), String>,
}

/// What one batch record says of a file.
pub(crate) struct FileRecord {
    pub(crate) key: FileKey,
    pub(crate) slice: Slice,
    pub(crate) file_name: String,
    pub(crate) source: Source,
    pub(crate) is_last: bool,
    pub(crate) snapshot_id: i64,
    pub(crate) committed_at: i64,
}

const COLUMNS: [&str; 10] = ["feed", "city", "file_sha256", "file_name", "period", "part", "source", "is_last", "snapshot_id", "committed_at"];

impl Slices {
    pub(super) async fn load(lake: &Lake) -> Result<Slices, WarehouseError> {
        let mut records = Vec::new();
        for batch in lake.rows(lake.newest(), &TableName::kernel(tables::BATCH), None, &COLUMNS).await? {
            for row in 0..batch.num_rows() {
                records.extend(file_record(&batch, row)?);
            }
        }
        records.sort_by_key(|record| record.snapshot_id);
        let slices = Slices::default();
        records.into_iter().for_each(|record| slices.note(record));
        Ok(slices)
    }

    /// Notes a committed batch of a file, or that a file was taken back. Records come in the order of their snapshots.
    pub(super) fn note(&self, record: FileRecord) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let FileRecord { key, slice, file_name, source, is_last, snapshot_id, committed_at } = record;
        let place = (key.feed.clone(), slice);
        if source == Source::Retraction {
            if let Some(file) = known.files.get_mut(&key) {
                (file.is_live, file.is_complete) = (false, false);
                file.retractions += 1;
            }
            if known.live.get(&place) == Some(&key.sha256) {
                known.live.remove(&place);
            }
            return;
        }
        let fresh = || TakenFile { slice, file_name, is_live: true, is_complete: false, retractions: 0, first_snapshot_id: snapshot_id, committed_at };
        let file = known.files.entry(key.clone()).or_insert_with(fresh);
        if !file.is_live {
            (file.is_live, file.first_snapshot_id) = (true, snapshot_id);
        }
        file.is_complete |= is_last;
        file.committed_at = committed_at;
        // The file that stood for the slice leaves with the last of this one.
        if is_last
            && slice.period.is_some()
            && let Some(earlier) = known.live.insert(place, key.sha256.clone())
            && earlier != key.sha256
            && let Some(file) = known.files.get_mut(&FileKey { sha256: earlier, ..key })
        {
            file.is_live = false;
        }
    }

    pub(super) fn file(&self, key: &FileKey) -> Option<TakenFile> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).files.get(key).cloned()
    }

    /// The digest of the file that stands for a slice.
    pub(super) fn live(&self, feed: &str, slice: Slice) -> Option<String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).live.get(&(feed.to_owned(), slice)).cloned()
    }

    /// The cities from which files have come.
    pub(super) fn cities(&self) -> BTreeSet<City> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.files.keys().map(|key| key.city).filter(|city| *city != City::PROVINCE).collect()
    }

    /// The files of a feed that count, with their digest.
    pub(super) fn live_files(&self, feed: &str) -> Vec<(FileKey, TakenFile)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.files.iter().filter(|(key, file)| key.feed == feed && file.is_live).map(|(key, file)| (key.clone(), file.clone())).collect()
    }
}

/// The record of one row of the batch table, its columns in the order of [`COLUMNS`]; `None` for batches without a file.
fn file_record(batch: &RecordBatch, row: usize) -> Result<Option<FileRecord>, WarehouseError> {
    let text = |column: usize| {
        let texts = batch.column(column).as_string::<i32>();
        (!texts.is_null(row)).then(|| texts.value(row))
    };
    let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
    let source = text(6).and_then(Source::of_name);
    let (Some(feed), Some(sha256), Some(source @ (Source::File | Source::Retraction))) = (text(0), text(2), source) else {
        return Ok(None);
    };
    let city: City = text(1).unwrap_or_default().parse()?;
    let part = u32::try_from(number(5)).unwrap_or(0);
    Ok(Some(FileRecord {
        key: FileKey { feed: feed.to_owned(), city, sha256: sha256.to_owned() },
        slice: Slice { city, period: text(4).and_then(Period::read), part },
        file_name: text(3).unwrap_or_default().to_owned(),
        source,
        is_last: batch.column(7).as_boolean().value(row),
        snapshot_id: number(8),
        committed_at: batch.column(9).as_primitive::<arrow_array::types::TimestampMicrosecondType>().value(row),
    }))
}
