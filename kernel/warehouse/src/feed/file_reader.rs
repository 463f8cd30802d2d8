use std::{
    collections::BTreeMap,
    io::{self, BufRead},
    sync::Arc,
};

use arrow_array::RecordBatch;
use kernel_base::City;

use super::{
    FeedContract, Format, combined_log,
    csv_file::{self, CsvRecords},
    lines::Lines,
    row::{Bad, Row, RowReader},
    visitor::VisitorKey,
};
use crate::{
    append::{FileRange, Quarantined, incoming::declared_schema},
    error::WarehouseError,
    rows::RowsBuilder,
};

// Limit: raw text kept of a bad row. Enough to see and correct any real line; the whole of it is in the platform's file.
const RAW_CHARACTERS_MAX: usize = 8 << 10;

/// Whose file is read, and how.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) feed: Arc<FeedContract>,
    pub(super) city: City,
    pub(super) file_name: String,
    pub(super) sha256: String,
}

/// Some lines of a file, read.
pub(super) struct Chunk {
    pub(super) first_line: u64,
    pub(super) last_line: u64,
    pub(super) is_last: bool,
    pub(super) rows: RecordBatch,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) newest_at: Option<i64>,
    /// Counted from the beginning of the file.
    pub(super) so_far: Counts,
}

/// What was seen of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) bytes: u64,
    /// Lines with something in them; of CSV, records.
    pub(super) records: u64,
    pub(super) bad: u64,
    /// Per reason how many and the first line.
    pub(super) reasons: BTreeMap<&'static str, (u64, u64)>,
}

/// Reads a file chunk by chunk. Reading again from the beginning gives the same rows, whatever the chunks were.
pub(super) struct FileReader<'a, R> {
    origin: &'a Origin,
    records: Records<R>,
    header: Option<String>,
    rows: RowReader<'a>,
    ahead: Option<Record>,
    counts: Counts,
    lines_read: u64,
}

enum Records<R> {
    Log(Lines<R>),
    Csv(CsvRecords<R>),
}

/// One record as it stands in the file.
struct Record {
    first_line: u64,
    last_line: u64,
    raw: Vec<u8>,
    fields: Result<Vec<Option<String>>, Bad>,
}

