use std::{io, path::PathBuf, pin::Pin, sync::Arc};

use backplane_proto::ingest::v1::{FileHeader, ImportFileRequest, ImportFileResponse, import_file_request, import_file_response};
use futures::{Stream, StreamExt};
use kernel_base::{CallContext, City};
use sha2::{Digest, Sha256};
use tokio::{fs::File, io::AsyncWriteExt, sync::watch, task::JoinHandle};
use tonic::Status;

use super::{
    FeedContract,
    control_file::ControlFile,
    file_name,
    import::{ImportState, Importer, hex},
    inbox::Uploaded,
    period::Period,
};
use crate::{contract::Visibility, error::WarehouseError};

// Limit: one piece of an upload, as the contract of ImportFile says.
const CHUNK_BYTES_MAX: usize = 1 << 20;

// Bytes of an upload that must have come since the last time it was brought to the disk.
const SYNC_BYTES: u64 = 16 << 20;

pub(crate) type Answers = Pin<Box<dyn Stream<Item = Result<ImportFileResponse, Status>> + Send>>;

/// Receives a file into the inbox and begins its import; the answers tell how it goes. Dropping them stops nothing.
pub(crate) async fn receive(
    importer: &Arc<Importer>,
    context: &CallContext,
    mut parts: impl Stream<Item = Result<ImportFileRequest, Status>> + Unpin + Send,
) -> Result<Answers, Status> {
    let header = match parts.next().await.transpose()?.and_then(|message| message.part) {
        Some(import_file_request::Part::Header(header)) => header,
        _ => {
            let problem = "the first message must be the header: feed, file_name and size_bytes".to_owned();
            return Err(WarehouseError::FieldInvalid { field: "header", problem }.into());
        }
    };
    let feed = importer.contracts.feeds().get(&header.feed)?.clone();
    file_name::check(&header.file_name)?;
    let named = feed.named(&header.file_name)?.unwrap_or_default();
    let city = city(context, &feed, &header, named.city)?;
    context.require("ingest.import", None, city).map_err(WarehouseError::from)?;
    let part = Part { path: importer.inbox.part() };
    match write_whole(importer, &feed, &header, named.period, &part, parts).await? {
        Ok(Whole { sha256, size_bytes, period, control }) => {
            let uploaded = Uploaded {
                feed: feed.name.clone(),
                city: city.to_string(),
                file_name: header.file_name,
                sha256,
                size_bytes,
                principal: context.caller_id().to_owned(),
                period: period.map(|period| period.to_string()),
                part: named.part,
                rows_declared: control.map(|control| control.rows),
                came_at: 0,
            };
            Ok(answers(begin(importer, part, uploaded).await?))
        }
        Err(error) => {
            importer.note_refusal(&feed.name, city, &header.file_name, &error).await;
            Err(error.into())
        }
    }
}

/// An upload whose bytes are all there, and are those that its header and control file speak of.
struct Whole {
    sha256: String,
    size_bytes: u64,
    period: Option<Period>,
    control: Option<ControlFile>,
}

/// Writes an upload to its part. What is wrong with the file is told apart from what is wrong with the call.
async fn write_whole(
    importer: &Importer,
    feed: &FeedContract,
    header: &FileHeader,
    named: Option<Period>,
    part: &Part,
    parts: impl Stream<Item = Result<ImportFileRequest, Status>> + Unpin + Send,
) -> Result<Result<Whole, WarehouseError>, Status> {
    let checked = control(feed, header).and_then(|control| Ok((period(feed, header, named, control.as_ref())?, control)));
    let (period, control) = match checked {
        Ok(checked) => checked,
        Err(error) => return Ok(Err(error)),
    };
    let written = write_part(importer, header, part, parts).await?;
    Ok(written.and_then(|(sha256, size_bytes)| {
        check_digest(header, control.as_ref(), &sha256, period)?;
        Ok(Whole { sha256, size_bytes, period, control })
    }))
}

