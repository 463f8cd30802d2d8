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
    /// Whether it counts no more because another file took its slice, and not because it was taken back.
    pub(crate) is_restated: bool,
    /// How often it stopped counting. Importing it again after that is a new import, with keys of its own.
    pub(crate) endings: u64,
    /// The snapshot that has its first rows.
    pub(crate) first_snapshot_id: i64,
    /// Those of its earlier imports, which ended.
    pub(crate) first_snapshot_ids_before: Vec<i64>,
    pub(crate) committed_at: i64,
}

/// A feed and a file's digest in a city.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    pub(crate) feed: String,
    pub(crate) city: City,
    pub(crate) sha256: String,
}

/// What names a file. Its digest does, wherever it is sent again; but days without a record all have the same bytes, and each of them is a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FileId {
    key: FileKey,
    /// Of a file without a record.
    slice: Option<Slice>,
}

/// Every file that was taken, and which stands for its slice. Read from the batch records at the start, kept by the imports; about 300 bytes a file.
#[derive(Default)]
pub(crate) struct Slices {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    files: HashMap<FileId, TakenFile>,
    live: HashMap<(String, Slice), String>,
}

impl Known {
    /// The id under which a file of this digest and slice is known.
    fn id(&self, key: &FileKey, slice: Slice) -> Option<FileId> {
        [None, Some(slice)].into_iter().map(|slice| FileId { key: key.clone(), slice }).find(|id| self.files.contains_key(id))
    }

    fn file_mut(&mut self, key: &FileKey, slice: Slice) -> Option<&mut TakenFile> {
        self.id(key, slice).and_then(|id| self.files.get_mut(&id))
    }
}

/// What one batch record says of a file.
pub(crate) struct FileRecord {
    pub(crate) key: FileKey,
    pub(crate) slice: Slice,
    pub(crate) file_name: String,
    pub(crate) source: Source,
    pub(crate) is_last: bool,
    /// Whether the batch ends the file where it began, and there is no record in it.
    pub(crate) is_nothing: bool,
    pub(crate) snapshot_id: i64,
    pub(crate) committed_at: i64,
}

// Limit: the line on which a file begins that has no record: the first, or the one after its header.
const NOTHING_BEGINS_MAX: u64 = 2;

/// Whether a batch from this line to the end of a file, with so many records, is a file without a record.
pub(super) fn is_nothing(first_line: u64, is_last: bool, records: u64) -> bool {
    is_last && first_line <= NOTHING_BEGINS_MAX && records == 0
}

