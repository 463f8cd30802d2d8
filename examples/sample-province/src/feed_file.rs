use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use sha2::{Digest, Sha256};

use crate::{Encoding, Feed, FileTotal, GenerateError, OnDay, RowKind};

/// One file of a feed, written once from top to bottom: encoded, compressed, digested and counted on the way, so that nothing is kept.
///
/// Invariant: what [`FeedFile::finish`] returns is what the control file says and what a reader counts.
#[derive(Debug)]
pub struct FeedFile {
    feed: &'static Feed,
    path: PathBuf,
    sink: Sink,
    /// Rows that the sink has not seen yet.
    pending: Vec<u8>,
    total: FileTotal,
}

/// Limit: a buffer a file, so that a compressor takes rows by the thousand and its window stays in the cache meanwhile; rows go to hundreds of files in turn.
const BUFFER_BYTES: usize = 48 * 1024;

#[derive(Debug)]
enum Sink {
    Plain(Digesting),
    Gzip(Box<GzEncoder<Digesting>>),
}

#[derive(Debug)]
struct Digesting {
    file: File,
    sha256: Sha256,
    bytes: u64,
}

impl FeedFile {
    /// Opens `<folder>/<feed>/<feed>.<city>.<period>.<extension>` below `out` and writes the header, if the feed has one.
    /// `folder` is empty for files that arrive in time.
    ///
    /// # Errors
    /// When the folder or the file cannot be made.
    pub fn create(out: &Path, folder: &str, feed: &'static Feed, city: &str, period: &str) -> Result<FeedFile, GenerateError> {
        let name = format!("{}.{city}.{period}.{}", feed.name, feed.extension);
        let below = Path::new(folder).join(feed.name).join(&name);
        let path = out.join(&below);
        let sink = Digesting::create(&path).map_err(|source| GenerateError::Write { path: path.clone(), source })?;
        // Level 2 takes a third of the time of level 4, for files that are a tenth larger. The header of gzip carries neither a time nor a name: same rows, same bytes.
        let sink = if feed.gzip { Sink::Gzip(Box::new(GzBuilder::new().mtime(0).write(sink, Compression::new(2)))) } else { Sink::Plain(sink) };
        let total = FileTotal {
            feed: feed.name,
            city: city.to_owned(),
            period: period.to_owned(),
            file: below.to_string_lossy().into_owned(),
            bytes: 0,
            sha256: String::new(),
            rows_good: 0,
            rows_replacing: 0,
            rows_duplicate: 0,
            rows_corrupt: 0,
            rows_unknown_number: 0,
            sums: BTreeMap::new(),
            days: BTreeMap::new(),
        };
        let mut file = FeedFile { feed, path, sink, pending: Vec::new(), total };
        if let Some(header) = feed.header {
            file.line(header)?;
        }
        Ok(file)
    }

    /// Writes one record; the line end is added. Only good rows have a day to add to, and only of feeds whose rows tell it.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn row(&mut self, kind: RowKind, text: &str, on_day: Option<OnDay<'_>>) -> Result<(), GenerateError> {
        self.line(text)?;
        self.total.count(kind, on_day);
        Ok(())
    }

    pub fn rows(&self) -> u64 {
        self.total.rows()
    }

    /// Closes the file and writes its control file, if the feed has one.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn finish(mut self) -> Result<FileTotal, GenerateError> {
        self.pass_on()?;
        let FeedFile { feed, path, sink, mut total, .. } = self;
        let failed = |source| GenerateError::Write { path: path.clone(), source };
        let mut digesting = match sink {
            Sink::Plain(digesting) => digesting,
            Sink::Gzip(gzip) => gzip.finish().map_err(failed)?,
        };
        digesting.flush().map_err(failed)?;
        total.sum_days();
        total.bytes = digesting.bytes;
        total.sha256 = hexadecimal(&digesting.sha256.finalize());
        if feed.control_file {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = format!("{name}|{}|{}|{}\n", total.rows(), total.sha256, total.period);
            let control = path.with_file_name(format!("{name}.ctl"));
            fs::write(&control, text).map_err(|source| GenerateError::Write { path: control, source })?;
        }
        Ok(total)
    }

    fn line(&mut self, text: &str) -> Result<(), GenerateError> {
        match self.feed.encoding {
            Encoding::Utf8 => self.pending.extend_from_slice(text.as_bytes()),
            // Limit: every text of ours has a place in GB18030, which covers Unicode; nothing can be lost here.
            Encoding::Gb18030 => self.pending.extend_from_slice(&encoding_rs::GB18030.encode(text).0),
        }
        self.pending.push(b'\n');
        if self.pending.len() >= BUFFER_BYTES { self.pass_on() } else { Ok(()) }
    }

    fn pass_on(&mut self) -> Result<(), GenerateError> {
        self.sink.write_all(&self.pending).map_err(|source| GenerateError::Write { path: self.path.clone(), source })?;
        self.pending.clear();
        Ok(())
    }
}

impl Digesting {
    fn create(path: &Path) -> io::Result<Digesting> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(Digesting { file: File::create(path)?, sha256: Sha256::new(), bytes: 0 })
    }
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Plain(to) => to.write(bytes),
            Sink::Gzip(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Plain(to) => to.flush(),
            Sink::Gzip(to) => to.flush(),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
