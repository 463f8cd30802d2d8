use std::io::{self, Read};

use memchr::memchr;

use super::lines::LINE_BYTES_MAX;

// Limit: bytes asked of the input at once.
const PIECE_BYTES: usize = 256 << 10;

/// How much text a chunk holds; a chunk ends with the record that reaches either.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkLimits {
    pub(super) bytes_max: usize,
    pub(super) lines_max: u64,
}

/// Whole records of a file, not decoded yet.
pub(super) struct TextChunk {
    /// Counts from 1.
    pub(super) first_line: u64,
    pub(super) lines: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) is_last: bool,
}

/// Where the record ends that begins some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordEnd {
    /// After so many bytes, its line end among them, and so many lines.
    After { bytes: usize, lines: u64 },
    /// More bytes are needed to tell.
    Unknown,
}

/// Tells records apart; the flag says that nothing follows the bytes.
pub(super) type FindRecordEnd = fn(&[u8], bool) -> RecordEnd;

/// A record that is a line.
pub(super) fn line_end(bytes: &[u8], is_end: bool) -> RecordEnd {
    match memchr(b'\n', bytes) {
        Some(position) => RecordEnd::After { bytes: position + 1, lines: 1 },
        None if is_end && !bytes.is_empty() => RecordEnd::After { bytes: bytes.len(), lines: 1 },
        None => RecordEnd::Unknown,
    }
}

/// Cuts a file into chunks of whole records, in bounded memory: of a line beyond the limit only as much is kept as shows that it is too long.
pub(super) struct TextChunks<R> {
    input: R,
    find_end: FindRecordEnd,
    limits: ChunkLimits,
    pending: Vec<u8>,
    next_line: u64,
    is_end: bool,
    /// Bytes of the last line in `pending` that were read, those that were dropped among them.
    line_bytes: usize,
}

impl<R: Read> TextChunks<R> {
    pub(super) fn new(input: R, find_end: FindRecordEnd, limits: ChunkLimits) -> io::Result<TextChunks<R>> {
        let mut chunks = TextChunks { input, find_end, limits, pending: Vec::new(), next_line: 1, is_end: false, line_bytes: 0 };
        while chunks.pending.len() < 4 && !chunks.is_end {
            chunks.read_piece()?;
        }
        // U+FEFF in UTF-8 and in GB18030; no text in either begins with the other's.
        for mark in [b"\xef\xbb\xbf".as_slice(), b"\x84\x31\x95\x33"] {
            if chunks.pending.starts_with(mark) {
                chunks.pending.drain(..mark.len());
            }
        }
        Ok(chunks)
    }

    /// Takes the first record alone, a header; `None` of an empty file.
    pub(super) fn first_record(&mut self) -> io::Result<Option<Vec<u8>>> {
        let limits = std::mem::replace(&mut self.limits, ChunkLimits { bytes_max: 1, lines_max: 1 });
        let first = self.next_chunk();
        self.limits = limits;
        Ok(first?.map(|chunk| chunk.bytes))
    }

    /// The next chunk, `None` after the last. A file without a line has no chunk.
    pub(super) fn next_chunk(&mut self) -> io::Result<Option<TextChunk>> {
        let (mut end, mut lines) = (0, 0);
        while end < self.limits.bytes_max && lines < self.limits.lines_max {
            match (self.find_end)(&self.pending[end..], self.is_end) {
                RecordEnd::After { bytes, lines: more } => {
                    end += bytes;
                    lines += more;
                }
                RecordEnd::Unknown if self.is_end => break,
                RecordEnd::Unknown => self.read_piece()?,
            }
        }
        // Whether anything follows is known only when the next record has begun.
        while end == self.pending.len() && !self.is_end {
            self.read_piece()?;
        }
        if end == 0 {
            return Ok(None);
        }
        let rest = self.pending.split_off(end);
        let bytes = std::mem::replace(&mut self.pending, rest);
        let first_line = self.next_line;
        self.next_line += lines;
        Ok(Some(TextChunk { first_line, lines, bytes, is_last: self.pending.is_empty() }))
    }

    fn read_piece(&mut self) -> io::Result<()> {
        let start = self.pending.len();
        self.pending.resize(start + PIECE_BYTES, 0);
        let read = self.input.read(&mut self.pending[start..])?;
        self.pending.truncate(start + read);
        self.is_end = read == 0;
        match self.pending[start..].iter().rposition(|byte| *byte == b'\n') {
            Some(position) => self.line_bytes = read - position - 1,
            None => {
                let kept = self.line_bytes.min(LINE_BYTES_MAX + 1);
                self.line_bytes += read;
                // What goes beyond the limit of a line is dropped: enough stays to tell that it is too long.
                let room = (LINE_BYTES_MAX + 1) - kept;
                self.pending.truncate(start + read.min(room));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::{super::csv_file, *};

    /// Gives its bytes in pieces of a few, as a slow pipe would.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(self.1).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn chunks(bytes: &[u8], piece: usize, find_end: FindRecordEnd, limits: ChunkLimits) -> Vec<TextChunk> {
        let mut chunks = TextChunks::new(Slow(bytes, piece), find_end, limits).unwrap();
        std::iter::from_fn(|| chunks.next_chunk().unwrap()).collect()
    }

    proptest! {
        #[test]
        fn chunks_put_together_are_the_file(text in "([a-c\"]{0,6}\r?\n){0,20}[a-c\"]{0,5}", piece in 1usize..9, bytes_max in 1usize..40, lines_max in 1u64..6) {
            for find_end in [line_end as FindRecordEnd, csv_file::record_end] {
                let chunks = chunks(text.as_bytes(), piece, find_end, ChunkLimits { bytes_max, lines_max });
                let together: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
                prop_assert_eq!(&together, text.as_bytes());
                let mut line = 1;
                for (index, chunk) in chunks.iter().enumerate() {
                    prop_assert_eq!(chunk.first_line, line);
                    line += chunk.lines;
                    prop_assert_eq!(chunk.is_last, index + 1 == chunks.len());
                }
                prop_assert_eq!(line - 1, text.lines().count() as u64);
            }
        }
    }

    #[test]
    fn a_line_without_end_is_kept_in_part() {
        let mut bytes = b"first\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', 5 << 20));
        bytes.extend(b"\nlast\n");
        let limits = ChunkLimits { bytes_max: 1 << 20, lines_max: 100 };
        let chunks = chunks(&bytes, 100_000, line_end, limits);
        let together: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.bytes.clone()).collect();
        let lines: Vec<&[u8]> = together.split(|byte| *byte == b'\n').collect();
        assert_eq!((lines[0], lines[2], lines.len()), (b"first".as_slice(), b"last".as_slice(), 4));
        assert!(lines[1].len() > LINE_BYTES_MAX && lines[1].len() < LINE_BYTES_MAX + PIECE_BYTES, "{}", lines[1].len());
    }
}