/// That the bytes are those that the header and the control file speak of.
fn check_digest(header: &FileHeader, control: Option<&ControlFile>, sha256: &str, period: Option<Period>) -> Result<(), WarehouseError> {
    if !header.sha256.is_empty() && header.sha256 != sha256 {
        let problem = format!("its bytes have the SHA-256 {sha256}, and the header says {}: send it again", header.sha256.chars().take(64).collect::<String>());
        return Err(refused(header, problem));
    }
    control.map_or(Ok(()), |control| control.check(&header.file_name, sha256, period))
}

/// A part that did not become an upload is removed.
pub(super) struct Part {
    pub(super) path: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        // It is gone when it became an upload; a part that stays is cleared away at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The city of the file: its name's, or the call's. A name that contradicts the call is refused.
fn city(context: &CallContext, feed: &FeedContract, header: &FileHeader, named: Option<City>) -> Result<City, WarehouseError> {
    let city = match (named, context.city) {
        (Some(named), Some(called)) if named != called && called != City::PROVINCE => {
            let problem = format!("its name says the city {named} and the call is for {called}: rename it, or send the metadata 'backplane-city' that it says");
            return Err(refused(header, problem));
        }
        (Some(city), _) | (None, Some(city)) => city,
        (None, None) => context.required_city("ingest.import")?,
    };
    if feed.dataset.visibility == Visibility::Shared && city != City::PROVINCE {
        let problem = format!("'{}' holds reference rows of the province, not of {city}: send it for 440000", feed.dataset.name);
        return Err(refused(header, problem));
    }
    Ok(city)
}

fn control(feed: &FeedContract, header: &FileHeader) -> Result<Option<ControlFile>, WarehouseError> {
    match (feed.has_control_file, header.control_file.as_str()) {
        (true, "") => {
            let problem = format!("the feed '{}' sends a control file with each: send {}.ctl with it", feed.name, header.file_name);
            Err(refused(header, problem))
        }
        (_, "") => Ok(None),
        (_, text) => ControlFile::read(&header.file_name, text).map(Some),
    }
}

/// The period of the file: its name's, the call's, or its control file's.
fn period(feed: &FeedContract, header: &FileHeader, named: Option<Period>, control: Option<&ControlFile>) -> Result<Option<Period>, WarehouseError> {
    let read = |text: &str| {
        let problem = || WarehouseError::FieldInvalid { field: "period", problem: "expected a day yyyyMMdd or a month yyyyMM".to_owned() };
        Period::read(text).ok_or_else(problem)
    };
    let asked = if header.period.is_empty() { None } else { Some(read(&header.period)?) };
    let period = match (named, asked) {
        (Some(named), Some(asked)) if named != asked => {
            return Err(refused(header, format!("its name says the period {named} and the call is for {asked}: rename it, or leave the period out")));
        }
        (named, asked) => named.or(asked).or(control.map(|control| control.period)),
    };
    if period.is_none() && feed.needs_period() {
        return Err(refused(header, format!("its rows take their day from the period, which neither its name nor the call says: name it {}", feed.file_name)));
    }
    Ok(period)
}

async fn write_part(
    importer: &Importer,
    header: &FileHeader,
    part: &Part,
    mut parts: impl Stream<Item = Result<ImportFileRequest, Status>> + Unpin,
) -> Result<Result<(String, u64), WarehouseError>, Status> {
    let Ok(declared) = u64::try_from(header.size_bytes) else {
        return Ok(Err(refused(header, "size_bytes is negative".to_owned())));
    };
    if declared > importer.file_bytes_max {
        return Ok(Err(refused(header, format!("{declared} bytes are more than the {} that a file may have: split it", importer.file_bytes_max))));
    }
    let failed = WarehouseError::storage("keeping an upload");
    let mut file = File::create(&part.path).await.map_err(&failed)?;
    let (mut digest, mut size, mut syncs) = (Sha256::new(), 0, Syncs::default());
    while let Some(message) = parts.next().await {
        let Some(import_file_request::Part::Chunk(chunk)) = message?.part else {
            return Err(WarehouseError::FieldInvalid { field: "chunk", problem: "messages after the header must be chunks of the file".to_owned() }.into());
        };
        size += chunk.len() as u64;
        if chunk.len() > CHUNK_BYTES_MAX || size > declared {
            let problem = if size > declared {
                format!("more bytes came than the {declared} that the header says")
            } else {
                format!("a chunk has more than {CHUNK_BYTES_MAX} bytes")
            };
            return Ok(Err(refused(header, problem)));
        }
        digest.update(&chunk);
        file.write_all(&chunk).await.map_err(&failed)?;
        syncs.begin(&file, size).await.map_err(&failed)?;
    }
    syncs.end().await.map_err(&failed)?;
    if size != declared {
        return Ok(Err(refused(header, format!("{size} bytes came, and the header says {declared}: send it again"))));
    }
    file.flush().await.map_err(&failed)?;
    Ok(Ok((hex(&digest.finalize()), size)))
}

/// Brings a file to the disk while the rest of it comes in, so that its end need not wait for all of it.
#[derive(Default)]
struct Syncs {
    running: Option<JoinHandle<io::Result<()>>>,
    /// The size when the last one began.
    begun_at: u64,
}

impl Syncs {
    /// Begins another one, unless one runs or there is little to bring.
    async fn begin(&mut self, file: &File, size: u64) -> io::Result<()> {
        if size - self.begun_at < SYNC_BYTES || self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return Ok(());
        }
        self.end().await?;
        let file = file.try_clone().await?.into_std().await;
        self.running = Some(tokio::task::spawn_blocking(move || file.sync_data()));
        self.begun_at = size;
        Ok(())
    }

