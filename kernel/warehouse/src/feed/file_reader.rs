use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow_array::RecordBatch;
use flate2::bufread::MultiGzDecoder;

use super::{
    Compression, FeedContract, Format, combined_log,
    csv_file::{self, CsvRecords},
    decode::decode,
    duplicates::{KeyDigest, key_digest},
    json_lines,
    lines::{Lines, Record},
    numbers::NumberIndex,
    row::{Bad, Field, RowReader},
    separated,
    slices::Slice,
    text_chunks::{ChunkLimits, TextChunk, TextChunks, line_end},
    visitor::VisitorKey,
};
use crate::{
    append::{FileRange, Quarantined, incoming::declared_schema},
    error::WarehouseError,
    rows::{Cell, RowsBuilder},
};

// Limit: raw text kept of a record that is too long to be one; of the others all is kept, so that they can be replayed.
const TOO_LONG_CHARACTERS_KEPT: usize = 8 << 10;

/// Whose file is read, and how.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) feed: Arc<FeedContract>,
    pub(super) slice: Slice,
    pub(super) file_name: String,
    pub(super) sha256: String,
    /// How often the file stopped counting before: taken back, or restated.
    pub(super) endings: u64,
}

/// The header of a file that has one.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) text: String,
    names: Vec<String>,
}

/// Turns the bytes of a file into rows, chunk by chunk; chunks may be read at the same time.
pub(super) struct FileReader {
    origin: Origin,
    header: Option<Header>,
    /// The fields of a record.
    names: Vec<String>,
    positions: Vec<Option<usize>>,
    visitors: VisitorKey,
    numbers: Arc<NumberIndex>,
}

/// Some records of a file, read.
pub(super) struct Chunk {
    pub(super) first_line: u64,
    pub(super) last_line: u64,
    pub(super) is_last: bool,
    pub(super) rows: RecordBatch,
    /// The line of each row.
    pub(super) lines: Vec<u64>,
    /// The digest of each row's key, where the feed drops duplicates.
    pub(super) keys: Vec<KeyDigest>,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) counts: Counts,
}

/// What was seen of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Records with something in them.
    pub(super) records: u64,
    pub(super) bad: u64,
    /// Per reason how many and the first line.
    pub(super) reasons: BTreeMap<&'static str, (u64, u64)>,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.records += other.records;
        self.bad += other.bad;
        for (reason, (rows, line)) in &other.reasons {
            self.reasons.entry(reason).or_insert((0, *line)).0 += rows;
        }
    }

    fn add_bad(&mut self, reason: &'static str, line: u64) {
        // What only waits is not bad.
        self.bad += u64::from(reason != Bad::NUMBER_UNKNOWN);
        self.reasons.entry(reason).or_insert((0, line)).0 += 1;
    }
}

/// Opens a file's text of at most so many bytes, with a count of the bytes that were read of the file itself.
///
/// # Errors
/// FILE_REFUSED when a compressed file is cut off or none.
pub(super) fn open_text(origin: &Origin, path: &Path, bytes_max: u64, limits: ChunkLimits) -> Result<(FileText, Arc<AtomicU64>), WarehouseError> {
    let bytes_read = Arc::new(AtomicU64::new(0));
    let file = File::open(path).map_err(WarehouseError::storage("opening an uploaded file"))?;
    let counted = BufReader::with_capacity(256 << 10, Counted { file, bytes_read: bytes_read.clone() });
    let text = Bounded { input: decompressed(origin.feed.compression, counted), left: bytes_max, bytes_max };
    Ok((FileText::new(origin, Box::new(text), limits)?, bytes_read))
}

pub(super) fn decompressed(compression: Compression, input: impl BufRead + Send + 'static) -> Box<dyn Read + Send> {
    match compression {
        Compression::None => Box::new(input),
        Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
    }
}

/// The text of a file in chunks of whole records.
pub(super) struct FileText {
    chunks: TextChunks<Box<dyn Read + Send>>,
    compression: Compression,
    file_name: String,
}

