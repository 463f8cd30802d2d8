use std::{
    collections::HashMap,
    fs::File,
    io::BufReader,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use backplane_proto::ingest::v1::{ImportProgress, ImportResult};
use sha2::{Digest, Sha256};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, watch},
};
use tonic::Status;

use super::{
    Feeds,
    file_reader::{Chunk, FileReader, Origin},
    inbox::{Inbox, Uploaded},
    visitor::VisitorKey,
};
use crate::{
    append::{Appender, Batch, FileRange, Source},
    contract::Datasets,
    error::WarehouseError,
    settings::WarehouseSettings,
};

// Limit: imports that run at once; the others wait, their files safe in the inbox. One parses on a core while its chunk before is committed, so that two keep a
// small machine busy and leave queries the rest.
const IMPORTS_MAX: usize = 2;
// Limit: chunks parsed ahead of the commit. Each holds up to `chunk_lines` rows.
const CHUNKS_AHEAD_MAX: usize = 1;
// Limit: below this many rows a share of bad ones says nothing; the end of the file is always judged.
const RECORDS_JUDGED_MIN: u64 = 1_000;

/// Takes files: keeps each upload until its last chunk is committed, and imports it chunk by chunk, each chunk one commit under a key of its own.
pub(crate) struct Importer {
    pub(super) feeds: Feeds,
    pub(super) appender: Arc<Appender>,
    pub(super) inbox: Inbox,
    pub(super) visitors: VisitorKey,
    pub(super) file_bytes_max: u64,
    /// Replays are one at a time: that a row still waits is checked before its batch is made.
    pub(super) replaying: tokio::sync::Mutex<()>,
    /// Uploads enter the inbox one at a time: whether the same file is there is checked before.
    pub(super) entering: tokio::sync::Mutex<()>,
    chunk_lines: usize,
    running: Mutex<HashMap<String, watch::Receiver<ImportState>>>,
    turns: Semaphore,
    closing: AtomicBool,
    engine: Handle,
}

/// Where an import stands.
#[derive(Debug, Clone)]
pub(crate) enum ImportState {
    Running(ImportProgress),
    Done(Box<ImportResult>),
    Failed(Status),
}

impl Importer {
    pub(crate) fn open(settings: &WarehouseSettings, datasets: Arc<Datasets>, appender: Arc<Appender>, engine: Handle) -> Result<Importer, WarehouseError> {
        Ok(Importer {
            feeds: Feeds::seeds(&datasets)?,
            appender,
            inbox: Inbox::open(settings.dir.join("inbox"))?,
            visitors: VisitorKey::open(&settings.dir.join("visitor.key"))?,
            file_bytes_max: settings.file_bytes_max,
            replaying: tokio::sync::Mutex::new(()),
            entering: tokio::sync::Mutex::new(()),
            chunk_lines: settings.chunk_lines.max(1),
            running: Mutex::new(HashMap::new()),
            turns: Semaphore::new(IMPORTS_MAX),
            closing: AtomicBool::new(false),
            engine,
        })
    }

    /// Begins the imports that wait in the inbox, and says how many.
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<usize, WarehouseError> {
        let waiting = self.inbox.list()?;
        let count = waiting.len();
        for uploaded in waiting {
            self.start(uploaded);
        }
        Ok(count)
    }

