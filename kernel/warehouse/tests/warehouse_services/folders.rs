use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use backplane_proto::ingest::v1::{ListFeedsRequest, ListQuarantineRequest};
use futures::StreamExt;
use serde::Deserialize;

use crate::{
    kernel::{Kernel, province},
    platform::{Sent, gb18030, gzip},
};

/// What `case.yaml` of a feed's folder says; `feeds/README.md` describes the fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) records: u64,
    #[serde(default)]
    duplicates: i64,
    pub(crate) query: String,
}

/// How a feed's files are sent, as its contract says.
#[derive(Deserialize)]
struct Contract {
    format: String,
    #[serde(default)]
    encoding: String,
    #[serde(default)]
    compression: String,
}

/// A feed's folder: its ugly file, and what is said of it.
pub(crate) struct Folder {
    pub(crate) feed: String,
    pub(crate) case: Case,
    pub(crate) file_name: String,
    /// The file's bytes before they are compressed.
    pub(crate) text: Vec<u8>,
    contract: Contract,
}

impl Folder {
    /// Reads a folder by the contract that is in force.
    pub(crate) async fn read(kernel: &Kernel, feed: &str) -> Folder {
        let folder = feeds().join(feed);
        let case = serde_saphyr::from_str(&fs::read_to_string(folder.join("case.yaml")).unwrap()).unwrap();
        let contract: Contract = serde_saphyr::from_str(&kernel.feed_contract(feed).await.0).unwrap();
        let path = input(&folder);
        let text = bytes_of(&fs::read_to_string(&path).unwrap(), contract.encoding == "gb18030");
        Folder { feed: feed.to_owned(), case, file_name: path.file_name().unwrap().to_str().unwrap().to_owned(), text, contract }
    }

    pub(crate) fn has_header(&self) -> bool {
        self.contract.format == "csv"
    }

    /// A file of the feed with so many rows.
    pub(crate) fn sent(&self, name: &str, text: &[u8], rows: u64) -> Sent {
        let bytes = if self.contract.compression == "gzip" { gzip(text) } else { text.to_vec() };
        Sent { feed: self.feed.clone(), name: name.to_owned(), bytes, rows }
    }
}

/// The feeds that have a folder.
pub(crate) fn names() -> Vec<String> {
    let folders = fs::read_dir(feeds()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut names: Vec<String> = folders.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// A kernel that takes the feed's files however many of their rows are bad, and knows the numbers that the folders name.
pub(crate) async fn lenient_kernel(feed: &str) -> Kernel {
    let kernel = Kernel::start().await;
    if feed != "boss.number" {
        let assignments = fs::read_to_string(feeds().join("numbers.txt")).unwrap();
        kernel.send(&province(), &Sent::new("boss.number.440600.202512.txt.gz", &assignments)).await.unwrap();
    }
    kernel.allow_bad_rows(feed).await;
    kernel
}

fn feeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/feeds")
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The bytes that a readable text stands for.
fn bytes_of(readable: &str, is_gb18030: bool) -> Vec<u8> {
    let readable = readable.strip_suffix("␄\n").unwrap_or(readable).replace('␁', "\u{1}").replace('␍', "\r");
    let (mut bytes, mut rest) = (Vec::new(), repeated(&readable));
    let encode = |text: &str| if is_gb18030 { gb18030(text) } else { text.as_bytes().to_vec() };
    while let Some(at) = rest.find("\\x") {
        bytes.extend(encode(&rest[..at]));
        bytes.push(u8::from_str_radix(&rest[at + 2..at + 4], 16).unwrap());
        rest = rest.split_off(at + 4);
    }
    bytes.extend(encode(&rest));
    bytes
}

/// Writes `⟦x×3⟧` as `xxx`.
fn repeated(text: &str) -> String {
    let mut pieces = text.split('⟦');
    let mut written = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (times, after) = piece.split_once('⟧').unwrap();
        let (what, count) = times.split_once('×').unwrap();
        written += &what.repeat(count.parse().unwrap());
        written += after;
    }
    written
}

fn input(folder: &Path) -> PathBuf {
    let is_input = |path: &PathBuf| !["case.yaml", "expected.rows", "expected.quarantine"].iter().any(|name| path.ends_with(name));
    let mut inputs = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(is_input);
    let first = inputs.next().unwrap_or_else(|| panic!("{} has no file of its feed", folder.display()));
    assert!(inputs.next().is_none(), "{} has more than one file of its feed", folder.display());
    first
}

/// What differs, as lines with a sign before them; nothing where all is as expected.
fn difference(what: &str, expected: &[String], found: &[String]) -> String {
    let (wanted, there): (BTreeSet<_>, BTreeSet<_>) = (expected.iter().collect(), found.iter().collect());
    let missing = wanted.difference(&there).map(|line| format!("  - {line}\n"));
    let more = there.difference(&wanted).map(|line| format!("  + {line}\n"));
    let differs: String = missing.chain(more).collect();
    match (differs.is_empty(), expected.len() == found.len()) {
        (true, true) => String::new(),
        (true, false) => format!("{what}: {} lines were expected, and {} came, some of them twice\n", expected.len(), found.len()),
        _ => format!("{what}:\n{differs}"),
    }
}

/// Imports a folder's file into a warehouse of its own and tells what differs from what it says must come of it.
async fn differences(feed: String) -> String {
    let (kernel, caller) = (lenient_kernel(&feed).await, province());
    let folder = Folder::read(&kernel, &feed).await;
    let Folder { case, file_name, text, .. } = &folder;
    let taken = match kernel.send(&caller, &folder.sent(file_name, text, case.records)).await {
        Ok(taken) => taken,
        Err(status) => return format!("{feed} is refused: {}\n", status.message()),
    };
    let mut rows = kernel.table(&caller, &case.query).await;
    rows.sort();
    let request = ListQuarantineRequest { feed: feed.clone(), page_size: 1_000, ..ListQuarantineRequest::default() };
    let quarantine = kernel.ingest(&caller).list_quarantine(request).await.unwrap().into_inner().rows;
    let mut bad: Vec<String> = quarantine.iter().map(|row| format!("{}|{}|{}", row.line, row.column, row.reason)).collect();
    bad.sort();
    let mut differs = difference(&format!("{feed}, rows"), &lines(&feeds().join(&feed).join("expected.rows")), &rows);
    differs += &difference(&format!("{feed}, quarantine"), &lines(&feeds().join(&feed).join("expected.quarantine")), &bad);
    if taken.rows_duplicate != case.duplicates {
        differs += &format!("{feed}: {} duplicates were expected, and {} were left out\n", case.duplicates, taken.rows_duplicate);
    }
    differs
}

#[tokio::test(flavor = "multi_thread")]
async fn every_feed_has_a_folder() {
    let kernel = Kernel::start().await;
    let request = ListFeedsRequest { page_size: 1_000, ..ListFeedsRequest::default() };
    let in_force: BTreeSet<String> =
        kernel.ingest(&province()).list_feeds(request).await.unwrap().into_inner().feeds.into_iter().map(|feed| feed.name).collect();
    let folders: BTreeSet<String> = names().into_iter().collect();
    assert_eq!(in_force, folders);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_feed_reads_its_ugly_file_as_its_folder_says() {
    let found: Vec<String> = futures::stream::iter(names()).map(differences).buffered(4).collect().await;
    let differs = found.concat();
    assert!(differs.is_empty(), "- expected, + found\n{differs}");
}
