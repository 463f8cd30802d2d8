use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
    vec,
};

use anyhow::Context;
use backplane_proto::ingest::v1::{FileHeader, ImportFileRequest, ImportResult, import_file_request::Part, import_file_response::Part as Answer};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;

use crate::Call;

/// Limit: one piece of an upload, as the contract of ImportFile says.
const CHUNK_BYTES: usize = 1 << 20;
/// As long as a call may take: the benchmarks send 10 GB.
const TIMEOUT: Duration = Duration::from_secs(3_600);
/// Limit: pieces read ahead of the network.
const CHUNKS_AHEAD: usize = 4;

/// A file of a feed on disk, its control file beside it where it has one.
#[derive(Debug, Clone)]
pub struct FeedFile {
    pub feed: String,
    pub path: PathBuf,
}

impl FeedFile {
    fn header(&self) -> anyhow::Result<FileHeader> {
        let file_name = self.path.file_name().and_then(|name| name.to_str()).context("a name")?.to_owned();
        let (size_bytes, control_file) = (i64::try_from(self.path.metadata()?.len())?, control_file(&self.path)?);
        Ok(FileHeader { feed: self.feed.clone(), file_name, size_bytes, control_file, ..FileHeader::default() })
    }
}

fn control_file(path: &Path) -> io::Result<String> {
    let mut name = path.as_os_str().to_owned();
    name.push(".ctl");
    match std::fs::read_to_string(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        text => text,
    }
}

/// Sends a file and waits for what came of it.
///
/// # Errors
/// The kernel's refusal, or that it went away.
pub async fn import(call: &Call, file: &FeedFile) -> anyhow::Result<ImportResult> {
    let header = file.header()?;
    let mut bytes = File::open(&file.path)?;
    let (parts, upload) = mpsc::channel(CHUNKS_AHEAD);
    let reading = tokio::task::spawn_blocking(move || {
        let mut part = Part::Header(header);
        // The kernel may end the call early, and says why itself.
        while parts.blocking_send(ImportFileRequest { part: Some(part) }).is_ok() {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            if bytes.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk)? == 0 {
                break;
            }
            part = Part::Chunk(chunk.into());
        }
        io::Result::Ok(())
    });
    let mut request = Request::new(ReceiverStream::new(upload));
    request.set_timeout(TIMEOUT);
    let mut answers = call.ingest().import_file(request).await?.into_inner();
    reading.await??;
    while let Some(answer) = answers.message().await? {
        if let Some(Answer::Result(result)) = answer.part {
            return Ok(result);
        }
    }
    anyhow::bail!("the import of {} ended without a result", file.path.display())
}

/// Imports groups of files, some groups at once, each group's files in their order. `seen` hears of every result and says whether to go on.
///
/// # Errors
/// The first failure. Those of the other groups are not waited for.
pub async fn import_all(call: &Call, groups: Vec<Vec<FeedFile>>, at_once: usize, mut seen: impl FnMut(&FeedFile, ImportResult) -> bool) -> anyhow::Result<()> {
    let mut waiting = groups.into_iter().filter(|group| !group.is_empty());
    let mut running = JoinSet::new();
    for group in waiting.by_ref().take(at_once) {
        running.spawn(import_next(call.clone(), group.into_iter()));
    }
    while let Some(ended) = running.join_next().await {
        let (file, result, group) = ended??;
        if !seen(&file, result) {
            break;
        }
        let next = Some(group).filter(|group| group.len() > 0).or_else(|| waiting.next().map(Vec::into_iter));
        if let Some(group) = next {
            running.spawn(import_next(call.clone(), group));
        }
    }
    Ok(())
}

async fn import_next(call: Call, mut group: vec::IntoIter<FeedFile>) -> anyhow::Result<(FeedFile, ImportResult, vec::IntoIter<FeedFile>)> {
    let file = group.next().context("a group has a file")?;
    let result = import(&call, &file).await.with_context(|| file.path.display().to_string())?;
    Ok((file, result, group))
}
