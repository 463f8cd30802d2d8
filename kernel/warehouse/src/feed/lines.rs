use std::io::{self, BufRead};

// Limit: one line. The longest real ones carry an 8 KiB URL twice; a line beyond this is binary or lacks its line ends.
pub(super) const LINE_BYTES_MAX: usize = 64 << 10;

/// A line of a file: its number from 1 and its bytes without the line end.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) number: u64,
    /// At most [`LINE_BYTES_MAX`].
    pub(super) bytes: Vec<u8>,
    /// Whether the line went on beyond the limit; the rest was skipped.
    pub(super) too_long: bool,
}

/// Reads lines ended by LF or CRLF, the last one perhaps by nothing, in bounded memory.
pub(super) struct Lines<R> {
    input: R,
    number: u64,
    bytes_read: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Lines<R> {
        Lines { input, number: 0, bytes_read: 0 }
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    pub(super) fn next_line(&mut self) -> io::Result<Option<Line>> {
        let mut line = Line { number: self.number + 1, bytes: Vec::new(), too_long: false };
        let mut ended = false;
        while !ended {
            let piece = self.input.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let taken = &piece[..end.unwrap_or(piece.len())];
            let room = LINE_BYTES_MAX - line.bytes.len();
            line.too_long |= taken.len() > room;
            line.bytes.extend_from_slice(&taken[..taken.len().min(room)]);
            let consumed = end.map_or(piece.len(), |end| end + 1);
            ended = end.is_some();
            self.input.consume(consumed);
            self.bytes_read += consumed as u64;
        }
        if !ended && line.bytes.is_empty() {
            return Ok(None);
        }
        if line.bytes.last() == Some(&b'\r') {
            line.bytes.pop();
        }
        self.number += 1;
        Ok(Some(line))
    }
}
