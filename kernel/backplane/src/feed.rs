mod completeness;
mod contracts;
mod folder;
mod retract;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use backplane_proto::ingest::v1::{
    FileHeader, ImportFileRequest, ImportResult, ListFeedStatusesRequest, ListFeedStatusesResponse, ListQuarantineRequest, ListQuarantineResponse,
    ReplayQuarantineRequest, import_file_request::Part, import_file_response::Part as AnswerPart, ingest_client::IngestClient,
};
use clap::{Args, Subcommand};
pub(crate) use contracts::contract_name;
pub(crate) use folder::load as load_folder;
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    client::{Connection, PAGE_SIZE, all_pages},
    output::{self, say},
};

// Limit: bytes of one piece of an upload; the contract allows 1 MiB.
const CHUNK_BYTES: usize = 256 << 10;

// Limit: pieces read ahead of the network.
const CHUNKS_AHEAD: usize = 4;

#[derive(Subcommand)]
pub(crate) enum FeedCommand {
    /// Import a file of a feed, such as: feed import portal.access access.log --city 440600
    Import(ImportArguments),
    /// Import every file below a folder that a feed takes by its name
    Load(LoadArguments),
    /// Take a wrong file back: its rows leave
    Retract(retract::RetractArguments),
    /// Run a contract on a sample without writing anything
    Try(contracts::TryArguments),
    /// List the feeds
    List(contracts::ListArguments),
    /// Show a feed's contract as it was written
    Show(contracts::ShowArguments),
    /// Put a contract in force: a new feed, or a new revision of one
    Put(contracts::PutArguments),
    /// Show whether the files of a month are in
    Completeness(completeness::CompletenessArguments),
    /// Show what came in, how fresh it is, and what went wrong last
    Status(StatusArguments),
    /// Show rows that could not be read
    Quarantine(QuarantineArguments),
    /// Read quarantined rows again, once their contract or their text is corrected
    Replay(ReplayArguments),
}