impl FileText {
    pub(super) fn new(origin: &Origin, input: Box<dyn Read + Send>, limits: ChunkLimits) -> Result<FileText, WarehouseError> {
        let find_end = if origin.feed.format == Format::Csv { csv_file::record_end } else { line_end };
        let (compression, file_name) = (origin.feed.compression, origin.file_name.clone());
        let chunks = TextChunks::new(input, find_end, limits).map_err(|error| unreadable(compression, &file_name, error))?;
        Ok(FileText { chunks, compression, file_name })
    }

    fn header(&mut self) -> Result<Option<Vec<u8>>, WarehouseError> {
        self.chunks.first_record().map_err(|error| unreadable(self.compression, &self.file_name, error))
    }

    /// # Errors
    /// FILE_REFUSED when the compressed stream ends before its time.
    pub(super) fn next_chunk(&mut self) -> Result<Option<TextChunk>, WarehouseError> {
        self.chunks.next_chunk().map_err(|error| unreadable(self.compression, &self.file_name, error))
    }
}

fn unreadable(compression: Compression, file_name: &str, error: io::Error) -> WarehouseError {
    let problem = match (compression, error.kind()) {
        (Compression::Gzip, io::ErrorKind::UnexpectedEof) => "its gzip stream ends early: the file was cut off, send it again".to_owned(),
        (Compression::Gzip, io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => format!("it is no sound gzip file ({error}): send it again"),
        (_, io::ErrorKind::FileTooLarge) => error.to_string(),
        _ => return WarehouseError::storage("reading an uploaded file")(error),
    };
    WarehouseError::FileRefused { file_name: file_name.to_owned(), problem }
}

/// Text that may not be longer than a file may be: a small compressed file can hold a thousand times its size.
struct Bounded<R> {
    input: R,
    left: u64,
    bytes_max: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::FileTooLarge, format!("its text has more than the {} bytes that a file may have: split it", self.bytes_max))
        })?;
        Ok(read)
    }
}

struct Counted<R> {
    file: R,
    bytes_read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl FileReader {
    /// Takes the header, where the format has one.
    ///
    /// # Errors
    /// FILE_REFUSED when the header lacks a column of the contract.
    pub(super) fn open(origin: Origin, text: &mut FileText, visitors: VisitorKey, numbers: Arc<NumberIndex>) -> Result<FileReader, WarehouseError> {
        let header = if origin.feed.format == Format::Csv { Some(read_header(&origin, text.header()?)?) } else { None };
        FileReader::with_header(origin, header, visitors, numbers)
    }

    fn with_header(origin: Origin, header: Option<Header>, visitors: VisitorKey, numbers: Arc<NumberIndex>) -> Result<FileReader, WarehouseError> {
        let names = field_names(&origin.feed, header.as_ref());
        let positions = positions(&origin, &names)?;
        Ok(FileReader { origin, header, names, positions, visitors, numbers })
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    fn row_reader(&self) -> Result<RowReader<'_>, WarehouseError> {
        let Origin { feed, slice, sha256, .. } = &self.origin;
        RowReader::new(feed, slice.city, sha256, slice.period, &self.visitors, &self.numbers, &self.positions)
    }

    pub(super) fn read(&self, chunk: &TextChunk) -> Result<Chunk, WarehouseError> {
        let decoded = decode(self.origin.feed.encoding, &chunk.bytes);
        // A browser's odd bytes are no reason to lose its request.
        let broken = if self.origin.feed.format == Format::CombinedLog { &[][..] } else { decoded.broken_lines.as_slice() };
        let rows = self.row_reader()?;
        let mut reading = Reading::new(self, &rows, chunk.first_line, broken)?;
        match self.origin.feed.format {
            Format::Csv => CsvRecords::new(&decoded.text, chunk.first_line).try_for_each(|record| reading.add(record))?,
            _ => Lines::new(&decoded.text, chunk.first_line).try_for_each(|record| reading.add(record))?,
        }
        reading.finish(chunk)
    }

    /// Splits a record into its fields.
    fn split<'t>(&self, text: &'t str, fields: &mut Vec<Field<'t>>) -> Result<(), Bad> {
        match &self.origin.feed.format {
            Format::Separated { separator, null_text, .. } => separated::split(text, *separator, null_text, self.names.len(), fields),
            Format::Csv => csv_file::split(text, self.names.len(), fields),
            Format::JsonLines => json_lines::split(text, &self.names, fields),
            Format::CombinedLog => combined_log::split(text, fields),
        }
    }
}

