use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use arrow_array::{Array, RecordBatch, cast::AsArray, types::Int64Type};
use datafusion::{
    logical_expr::{Expr, not},
    prelude::col,
};
use kernel_base::City;

use super::{
    Batch, RowSource, Source, tables,
    writes::{of_source, row_source},
};
use crate::{
    contract::Mode,
    error::WarehouseError,
    lake::{Lake, TableName},
};

/// The files that came in several commits: of each the snapshots that have a part of it only. There its rows are not seen, so that a day is there or is not, and one
/// that is sent again never counts twice. Files of `latest` datasets are none of these: their rows replace others one by one.
#[derive(Default)]
pub(super) struct PartialFiles {
    /// About 200 bytes a file; only a file that is larger than a chunk is here.
    dataset_to_files: Mutex<HashMap<String, Vec<PartialFile>>>,
}

struct PartialFile {
    city: City,
    source: RowSource,
    /// The first snapshot that has rows of it.
    from: i64,
    /// The snapshot that has all of them, or none any more.
    until: Option<i64>,
}

/// What a batch record says of a file.
struct Record {
    dataset: String,
    city: City,
    row_source: RowSource,
    is_last: bool,
    snapshot_id: i64,
}

const COLUMNS: [&str; 9] = ["dataset", "city", "feed", "period", "part", "file_sha256", "source", "is_last", "snapshot_id"];

impl PartialFiles {
    /// Reads which files came in parts. `latest` datasets are among them, which nobody asks for.
    pub(super) async fn load(lake: &Lake) -> Result<PartialFiles, WarehouseError> {
        let table = TableName::kernel(tables::BATCH);
        let mut records = Vec::new();
        for batch in lake.rows(lake.newest(), &table, Some(col("file_sha256").is_not_null()), &COLUMNS).await? {
            for row in 0..batch.num_rows() {
                records.extend(record(&batch, row)?);
            }
        }
        records.sort_by_key(|record| record.snapshot_id);
        let files = PartialFiles::default();
        records.into_iter().for_each(|record| files.note_record(record));
        Ok(files)
    }

    /// Notes what a batch came to, before anyone can read its snapshot.
    pub(super) fn note(&self, batch: &Batch, snapshot_id: i64) {
        let (Mode::Append, Source::File | Source::Retraction, Some(file)) = (batch.dataset.mode, batch.source, &batch.file) else {
            return;
        };
        let (dataset, is_last) = (batch.dataset.name.clone(), file.is_last);
        self.note_record(Record { dataset, city: batch.city, row_source: row_source(batch), is_last, snapshot_id });
    }

    fn note_record(&self, record: Record) {
        let mut files = self.dataset_to_files.lock().unwrap_or_else(PoisonError::into_inner);
        let Record { dataset, city, row_source, is_last, snapshot_id } = record;
        let of_dataset = files.entry(dataset).or_default();
        let open = of_dataset.iter_mut().rev().find(|file| file.until.is_none() && file.city == city && file.source == row_source);
        match (open, is_last) {
            (Some(open), true) => open.until = Some(snapshot_id),
            (None, false) => of_dataset.push(PartialFile { city, source: row_source, from: snapshot_id, until: None }),
            (Some(_), false) | (None, true) => {}
        }
    }

    /// The condition that a row is of no file of which only a part is there at a snapshot; `None` when there is no such file.
    pub(super) fn is_whole(&self, dataset: &str, snapshot: i64) -> Option<Expr> {
        let files = self.dataset_to_files.lock().unwrap_or_else(PoisonError::into_inner);
        let is_partial = |file: &&PartialFile| file.from <= snapshot && file.until.is_none_or(|until| snapshot < until);
        let partial = files.get(dataset)?.iter().filter(is_partial);
        partial.map(|file| not(of_source(file.city, &file.source))).reduce(Expr::and)
    }
}

/// The record of one row, its columns in the order of [`COLUMNS`]; `None` where it tells nothing of how far a file is in.
fn record(batch: &RecordBatch, row: usize) -> Result<Option<Record>, WarehouseError> {
    let text = |column: usize| {
        let texts = batch.column(column).as_string::<i32>();
        (!texts.is_null(row)).then(|| texts.value(row))
    };
    let (Some(Source::File | Source::Retraction), Some(feed), Some(sha256)) = (text(6).and_then(Source::of_name), text(2), text(5)) else {
        return Ok(None);
    };
    let number = |column: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
    Ok(Some(Record {
        dataset: text(0).unwrap_or_default().to_owned(),
        city: text(1).unwrap_or_default().parse()?,
        row_source: RowSource::file(feed, text(3).unwrap_or("-"), u32::try_from(number(4)).unwrap_or(0), sha256),
        is_last: batch.column(7).as_boolean().value(row),
        snapshot_id: number(8),
    }))
}