    /// Waits for the one that runs: what failed to be written is told once.
    async fn end(&mut self) -> io::Result<()> {
        match self.running.take() {
            Some(running) => running.await.map_err(io::Error::other)?,
            None => Ok(()),
        }
    }
}

/// Begins the import, joins the one that runs, or finds that the file was taken before.
pub(super) async fn begin(importer: &Arc<Importer>, part: Part, uploaded: Uploaded) -> Result<watch::Receiver<ImportState>, WarehouseError> {
    let task = importer.clone();
    let begun = importer.on_engine(async move {
        let _one_at_a_time = loop {
            let one_at_a_time = task.entering.lock().await;
            match task.running(&uploaded) {
                None => break one_at_a_time,
                Some((running, true)) => return Ok(running),
                // The same bytes for another slice: two days without a record, or one file under two names. Which of them is told when the first is in.
                Some((mut other, false)) => {
                    drop(one_at_a_time);
                    let ended = other.wait_for(|state| !matches!(state, ImportState::Running(_))).await.is_ok();
                    if !ended {
                        return Err(WarehouseError::Closing);
                    }
                }
            }
        };
        task.forget_refusal(&uploaded.feed, uploaded.city.parse()?);
        if task.was_taken(&uploaded)? {
            task.note_sound(&uploaded).await?;
            let result = task.result_again(&uploaded).await?;
            return Ok(watch::channel(ImportState::Done(Box::new(result))).1);
        }
        let uploaded = Uploaded { came_at: task.clock().now_micros(), ..uploaded };
        let keep = (task.clone(), uploaded.clone());
        let kept = tokio::task::spawn_blocking(move || keep.0.inbox.place(&part.path, &keep.1)).await;
        kept.map_err(WarehouseError::broken)??;
        Ok(task.start(uploaded))
    });
    begun.await
}

fn answers(import: watch::Receiver<ImportState>) -> Answers {
    let part = |part| Some(Ok(ImportFileResponse { part: Some(part) }));
    let told = futures::stream::unfold(Some((import, true)), move |state| async move {
        let (mut import, first) = state?;
        if !first && import.changed().await.is_err() {
            return Some((Err(WarehouseError::Closing.into()), None));
        }
        let now = import.borrow_and_update().clone();
        let (answer, next) = match now {
            ImportState::Running(progress) => (part(import_file_response::Part::Progress(progress)), Some((import, false))),
            ImportState::Done(result) => (part(import_file_response::Part::Result(*result)), None),
            ImportState::Failed(status) => (Some(Err(status)), None),
        };
        answer.map(|answer| (answer, next))
    });
    Box::pin(told)
}

fn refused(header: &FileHeader, problem: String) -> WarehouseError {
    WarehouseError::FileRefused { file_name: header.file_name.clone(), problem }
}