/// A chunk while it is read; what one row needs is used again for the next.
struct Reading<'a, 't> {
    reader: &'a FileReader,
    rows: &'t RowReader<'a>,
    first_line: u64,
    /// Lines of the chunk that are not in the file's encoding.
    broken: &'a [usize],
    builder: RowsBuilder,
    fields: Vec<Field<'t>>,
    cells: Vec<Cell<'t>>,
    key_columns: Vec<usize>,
    scratch: Vec<u8>,
    lines: Vec<u64>,
    keys: Vec<KeyDigest>,
    quarantined: Vec<Quarantined>,
    counts: Counts,
}

impl<'a, 't> Reading<'a, 't> {
    fn new(reader: &'a FileReader, rows: &'t RowReader<'a>, first_line: u64, broken: &'a [usize]) -> Result<Reading<'a, 't>, WarehouseError> {
        let feed = &reader.origin.feed;
        let key_columns = if feed.drops_duplicates { feed.dataset.key_indexes() } else { Vec::new() };
        Ok(Reading {
            reader,
            rows,
            first_line,
            broken,
            builder: RowsBuilder::new(declared_schema(&feed.dataset))?,
            fields: Vec::new(),
            cells: Vec::new(),
            key_columns,
            scratch: Vec::new(),
            lines: Vec::new(),
            keys: Vec::new(),
            quarantined: Vec::new(),
            counts: Counts::default(),
        })
    }

    fn add(&mut self, record: Record<'t>) -> Result<(), WarehouseError> {
        if record.text.trim_ascii().is_empty() {
            return Ok(());
        }
        self.counts.records += 1;
        match self.read(&record) {
            Ok(()) => self.take(record.first_line)?,
            Err(bad) => {
                self.counts.add_bad(bad.reason, record.first_line);
                self.quarantined.push(self.reader.quarantined(&record, bad));
            }
        }
        Ok(())
    }

    /// Takes the row that was read last.
    fn take(&mut self, line: u64) -> Result<(), WarehouseError> {
        self.builder.push_cells(&self.cells)?;
        self.lines.push(line);
        if !self.key_columns.is_empty() {
            self.keys.push(key_digest(self.key_columns.iter().map(|column| &self.cells[*column]), &mut self.scratch));
        }
        Ok(())
    }

    fn read(&mut self, record: &Record<'t>) -> Result<(), Bad> {
        if let Some(fault) = &record.fault {
            return Err(fault.clone());
        }
        if !self.broken.is_empty() && self.is_broken(record) {
            let encoding = self.reader.origin.feed.encoding.name();
            return Err(Bad::new("ENCODING_INVALID", format!("expected {encoding}; found other bytes, shown as U+FFFD")));
        }
        self.fields.clear();
        self.reader.split(record.text, &mut self.fields)?;
        self.rows.read(record.first_line, &self.fields, &mut self.cells)
    }

    fn is_broken(&self, record: &Record<'_>) -> bool {
        let index = |line: u64| usize::try_from(line - self.first_line).unwrap_or(usize::MAX);
        let from = self.broken.partition_point(|line| *line < index(record.first_line));
        self.broken.get(from).is_some_and(|line| *line <= index(record.last_line))
    }

    fn finish(mut self, chunk: &TextChunk) -> Result<Chunk, WarehouseError> {
        Ok(Chunk {
            first_line: chunk.first_line,
            last_line: chunk.first_line + chunk.lines - 1,
            is_last: chunk.is_last,
            rows: self.builder.finish()?,
            lines: self.lines,
            keys: self.keys,
            quarantined: self.quarantined,
            counts: self.counts,
        })
    }
}