    /// Begins the import of an upload in the background, or gives the one that runs.
    pub(super) fn start(self: &Arc<Self>, uploaded: Uploaded) -> watch::Receiver<ImportState> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(import) = running.get(&uploaded.id()) {
            return import.clone();
        }
        let begun = ImportProgress { bytes_total: signed(uploaded.size_bytes), ..ImportProgress::default() };
        let (state, reader) = watch::channel(ImportState::Running(begun));
        running.insert(uploaded.id(), reader.clone());
        let importer = self.clone();
        self.engine.spawn(async move {
            // In a task of its own, so that a panic ends this import and is told to those who wait for it.
            let work = tokio::spawn({
                let (importer, uploaded, state) = (importer.clone(), uploaded.clone(), state.clone());
                async move { importer.import(&uploaded, &state).await }
            });
            let outcome = work.await.unwrap_or_else(|error| Err(WarehouseError::broken(error)));
            importer.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&uploaded.id());
            let ended = outcome.map_or_else(|error| ImportState::Failed(error.into()), |result| ImportState::Done(Box::new(result)));
            state.send_replace(ended);
        });
        reader
    }

    /// Runs work on the engine's threads, where the lake may be read.
    pub(super) async fn on_engine<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, WarehouseError>> + Send + 'static,
    ) -> Result<T, WarehouseError> {
        self.engine.spawn(work).await.map_err(|_| WarehouseError::Closing)?
    }

    /// The import of this upload, if it runs.
    pub(super) fn running(&self, uploaded: &Uploaded) -> Option<watch::Receiver<ImportState>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(&uploaded.id()).cloned()
    }

    /// Lets each running import finish its commit and stop; the files stay for the next start.
    pub(crate) async fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.turns.close();
        let imports: Vec<_> = self.running.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for mut import in imports {
            // An error says that the import's task is gone, which is what is waited for.
            let _ = import.wait_for(|state| !matches!(state, ImportState::Running(_))).await;
        }
    }

    async fn import(self: &Arc<Self>, uploaded: &Uploaded, state: &watch::Sender<ImportState>) -> Result<ImportResult, WarehouseError> {
        let _turn = self.turns.acquire().await.map_err(|_| WarehouseError::Closing)?;
        let outcome = self.import_chunks(uploaded, state).await;
        match &outcome {
            Ok(_) => self.inbox.remove(uploaded)?,
            Err(error @ (WarehouseError::FileTooBad { .. } | WarehouseError::FileRefused { .. })) => {
                tracing::warn!(feed = uploaded.feed, city = uploaded.city, file = uploaded.file_name, %error, "a file was stopped");
                self.appender.refuse(&uploaded.feed, &uploaded.city, &uploaded.file_name, &uploaded.sha256, &error.to_string()).await?;
                self.inbox.remove(uploaded)?;
            }
            Err(error) => {
                let (feed, city, file) = (&uploaded.feed, &uploaded.city, &uploaded.file_name);
                tracing::warn!(feed, city, file, %error, "an import stopped; it goes on at the next start");
            }
        }
        outcome
    }

    async fn import_chunks(self: &Arc<Self>, uploaded: &Uploaded, state: &watch::Sender<ImportState>) -> Result<ImportResult, WarehouseError> {
        let origin = Origin {
            feed: self.feeds.get(&uploaded.feed)?.clone(),
            city: uploaded.city.parse()?,
            file_name: uploaded.file_name.clone(),
            sha256: uploaded.sha256.clone(),
        };
        let taken = self.taken(uploaded).await?;
        if taken.is_complete {
            return self.result(uploaded, true).await;
        }
        let (chunks, mut parsed) = mpsc::channel(CHUNKS_AHEAD_MAX);
        let (data, visitors, lines_max, read_origin) = (self.inbox.data(uploaded), self.visitors.clone(), self.chunk_lines, origin.clone());
        let reading = self.engine.spawn_blocking(move || {
            let file = File::open(data).map_err(WarehouseError::storage("opening an uploaded file"))?;
            let mut reader = FileReader::open(&read_origin, visitors, BufReader::new(file))?;
            loop {
                let chunk = reader.next_chunk(taken.covered, lines_max)?;
                let is_last = chunk.is_last;
                // Nobody receives any more: the import stopped.
                if chunks.blocking_send(chunk).is_err() || is_last {
                    return Ok::<(), WarehouseError>(());
                }
            }
        });
        while let Some(chunk) = parsed.recv().await {
            if self.closing.load(Ordering::SeqCst) {
                return Err(WarehouseError::Closing);
            }
            judge(&origin, &chunk)?;
            let progress = progress(uploaded, &chunk);
            self.appender.commit(batch(&origin, uploaded, chunk)).await?;
            state.send_replace(ImportState::Running(progress));
        }
        reading.await.map_err(WarehouseError::broken)??;
        self.result(uploaded, false).await
    }
}

/// # Errors
/// FILE_TOO_BAD when more rows are bad than the contract allows: the chunk that shows it is not committed.
fn judge(origin: &Origin, chunk: &Chunk) -> Result<(), WarehouseError> {
    let (counts, permille_max) = (&chunk.so_far, origin.feed.bad_rows_permille_max);
    let judged = chunk.is_last || counts.records >= RECORDS_JUDGED_MIN;
    if !judged || counts.bad * 1_000 <= permille_max * counts.records {
        return Ok(());
    }
    let reasons = counts.reasons.iter().map(|(reason, (rows, line))| format!("{reason} {rows} times, first in line {line}"));
    Err(WarehouseError::FileTooBad {
        feed: origin.feed.name.clone(),
        file_name: origin.file_name.clone(),
        bad: counts.bad,
        read: counts.records,
        permille_max,
        reasons: reasons.collect::<Vec<_>>().join("; "),
    })
}

fn batch(origin: &Origin, uploaded: &Uploaded, chunk: Chunk) -> Batch {
    let key = format!("file/{}/{}/{}/{}", uploaded.feed, uploaded.city, uploaded.sha256, chunk.first_line);
    Batch {
        // The key holds the file's digest and the line: it says all there is to say of the content.
        digest: hex(&Sha256::digest(&key)),
        key,
        source: Source::File,
        principal: uploaded.principal.clone(),
        dataset: origin.feed.dataset.clone(),
        city: origin.city,
        feed: Some(uploaded.feed.clone()),
        file: Some(FileRange {
            name: uploaded.file_name.clone(),
            sha256: uploaded.sha256.clone(),
            first_line: chunk.first_line,
            last_line: chunk.last_line,
            is_last: chunk.is_last,
        }),
        rows: chunk.rows,
        quarantined: chunk.quarantined,
        resolved: Vec::new(),
        newest_at: chunk.newest_at,
    }
}

fn progress(uploaded: &Uploaded, chunk: &Chunk) -> ImportProgress {
    ImportProgress { lines_read: signed(chunk.last_line), bytes_read: signed(chunk.so_far.bytes), bytes_total: signed(uploaded.size_bytes) }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Counts on the wire are signed.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