const COLUMNS: [&str; 15] = [
    "feed",
    "city",
    "file_sha256",
    "file_name",
    "period",
    "part",
    "source",
    "is_last",
    "snapshot_id",
    "committed_at",
    "first_line",
    "rows",
    "quarantined",
    "unchanged",
    "duplicates",
];

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
        let FileRecord { key, slice, file_name, source, is_last, is_nothing, snapshot_id, committed_at } = record;
        let place = (key.feed.clone(), slice);
        if source == Source::Retraction {
            if let Some(file) = known.file_mut(&key, slice) {
                (file.is_live, file.is_complete) = (false, false);
                file.endings += 1;
            }
            if known.live.get(&place) == Some(&key.sha256) {
                known.live.remove(&place);
            }
            return;
        }
        let name = file_name.clone();
        let fresh = || TakenFile {
            slice,
            file_name,
            is_live: true,
            is_complete: false,
            is_restated: false,
            endings: 0,
            first_snapshot_id: snapshot_id,
            first_snapshot_ids_before: Vec::new(),
            committed_at,
        };
        let with_records = FileId { key: key.clone(), slice: None };
        // After batches with records it is only the end of their file that has none.
        let is_nothing = is_nothing && !known.files.contains_key(&with_records);
        let id = if is_nothing { FileId { slice: Some(slice), ..with_records } } else { with_records };
        let file = known.files.entry(id).or_insert_with(fresh);
        if !file.is_live {
            file.first_snapshot_ids_before.push(file.first_snapshot_id);
            (file.is_live, file.is_complete, file.is_restated, file.first_snapshot_id) = (true, false, false, snapshot_id);
            // What was taken back as one day may come again as another.
            (file.slice, file.file_name) = (slice, name);
        }
        file.is_complete |= is_last;
        file.committed_at = committed_at;
        // The file that stood for the slice leaves with the last of this one.
        if is_last
            && slice.period.is_some()
            && let Some(earlier) = known.live.insert(place, key.sha256.clone())
            && earlier != key.sha256
            && let Some(file) = known.file_mut(&FileKey { sha256: earlier, ..key }, slice)
        {
            (file.is_live, file.is_restated) = (false, true);
            file.endings += 1;
        }
    }

    /// The file of this digest; of those without a record the one of the slice.
    pub(super) fn file(&self, key: &FileKey, slice: Slice) -> Option<TakenFile> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.id(key, slice).and_then(|id| known.files.get(&id).cloned())
    }

    /// The file of this digest that has records, whether it counts or not.
    pub(super) fn file_with_records(&self, key: &FileKey) -> Option<TakenFile> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.files.get(&FileId { key: key.clone(), slice: None }).cloned()
    }

    /// The files of a city that were taken back and not taken again, with their digest.
    pub(super) fn taken_back(&self, city: City) -> Vec<(FileKey, TakenFile)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_gone = |id: &FileId, file: &TakenFile| id.key.city == city && !file.is_live && !file.is_restated;
        known.files.iter().filter(|(id, file)| is_gone(id, file)).map(|(id, file)| (id.key.clone(), file.clone())).collect()
    }

    /// The digest of the file that stands for a slice.
    pub(super) fn live(&self, feed: &str, slice: Slice) -> Option<String> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).live.get(&(feed.to_owned(), slice)).cloned()
    }

    /// The cities from which files have come.
    pub(super) fn cities(&self) -> BTreeSet<City> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.files.keys().map(|id| id.key.city).filter(|city| *city != City::PROVINCE).collect()
    }

    /// The files that stand for the other parts of a slice's period: their slices, and their digests. One that is not in to its end is none of them.
    pub(super) fn other_parts(&self, feed: &str, slice: Slice) -> Vec<(Slice, String)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other_part = |other: Slice| other.period.is_some() && other.period == slice.period && other.part != slice.part;
        let of_city = known.files.iter().filter(|(id, file)| file.is_live && file.is_complete && id.key.feed == feed && id.key.city == slice.city);
        of_city.filter(|(_, file)| is_other_part(file.slice)).map(|(id, file)| (file.slice, id.key.sha256.clone())).collect()
    }

    /// When the newest file of a city's period came, whichever part it is, microseconds since 1970.
    pub(super) fn newest_of_period(&self, feed: &str, city: City, period: Period) -> Option<i64> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of_city = known.files.iter().filter(|(id, file)| file.is_live && id.key.feed == feed && id.key.city == city);
        of_city.filter(|(_, file)| file.slice.period == Some(period)).map(|(_, file)| file.committed_at).max()
    }

    /// When the first file of a city came, of any feed, microseconds since 1970.
    pub(super) fn first_of_city(&self, city: City) -> Option<i64> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.files.iter().filter(|(id, _)| id.key.city == city).map(|(_, file)| file.committed_at).min()
    }

    /// A slice with a file that counts and may hold rows of this one without being it: the month of a day, the whole of a part, and the other way round.
    pub(super) fn overlapping(&self, feed: &str, slice: Slice) -> Option<Slice> {
        let period = slice.period?;
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_beside = |other: &Slice| {
            let is_part_of_whole = (other.part == 0) != (slice.part == 0);
            let meets = |there: Period| there.contains(period.first_day()) || period.contains(there.first_day());
            other.city == slice.city && other.period.is_some_and(|there| if there == period { is_part_of_whole } else { meets(there) })
        };
        // Also those that are not in to their end: what is in of them counts.
        let of_feed = known.files.iter().filter(|(id, file)| file.is_live && id.key.feed == feed).map(|(_, file)| file.slice);
        of_feed.filter(is_beside).min_by_key(Slice::to_string)
    }

    /// The files of this digest that count, whatever their slices: more than one when they have no record.
    pub(super) fn live_slices(&self, key: &FileKey) -> Vec<Slice> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.files.iter().filter(|(id, file)| id.key == *key && file.is_live).map(|(_, file)| file.slice).collect()
    }

    /// The files of a feed that count, with their digest.
    pub(super) fn live_files(&self, feed: &str) -> Vec<(FileKey, TakenFile)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.files.iter().filter(|(id, file)| id.key.feed == feed && file.is_live).map(|(id, file)| (id.key.clone(), file.clone())).collect()
    }
}

/// The record of one row of the batch table, its columns in the order of [`COLUMNS`]; `None` for batches without a file.
fn file_record(batch: &RecordBatch, row: usize) -> Result<Option<FileRecord>, WarehouseError> {
    let text = |column: usize| {
        let texts = batch.column(column).as_string::<i32>();
        (!texts.is_null(row)).then(|| texts.value(row))
    };
    let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
    let count = |column: usize| u64::try_from(number(column)).unwrap_or(0);
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
        is_nothing: is_nothing(count(10), batch.column(7).as_boolean().value(row), (11..15).map(count).sum()),
        snapshot_id: number(8),
        committed_at: batch.column(9).as_primitive::<arrow_array::types::TimestampMicrosecondType>().value(row),
    }))
}
