use std::borrow::Cow;

use memchr::memchr_iter;

use super::{
    lines::{LINE_BYTES_MAX, Lines, Record, without_return},
    row::{Bad, Field},
    text_chunks::RecordEnd,
};

// Limit: lines of one record, whose quoted texts may have line breaks. A quote that is never closed would otherwise swallow the file.
const RECORD_LINES_MAX: u64 = 200;

/// What a record of CSV comes to.
enum End {
    /// After so many bytes and lines.
    After(usize, u64),
    /// A quote of its first line, which has so many bytes, is never closed.
    OpenQuote(usize),
    Unknown,
}

/// Where a record ends: a quoted text may go on over several lines. After a quote that is never closed the next record begins with the very next line.
pub(super) fn record_end(bytes: &[u8], is_end: bool) -> RecordEnd {
    match find_end(bytes, is_end) {
        End::After(bytes, lines) => RecordEnd::After { bytes, lines },
        End::OpenQuote(bytes) => RecordEnd::After { bytes, lines: 1 },
        End::Unknown => RecordEnd::Unknown,
    }
}

/// Quotes inside a quoted text are doubled, so that an even number closes. In GB18030 neither a quote nor a line end is part of another character.
fn find_end(bytes: &[u8], is_end: bool) -> End {
    let (mut start, mut quotes, mut first_line) = (0, 0, None);
    for (line_end, line) in memchr_iter(b'\n', bytes).zip(1..=RECORD_LINES_MAX) {
        quotes += memchr_iter(b'"', &bytes[start..line_end]).count();
        start = line_end + 1;
        first_line.get_or_insert(start);
        if quotes % 2 == 0 {
            return End::After(start, line);
        }
        if line == RECORD_LINES_MAX {
            return End::OpenQuote(first_line.unwrap_or(start));
        }
    }
    if !is_end {
        return End::Unknown;
    }
    let lines = memchr_iter(b'\n', bytes).count() as u64 + u64::from(start < bytes.len());
    quotes += memchr_iter(b'"', &bytes[start..]).count();
    match quotes % 2 {
        _ if bytes.is_empty() => End::Unknown,
        0 => End::After(bytes.len(), lines),
        _ => End::OpenQuote(first_line.unwrap_or(bytes.len())),
    }
}

/// The records of a text.
pub(super) struct CsvRecords<'t> {
    lines: Lines<'t>,
}

impl<'t> CsvRecords<'t> {
    pub(super) fn new(text: &'t str, first_line: u64) -> CsvRecords<'t> {
        CsvRecords { lines: Lines::new(text, first_line) }
    }
}

impl<'t> Iterator for CsvRecords<'t> {
    type Item = Record<'t>;

    fn next(&mut self) -> Option<Record<'t>> {
        let (rest, first_line) = (self.lines.rest(), self.lines.next_number());
        match find_end(rest.as_bytes(), true) {
            End::Unknown => None,
            End::After(bytes, lines) => {
                self.lines.pass_over(bytes, lines);
                let text = without_return(rest[..bytes].strip_suffix('\n').unwrap_or(&rest[..bytes]));
                let fault = (text.len() > LINE_BYTES_MAX).then(Bad::too_long);
                Some(Record { first_line, last_line: first_line + lines - 1, text, fault })
            }
            End::OpenQuote(_) => {
                let problem = format!("expected a closing quote within {RECORD_LINES_MAX} lines; found none");
                self.lines.next().map(|line| Record { fault: Some(Bad::new("QUOTE_OPEN", problem)), ..line })
            }
        }
    }
}

/// The fields of one record, trimmed.
///
/// # Errors
/// LINE_MALFORMED.
pub(super) fn fields(record: &str) -> Result<Vec<String>, Bad> {
    let invalid = |error: &dyn std::fmt::Display| Bad::new("LINE_MALFORMED", format!("expected a CSV record; found {error}"));
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(record.as_bytes());
    let mut fields = csv::StringRecord::new();
    reader.read_record(&mut fields).map_err(|error| invalid(&error))?;
    // Line breaks within a quoted text are LF, whatever system wrote them.
    Ok(fields.iter().map(|field| field.trim().replace("\r\n", "\n")).collect())
}

/// The fields of a record that has as many as its header; an empty one is null.
///
/// # Errors
/// LINE_MALFORMED, FIELD_COUNT.
pub(super) fn split<'t>(record: &'t str, expected: usize, fields: &mut Vec<Field<'t>>) -> Result<(), Bad> {
    let null_if_empty = |text: Cow<'t, str>| Some(text).filter(|text| !text.is_empty());
    // Without a quote there is nothing to undo, and the fields can be borrowed.
    if !record.contains('"') {
        fields.extend(record.split(',').map(|field| null_if_empty(Cow::Borrowed(field.trim()))));
    } else {
        fields.extend(self::fields(record)?.into_iter().map(|field| null_if_empty(Cow::Owned(field))));
    }
    match fields.len() {
        found if found == expected => Ok(()),
        found => Err(Bad::new("FIELD_COUNT", format!("expected {expected} fields, as the header has; found {found}"))),
    }
}
