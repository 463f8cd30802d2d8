use std::{
    collections::VecDeque,
    io::{self, BufRead},
};

use super::{
    lines::{LINE_BYTES_MAX, Line, Lines},
    row::Bad,
};

// Limit: lines of one record, whose quoted texts may have line breaks. A quote that is never closed would otherwise swallow the file.
const RECORD_LINES_MAX: usize = 200;

/// Reads CSV records from lines: a quoted text may go on over several. After a quote that is never closed it starts again with the very next line.
pub(super) struct CsvRecords<R> {
    lines: Lines<R>,
    /// Lines that were read to look for a closing quote, and are to be read again.
    again: VecDeque<Line>,
}

/// The lines of one record, joined.
pub(super) struct CsvRecord {
    pub(super) first_line: u64,
    pub(super) last_line: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) fault: Option<Bad>,
}

impl<R: BufRead> CsvRecords<R> {
    pub(super) fn new(lines: Lines<R>) -> CsvRecords<R> {
        CsvRecords { lines, again: VecDeque::new() }
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.lines.bytes_read()
    }

    fn next_line(&mut self) -> io::Result<Option<Line>> {
        match self.again.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.lines.next_line(),
        }
    }

    pub(super) fn next_record(&mut self) -> io::Result<Option<CsvRecord>> {
        let Some(first) = self.next_line()? else {
            return Ok(None);
        };
        let alone = |fault: Bad, line: Line| CsvRecord { first_line: line.number, last_line: line.number, bytes: line.bytes, fault: Some(fault) };
        if first.too_long {
            return Ok(Some(alone(Bad::too_long(), first)));
        }
        let mut record = CsvRecord { first_line: first.number, last_line: first.number, bytes: first.bytes.clone(), fault: None };
        let mut looked_at = VecDeque::new();
        while !quotes_are_closed(&record.bytes) {
            let next = if looked_at.len() < RECORD_LINES_MAX && record.bytes.len() < LINE_BYTES_MAX { self.next_line()? } else { None };
            let Some(next) = next else {
                looked_at.append(&mut self.again);
                self.again = looked_at;
                let problem = format!("expected a closing quote within {RECORD_LINES_MAX} lines and {LINE_BYTES_MAX} bytes; found none");
                return Ok(Some(alone(Bad::new("QUOTE_OPEN", problem), first)));
            };
            record.bytes.push(b'\n');
            record.bytes.extend_from_slice(&next.bytes);
            record.last_line = next.number;
            looked_at.push_back(next);
        }
        Ok(Some(record))
    }
}

/// An escaped quote is two, so that an even number closes.
fn quotes_are_closed(bytes: &[u8]) -> bool {
    bytes.iter().filter(|byte| **byte == b'"').count() % 2 == 0
}

/// The fields of one record.
///
/// # Errors
/// ENCODING_INVALID for bytes that are no UTF-8: reference rows are typed in, and a wrong encoding would garble all of them.
pub(super) fn fields(record: &[u8]) -> Result<Vec<String>, Bad> {
    let invalid = |error: &dyn std::fmt::Display| Bad::new("LINE_MALFORMED", format!("expected a CSV record; found {error}"));
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(record);
    let mut fields = csv::ByteRecord::new();
    reader.read_byte_record(&mut fields).map_err(|error| invalid(&error))?;
    let texts = fields.iter().map(|field| std::str::from_utf8(field).map(|text| text.trim().to_owned()));
    texts.collect::<Result<_, _>>().map_err(|_| Bad::new("ENCODING_INVALID", "expected UTF-8; found other bytes: save the file as UTF-8".to_owned()))
}