impl FileReader {
    fn quarantined(&self, record: &Record<'_>, bad: Bad) -> Quarantined {
        let Origin { slice, sha256, endings, .. } = &self.origin;
        let file_id: String = sha256.chars().take(FileRange::ID_CHARACTERS).collect();
        // What waited of an import that ended waits no more; the same line may wait again.
        let again = if *endings == 0 { String::new() } else { format!("-{endings}") };
        Quarantined {
            quarantine_id: format!("{file_id}-{}-{}{again}", slice.city, record.first_line),
            line: record.first_line,
            column: bad.column,
            reason: bad.reason,
            message: bad.message,
            raw_text: if bad.reason == Bad::TOO_LONG { record.text.chars().take(TOO_LONG_CHARACTERS_KEPT).collect() } else { record.text.to_owned() },
            header: self.header.as_ref().map(|header| header.text.clone()),
        }
    }
}

fn read_header(origin: &Origin, bytes: Option<Vec<u8>>) -> Result<Header, WarehouseError> {
    let refuse = |problem: String| WarehouseError::FileRefused { file_name: origin.file_name.clone(), problem };
    let bytes = bytes.ok_or_else(|| refuse("it is empty: expected a header with the names of the columns".to_owned()))?;
    let decoded = decode(origin.feed.encoding, &bytes);
    if !decoded.broken_lines.is_empty() {
        return Err(refuse(format!("its header is not in {}, as the feed's contract says: save the file so", origin.feed.encoding.name())));
    }
    header_of(&decoded.text).map_err(|bad| refuse(format!("its header: {}", bad.message)))
}

fn header_of(text: &str) -> Result<Header, Bad> {
    let text = text.trim_end_matches(['\r', '\n']);
    Ok(Header { text: text.to_owned(), names: csv_file::fields(text)? })
}

/// The names of a record's fields, in their order. JSON names its own; the contract's are looked for.
fn field_names(feed: &FeedContract, header: Option<&Header>) -> Vec<String> {
    match (&feed.format, header) {
        (_, Some(header)) => header.names.clone(),
        (Format::Separated { fields, .. }, None) => fields.clone(),
        (Format::CombinedLog, None) => combined_log::FIELDS.iter().map(|name| (*name).to_owned()).collect(),
        (Format::JsonLines | Format::Csv, None) => {
            let mut names: Vec<String> = feed.columns.iter().filter_map(|column| column.from.clone()).collect();
            names.sort();
            names.dedup();
            names
        }
    }
}

/// Where each column's field stands in a record.
fn positions(origin: &Origin, names: &[String]) -> Result<Vec<Option<usize>>, WarehouseError> {
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
pub(super) fn read_alone(
    origin: &Origin,
    visitors: &VisitorKey,
    numbers: &Arc<NumberIndex>,
    header: Option<&str>,
    line: u64,
    text: &str,
) -> Result<Result<Chunk, Bad>, WarehouseError> {
    let header = match header.map(header_of) {
        None => None,
        Some(Ok(header)) => Some(header),
        Some(Err(bad)) => return Ok(Err(bad)),
    };
    let reader = match FileReader::with_header(origin.clone(), header, visitors.clone(), numbers.clone()) {
        // The contract was changed since the row was put aside. That is no reason to keep other rows out.
        Err(WarehouseError::FileRefused { problem, .. }) => return Ok(Err(Bad::new("LINE_MALFORMED", problem))),
        reader => reader?,
    };
    let rows = reader.row_reader()?;
    let mut reading = Reading::new(&reader, &rows, line, &[])?;
    let lines = text.lines().count().max(1) as u64;
    let record = Record { first_line: line, last_line: line + lines - 1, text, fault: None };
    if let Err(bad) = reading.read(&record) {
        return Ok(Err(bad));
    }
    reading.take(line)?;
    reading.finish(&TextChunk { first_line: line, lines, bytes: Vec::new(), is_last: true }).map(Ok)
}