#[derive(Args)]
pub(crate) struct ImportArguments {
    feed: String,
    /// The file; its control file <FILE>.ctl is sent with it where there is one
    file: PathBuf,
    /// Data day yyyyMMdd or month yyyyMM, when the file's name does not say it
    #[arg(long, default_value = "")]
    period: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct LoadArguments {
    folder: PathBuf,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct StatusArguments {
    /// All feeds, when absent
    feed: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct QuarantineArguments {
    feed: String,
    /// Rows of the file with this digest alone
    #[arg(long, default_value = "")]
    file_sha256: String,
    /// Rows that were replayed as well
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct ReplayArguments {
    feed: String,
    /// Rows to read again; all that wait, when absent
    #[arg(long = "id")]
    ids: Vec<String>,
    /// Corrected text, with exactly one --id
    #[arg(long, default_value = "")]
    text: String,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(command: FeedCommand) -> anyhow::Result<()> {
    match command {
        FeedCommand::Import(arguments) => {
            let result = import(&arguments.connection, &arguments.feed, &arguments.file, &arguments.period).await?;
            if arguments.connection.json {
                return output::json("backplane.ingest.v1.ImportResult", &result);
            }
            say(describe(&result));
            Ok(())
        }
        FeedCommand::Load(arguments) => load(arguments).await,
        FeedCommand::Retract(arguments) => retract::run(arguments).await,
        FeedCommand::Try(arguments) => contracts::try_feed(arguments).await,
        FeedCommand::List(arguments) => contracts::list(arguments).await,
        FeedCommand::Show(arguments) => contracts::show(arguments).await,
        FeedCommand::Put(arguments) => contracts::put(arguments).await,
        FeedCommand::Completeness(arguments) => completeness::run(arguments).await,
        FeedCommand::Status(arguments) => status(arguments).await,
        FeedCommand::Quarantine(arguments) => quarantine(arguments).await,
        FeedCommand::Replay(arguments) => {
            let request = ReplayQuarantineRequest { feed: arguments.feed, quarantine_ids: arguments.ids, corrected_text: arguments.text };
            let answer = IngestClient::new(arguments.connection.open().await?).replay_quarantine(request).await?.into_inner();
            if arguments.connection.json {
                return output::json("backplane.ingest.v1.ReplayQuarantineResponse", &answer);
            }
            say(format!("{} rows taken, {} still bad, snapshot {}", answer.rows_taken, answer.rows_still_bad, answer.snapshot_id));
            Ok(())
        }
    }
}

/// Uploads a file and waits until it is imported, with a bar where there is a terminal.
///
/// # Errors
/// When the file cannot be read or the kernel refuses it.
pub(crate) async fn import(connection: &Connection, feed: &str, path: &Path, period: &str) -> anyhow::Result<ImportResult> {
    let bar = ProgressBar::new(path.metadata().map_or(0, |metadata| metadata.len()))
        .with_message(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left") {
        bar.set_style(style);
    }
    let result = import_with(connection, feed, path, period, |bytes_read| bar.set_position(bytes_read)).await;
    bar.finish_and_clear();
    result
}

/// The same, telling how many bytes of the file are read.
async fn import_with(connection: &Connection, feed: &str, path: &Path, period: &str, progressed: impl Fn(u64)) -> anyhow::Result<ImportResult> {
    let name = path.file_name().and_then(|name| name.to_str()).with_context(|| format!("'{}' has no file name in UTF-8", path.display()))?.to_owned();
    let (size, sha256) = digest(path)?;
    let (control_file, period) = (control_file(path)?, period.to_owned());
    let header = FileHeader { feed: feed.to_owned(), file_name: name, size_bytes: i64::try_from(size)?, sha256, control_file, period };
    // A long import must not be cut off by the deadline that suits a question.
    let connection = Connection { timeout_seconds: 3_600, ..connection.clone() };
    let (pieces, upload) = mpsc::channel(CHUNKS_AHEAD);
    let reading = tokio::task::spawn_blocking({
        let path = path.to_owned();
        move || send(&path, header, &pieces)
    });
    let answered = IngestClient::new(connection.open().await?).import_file(ReceiverStream::new(upload)).await;
    let mut answers = answered?.into_inner();
    let mut result = None;
    while let Some(message) = answers.message().await? {
        match message.part {
            Some(AnswerPart::Progress(progress)) => progressed(u64::try_from(progress.bytes_read).unwrap_or(0)),
            Some(AnswerPart::Result(done)) => result = Some(done),
            None => {}
        }
    }
    reading.await??;
    result.context("the kernel ended the import without a result: 'backplane feed status' shows where it stands")
}

/// The text of the file's control file, empty when there is none.
fn control_file(path: &Path) -> anyhow::Result<String> {
    let mut name = path.as_os_str().to_owned();
    name.push(".ctl");
    match std::fs::read_to_string(&name) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read the control file {}", Path::new(&name).display())),
    }
}

fn digest(path: &Path) -> anyhow::Result<(u64, String)> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    if !file.metadata()?.is_file() {
        bail!("{} is not a file", path.display());
    }
    let mut hash = Sha256::new();
    let size = std::io::copy(&mut file, &mut hash)?;
    Ok((size, hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Sends the header and the bytes; ends early, without an error of its own, when the kernel has ended the call.
fn send(path: &Path, header: FileHeader, pieces: &mpsc::Sender<ImportFileRequest>) -> anyhow::Result<()> {
    let mut file = File::open(path)?;
    let mut part = Part::Header(header);
    loop {
        if pieces.blocking_send(ImportFileRequest { part: Some(part) }).is_err() {
            return Ok(());
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        let length = file.read(&mut chunk)?;
        if length == 0 {
            return Ok(());
        }
        chunk.truncate(length);
        part = Part::Chunk(chunk.into());
    }
}

async fn load(arguments: LoadArguments) -> anyhow::Result<()> {
    let loaded = folder::load(&arguments.connection, &arguments.folder).await?;
    print_loaded(&loaded);
    match loaded.refused.len() {
        0 => Ok(()),
        count => bail!("{count} files were refused"),
    }
}

/// A row per feed, and the files that were refused.
pub(crate) fn print_loaded(loaded: &folder::Loaded) {
    let rows = loaded.feeds.iter().map(|(feed, tally)| {
        let numbers = [tally.rows, tally.unchanged, tally.duplicate, tally.quarantined].map(|number| number.to_string());
        [feed.clone(), tally.files.to_string(), tally.files_known.to_string()].into_iter().chain(numbers).collect()
    });
    output::table(&["feed", "files", "taken before", "rows", "unchanged", "duplicate", "quarantined"], rows);
    for (path, problem) in &loaded.refused {
        say(format!("refused: {}: {problem}", path.display()));
    }
}

/// The result in a sentence.
pub(crate) fn describe(result: &ImportResult) -> String {
    let ImportResult { feed, city, file_name, lines, rows_taken, rows_quarantined, rows_unchanged, snapshot_id, .. } = result;
    let more = [(result.rows_duplicate, "duplicate"), (result.rows_restated, "of the file before it gone")];
    let more: String = more.iter().filter(|(rows, _)| *rows > 0).map(|(rows, what)| format!(", {rows} {what}")).collect();
    if result.duplicate_file {
        return format!("{file_name} was taken before ({feed}, {city}): {rows_taken} rows of {lines} lines; nothing was written");
    }
    let reasons: Vec<_> = result.quarantine_reasons.iter().map(|count| format!("{} {}", count.rows, count.reason)).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    format!(
        "{file_name} ({feed}, {city}): {rows_taken} rows of {lines} lines taken, {rows_quarantined} quarantined{reasons}, {rows_unchanged} unchanged{more}, snapshot {snapshot_id}"
    )
}

async fn status(arguments: StatusArguments) -> anyhow::Result<()> {
    let mut client = IngestClient::new(arguments.connection.open().await?);
    let feed = arguments.feed.unwrap_or_default();
    let statuses = all_pages(async |page_token| {
        let page = client.list_feed_statuses(ListFeedStatusesRequest { feed: feed.clone(), page_size: PAGE_SIZE, page_token }).await?.into_inner();
        Ok((page.statuses, page.next_page_token))
    })
    .await?;
    if arguments.connection.json {
        return output::json("backplane.ingest.v1.ListFeedStatusesResponse", &ListFeedStatusesResponse { statuses, next_page_token: String::new() });
    }
    let head = [
        "feed",
        "city",
        "files",
        "rows",
        "quarantined",
        "waiting",
        "unfinished",
        "no control file",
        "newest period",
        "late",
        "last import",
        "newest event",
        "last error",
    ];
    let rows = statuses.into_iter().map(|status| {
        let numbers = [status.files, status.rows_taken, status.rows_quarantined, status.rows_waiting, status.files_unfinished, status.files_without_control];
        let mut row = vec![status.feed, status.city];
        row.extend(numbers.iter().map(i64::to_string));
        row.extend([status.newest_period, late(status.late_seconds)]);
        row.extend([output::instant(status.last_import_at.as_ref()), output::instant(status.newest_event_at.as_ref()), status.last_error]);
        row
    });
    output::table(&head, rows);
    Ok(())
}

/// In whole days or hours.
fn late(seconds: i64) -> String {
    match seconds / 3_600 {
        0 if seconds == 0 => String::new(),
        0 => "< 1 h".to_owned(),
        hours @ 1..48 => format!("{hours} h"),
        hours => format!("{} days", hours / 24),
    }
}

async fn quarantine(arguments: QuarantineArguments) -> anyhow::Result<()> {
    let mut client = IngestClient::new(arguments.connection.open().await?);
    let rows = all_pages(async |page_token| {
        let request = ListQuarantineRequest {
            feed: arguments.feed.clone(),
            file_sha256: arguments.file_sha256.clone(),
            include_replayed: arguments.all,
            page_size: PAGE_SIZE,
            page_token,
        };
        let page = client.list_quarantine(request).await?.into_inner();
        Ok((page.rows, page.next_page_token))
    })
    .await?;
    if arguments.connection.json {
        return output::json("backplane.ingest.v1.ListQuarantineResponse", &ListQuarantineResponse { rows, next_page_token: String::new() });
    }
    let head = ["id", "city", "file", "line", "column", "reason", "message", "raw text"];
    let rows = rows.into_iter().map(|row| {
        let raw: String = row.raw_text.chars().take(120).collect();
        vec![row.quarantine_id, row.city, row.file_name, row.line.to_string(), row.column, row.reason, row.message, raw]
    });
    output::table(&head, rows);
    Ok(())
}