impl<'a, R: BufRead> FileReader<'a, R> {
    /// # Errors
    /// FILE_REFUSED when the header lacks a column of the contract.
    pub(super) fn open(origin: &'a Origin, visitors: VisitorKey, input: R) -> Result<FileReader<'a, R>, WarehouseError> {
        let mut records = match origin.feed.format {
            Format::CombinedLog => Records::Log(Lines::new(input)),
            Format::Csv => Records::Csv(CsvRecords::new(Lines::new(input))),
        };
        let header = match &mut records {
            Records::Log(_) => None,
            Records::Csv(csv) => Some(read_header(csv, origin)?),
        };
        let positions = positions(origin, header.as_deref())?;
        let rows = RowReader::new(&origin.feed, origin.city, &origin.sha256, visitors, positions);
        let lines_read = u64::from(header.is_some());
        Ok(FileReader { origin, records, header, rows, ahead: None, counts: Counts::default(), lines_read })
    }

    /// The next chunk, of about `lines_max` lines after line `covered`. Lines up to there are read for what they tell of the later ones, and left out.
    pub(super) fn next_chunk(&mut self, covered: u64, lines_max: usize) -> Result<Chunk, WarehouseError> {
        let schema = declared_schema(&self.origin.feed.dataset);
        let (mut rows, mut quarantined, mut newest_at, mut first_line) = (RowsBuilder::new(schema)?, Vec::new(), None, None);
        loop {
            let Some(record) = self.next_record()? else {
                break;
            };
            self.lines_read = record.last_line;
            let outcome = self.read(&record);
            if record.first_line <= covered {
                continue;
            }
            let first = *first_line.get_or_insert(record.first_line);
            match outcome {
                None => {}
                Some(Ok(row)) => {
                    rows.push(row.values)?;
                    newest_at = newest_at.max(row.at);
                }
                Some(Err(bad)) => quarantined.push(self.quarantined(&record, bad)),
            }
            if record.last_line + 1 - first >= lines_max as u64 {
                break;
            }
        }
        self.ahead = self.next_record()?;
        self.counts.bytes = self.bytes_read();
        Ok(Chunk {
            first_line: first_line.unwrap_or(self.lines_read + 1),
            last_line: self.lines_read,
            is_last: self.ahead.is_none(),
            rows: rows.finish()?,
            quarantined,
            newest_at,
            so_far: self.counts.clone(),
        })
    }

    /// The row of a record, `None` for an empty line.
    fn read(&mut self, record: &Record) -> Option<Result<Row, Bad>> {
        if record.raw.trim_ascii().is_empty() {
            return None;
        }
        self.counts.records += 1;
        let outcome = record.fields.clone().and_then(|fields| self.rows.read(record.first_line, &fields));
        if let Err(bad) = &outcome {
            self.counts.bad += 1;
            self.counts.reasons.entry(bad.reason).or_insert((0, record.first_line)).0 += 1;
        }
        Some(outcome)
    }

    fn quarantined(&self, record: &Record, bad: Bad) -> Quarantined {
        let file_id: String = self.origin.sha256.chars().take(FileRange::ID_CHARACTERS).collect();
        Quarantined {
            quarantine_id: format!("{file_id}-{}-{}", self.origin.city, record.first_line),
            line: record.first_line,
            column: bad.column,
            reason: bad.reason,
            message: bad.message,
            raw_text: String::from_utf8_lossy(&record.raw).chars().take(RAW_CHARACTERS_MAX).collect(),
            header: self.header.clone(),
        }
    }

    fn next_record(&mut self) -> Result<Option<Record>, WarehouseError> {
        if let Some(record) = self.ahead.take() {
            return Ok(Some(record));
        }
        let read = match &mut self.records {
            Records::Log(lines) => next_log_line(lines),
            Records::Csv(csv) => next_csv_record(csv, self.header.as_deref()),
        };
        read.map_err(WarehouseError::storage("reading an uploaded file"))
    }

    fn bytes_read(&self) -> u64 {
        match &self.records {
            Records::Log(lines) => lines.bytes_read(),
            Records::Csv(csv) => csv.bytes_read(),
        }
    }
}

fn next_log_line<R: BufRead>(lines: &mut Lines<R>) -> io::Result<Option<Record>> {
    let line = lines.next_line()?;
    Ok(line.map(|line| {
        let fields = if line.too_long { Err(Bad::too_long()) } else { combined_log::parse(&line.bytes) };
        Record { first_line: line.number, last_line: line.number, raw: line.bytes, fields }
    }))
}

fn next_csv_record<R: BufRead>(csv: &mut CsvRecords<R>, header: Option<&str>) -> io::Result<Option<Record>> {
    let record = csv.next_record()?;
    Ok(record.map(|record| {
        let fields = match record.fault {
            Some(bad) => Err(bad),
            None => csv_fields(&record.bytes, header.unwrap_or_default()),
        };
        Record { first_line: record.first_line, last_line: record.last_line, raw: record.bytes, fields }
    }))
}

fn csv_fields(record: &[u8], header: &str) -> Result<Vec<Option<String>>, Bad> {
    if record.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let (fields, expected) = (csv_file::fields(record)?, csv_file::fields(header.as_bytes())?.len());
    if fields.len() != expected {
        return Err(Bad::new("FIELD_COUNT", format!("expected {expected} fields, as the header has; found {}", fields.len())));
    }
    Ok(fields.into_iter().map(|field| Some(field).filter(|field| !field.is_empty())).collect())
}

fn read_header<R: BufRead>(csv: &mut CsvRecords<R>, origin: &Origin) -> Result<String, WarehouseError> {
    let refuse = |problem: String| WarehouseError::FileRefused { file_name: origin.file_name.clone(), problem };
    let record = csv.next_record().map_err(WarehouseError::storage("reading an uploaded file"))?;
    let record = record.ok_or_else(|| refuse("it is empty: expected a header with the names of the columns".to_owned()))?;
    let bytes = record.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&record.bytes);
    String::from_utf8(bytes.to_vec()).map_err(|_| refuse("its header is no UTF-8: save the file as UTF-8".to_owned()))
}

/// Where each column's field stands in a record.
fn positions(origin: &Origin, header: Option<&str>) -> Result<Vec<Option<usize>>, WarehouseError> {
    let names: Vec<String> = match header {
        None => combined_log::FIELDS.iter().map(|name| (*name).to_owned()).collect(),
        Some(header) => {
            let fault = |bad: Bad| WarehouseError::FileRefused { file_name: origin.file_name.clone(), problem: format!("its header: {}", bad.message) };
            csv_file::fields(header.as_bytes()).map_err(fault)?
        }
    };
    let position = |from: &String| {
        names.iter().position(|name| name == from).ok_or_else(|| WarehouseError::FileRefused {
            file_name: origin.file_name.clone(),
            problem: format!(
                "its header lacks the column '{from}' of the feed '{}'; found {}",
                origin.feed.name,
                names.join(", ").chars().take(200).collect::<String>()
            ),
        })
    };
    origin.feed.columns.iter().map(|column| column.from.as_ref().map(position).transpose()).collect()
}

/// Reads one record by itself, as it stands in quarantine or was corrected. The outer error is the kernel's, the inner one the record's.
pub(super) fn read_alone(origin: &Origin, visitors: VisitorKey, header: Option<&str>, line: u64, text: &str) -> Result<Result<Row, Bad>, WarehouseError> {
    let mut rows = RowReader::new(&origin.feed, origin.city, &origin.sha256, visitors, positions(origin, header)?).alone();
    let fields = match origin.feed.format {
        Format::CombinedLog => combined_log::parse(text.as_bytes()),
        Format::Csv => csv_fields(text.as_bytes(), header.unwrap_or_default()),
    };
    Ok(fields.and_then(|fields| rows.read(line, &fields)))
}
