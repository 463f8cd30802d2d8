use std::{borrow::Cow, cell::RefCell, iter};

use csv_core::{ReadRecordResult, Terminator};
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

thread_local! {
    /// Made once, since making one takes as long as reading thirty records. (Its clones read nothing: csv-core 0.1.13 copies half of its tables.)
    static READER: RefCell<csv_core::Reader> = RefCell::new(csv_core::ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build());
}

/// The fields of one record, trimmed.
///
/// # Errors
/// LINE_MALFORMED when it goes on after a line break that no quoted field holds.
pub(super) fn fields(record: &str) -> Result<Vec<String>, Bad> {
    READER.with_borrow_mut(|reader| {
        reader.reset();
        fields_read_by(reader, record)
    })
}

fn fields_read_by(reader: &mut csv_core::Reader, record: &str) -> Result<Vec<String>, Bad> {
    let (mut text, mut ends) = (vec![0; record.len() + 1], vec![0; memchr_iter(b',', record.as_bytes()).count() + 2]);
    let (mut read, mut written, mut count) = (0, 0, 0);
    loop {
        // Nothing to read is the end of the record.
        let (result, bytes_in, bytes_out, found) = reader.read_record(&record.as_bytes()[read..], &mut text[written..], &mut ends[count..]);
        (read, written, count) = (read + bytes_in, written + bytes_out, count + found);
        match result {
            ReadRecordResult::InputEmpty => {}
            _ if read < record.len() => {
                let problem = "expected a line break within a quoted field only; found one after a quote that begins no field: quote the field, and double the quotes in it";
                return Err(Bad::new("LINE_MALFORMED", problem.to_owned()));
            }
            _ => break,
        }
    }
    let text = str::from_utf8(&text[..written]).map_err(|error| Bad::new("LINE_MALFORMED", format!("expected a CSV record; found {error}")))?;
    let starts = iter::once(0).chain(ends.iter().copied());
    Ok(starts.zip(&ends[..count]).map(|(start, end)| plain_breaks(text[start..*end].trim())).collect())
}

/// Line breaks within a quoted text are LF, whatever system wrote them.
fn plain_breaks(text: &str) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n") } else { text.to_owned() }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_trimmed_and_unquoted() {
        let read = |record| fields(record).unwrap();
        assert_eq!(read("1, a ,"), ["1", "a", ""]);
        assert_eq!(read(r#""x, ""y""", 中文 ,"""#), [r#"x, "y""#, "中文", ""]);
        assert_eq!(read("\"a\r\nb\",c\"d"), ["a\nb", "c\"d"]);
    }

    #[test]
    fn a_line_that_only_a_stray_quote_joins_to_the_one_before_is_not_dropped() {
        let bad = fields("1,a\"b\n2,c\"d").unwrap_err();
        assert_eq!(bad.reason, "LINE_MALFORMED");
        assert!(bad.message.contains("quote the field"), "{}", bad.message);
    }

    proptest! {
        /// What another writer of CSV wrote is read as it was, and so is any text as another reader reads it.
        #[test]
        fn records_are_read_as_others_write_and_read_them(written in prop::collection::vec("[a,\" 中\n]{0,6}", 1..6), text in "[a,\" 中]{1,20}") {
            let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::NonNumeric).from_writer(Vec::new());
            writer.write_record(&written).unwrap();
            let record = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let trimmed: Vec<&str> = written.iter().map(|field| field.trim()).collect();
            prop_assert_eq!(fields(record.trim_end_matches('\n')).unwrap(), trimmed);

            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let theirs: Vec<String> = reader.records().next().unwrap().unwrap().iter().map(|field| field.trim().to_owned()).collect();
            prop_assert_eq!(fields(&text).unwrap(), theirs);
        }
    }
}
