use std::{
    cell::Cell,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use backplane_proto::ingest::v1::{Feed, ImportResult, ListFeedsRequest, ingest_client::IngestClient};
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressStyle};
use tonic::Status;

use super::import_with;
use crate::client::{Connection, PAGE_SIZE, all_pages};

// Limit: files on their way at once; the kernel imports two at a time, the others would only wait there.
const FILES_AT_ONCE: usize = 4;

/// What came of a folder.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Per feed, in the order of import.
    pub(crate) feeds: Vec<(String, Tally)>,
    /// Files that were refused, with why.
    pub(crate) refused: Vec<(PathBuf, String)>,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) files: u64,
    pub(crate) files_known: u64,
    pub(crate) rows: i64,
    pub(crate) unchanged: i64,
    pub(crate) duplicate: i64,
    pub(crate) quarantined: i64,
}

impl Tally {
    fn add(&mut self, result: &ImportResult) {
        self.files += 1;
        self.files_known += u64::from(result.duplicate_file);
        self.rows += result.rows_taken;
        self.unchanged += result.rows_unchanged;
        self.duplicate += result.rows_duplicate;
        self.quarantined += result.rows_quarantined;
    }
}

/// A file with the feed that takes it.
struct Found {
    feed: String,
    path: PathBuf,
    bytes: u64,
}

/// Imports every file below a folder that a feed takes by its name. Feeds that name customers come first, so that numbers are known when they are met.
///
/// # Errors
/// When the folder cannot be read, no feed takes any file of it, or the kernel is gone. A file that is refused is told in the answer, and the others go on.
pub(crate) async fn load(connection: &Connection, folder: &Path) -> anyhow::Result<Loaded> {
    let feeds = feeds(connection).await?;
    let files = find(folder, &feeds)?;
    if files.is_empty() {
        bail!("no file below {} has a name that a feed takes: 'backplane feed list' shows the names", folder.display());
    }
    let bar = ProgressBar::new(files.iter().map(|file| file.bytes).sum());
    bar.set_style(ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left, {msg}")?);
    let mut loaded = Loaded::default();
    for (feed, files) in in_order(files, &feeds) {
        bar.set_message(feed.clone());
        let mut tally = Tally::default();
        let results = stream::iter(files.into_iter().map(|file| {
            let bar = &bar;
            async move {
                let read = Cell::new(0);
                let progressed = |bytes: u64| bar.inc(bytes.saturating_sub(read.replace(bytes)));
                let result = import_with(connection, &file.feed, &file.path, "", progressed).await;
                progressed(file.bytes);
                (file.path, result)
            }
        }));
        let mut results = results.buffer_unordered(FILES_AT_ONCE);
        while let Some((path, result)) = results.next().await {
            match result {
                Ok(result) => tally.add(&result),
                Err(error) => match error.downcast_ref::<Status>() {
                    Some(status) if status.code() != tonic::Code::Unavailable => loaded.refused.push((path, status.message().to_owned())),
                    _ => return Err(error.context(format!("importing {}", path.display()))),
                },
            }
        }
        loaded.feeds.push((feed, tally));
    }
    bar.finish_and_clear();
    Ok(loaded)
}

pub(super) async fn feeds(connection: &Connection) -> anyhow::Result<Vec<Feed>> {
    let mut client = IngestClient::new(connection.open().await?);
    all_pages(async |page_token| {
        let page = client.list_feeds(ListFeedsRequest { page_size: PAGE_SIZE, page_token }).await?.into_inner();
        Ok((page.feeds, page.next_page_token))
    })
    .await
}

fn find(folder: &Path, feeds: &[Feed]) -> anyhow::Result<Vec<Found>> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read the folder {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(feed) = path.file_name().and_then(|name| name.to_str()).and_then(|name| feeds.iter().find(|feed| takes(feed, name))) {
                let bytes = path.metadata()?.len();
                found.push(Found { feed: feed.name.clone(), path, bytes });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Whether the name begins and ends as the feed's do; the kernel reads what stands between.
fn takes(feed: &Feed, name: &str) -> bool {
    let begin = feed.file_name.split('{').next().unwrap_or_default();
    let end = feed.file_name.rsplit('}').next().unwrap_or_default();
    name.len() > begin.len() + end.len()
        && name.starts_with(begin)
        && name.ends_with(end)
        && name[begin.len()..].starts_with(|first: char| first.is_ascii_digit())
}

/// The files by feed: those of reference data, then the service numbers, then the others.
fn in_order(files: Vec<Found>, feeds: &[Feed]) -> Vec<(String, Vec<Found>)> {
    let mut by_feed: BTreeMap<(u8, String), Vec<Found>> = BTreeMap::new();
    for file in files {
        let rank = feeds.iter().find(|feed| feed.name == file.feed).map_or(2, |feed| match feed.dataset.as_str() {
            "number_assignment" => 1,
            _ if feed.document.contains("customer_of_number") => 2,
            _ => 0,
        });
        by_feed.entry((rank, file.feed.clone())).or_default().push(file);
    }
    by_feed.into_iter().map(|((_, feed), files)| (feed, files)).collect()
}
