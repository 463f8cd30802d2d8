use memchr::memchr;

use super::row::Bad;

// Limit: one line. The longest real ones carry an 8 KiB URL twice; a line beyond this is binary or lacks its line ends.
pub(super) const LINE_BYTES_MAX: usize = 64 << 10;

/// One record of a file as it stands there: a line, or of CSV several.
pub(super) struct Record<'t> {
    /// Counts from 1.
    pub(super) first_line: u64,
    pub(super) last_line: u64,
    /// Without the last line end.
    pub(super) text: &'t str,
    /// Why it cannot be read as a whole.
    pub(super) fault: Option<Bad>,
}

/// The lines of a text, ended by LF or CRLF, the last one perhaps by nothing.
#[derive(Clone)]
pub(super) struct Lines<'t> {
    rest: &'t str,
    next: u64,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str, first_line: u64) -> Lines<'t> {
        Lines { rest: text, next: first_line }
    }

    /// What follows the lines that were taken.
    pub(super) fn rest(&self) -> &'t str {
        self.rest
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    /// Passes over bytes that hold so many lines.
    pub(super) fn pass_over(&mut self, bytes: usize, lines: u64) {
        self.rest = &self.rest[bytes..];
        self.next += lines;
    }
}

impl<'t> Iterator for Lines<'t> {
    type Item = Record<'t>;

    fn next(&mut self) -> Option<Record<'t>> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = match memchr(b'\n', self.rest.as_bytes()) {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, ""),
        };
        let text = without_return(line);
        let fault = (text.len() > LINE_BYTES_MAX).then(Bad::too_long);
        let record = Record { first_line: self.next, last_line: self.next, text, fault };
        self.rest = rest;
        self.next += 1;
        Some(record)
    }
}

pub(super) fn without_return(line: &str) -> &str {
    line.strip_suffix('\r').unwrap_or(line)
}
