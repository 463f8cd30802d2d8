use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Instant,
};

use backplane_proto::ingest::v1::{ImportProgress, ImportResult};
use futures::{
    FutureExt,
    future::{BoxFuture, maybe_done},
};
use kernel_base::{City, Clock};
use tokio::{
    runtime::Handle,
    sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, watch},
    time::timeout_at,
};
use tonic::Status;

use super::{
    drop_folder::FeedAndCity,
    file_import::FileImport,
    file_reader::Origin,
    inbox::{Inbox, Uploaded},
    numbers::{self, NumberIndex},
    period::Period,
    slices::{Slice, Slices, TakenFile},
    text_chunks::ChunkLimits,
    visitor::VisitorKey,
};
use crate::{append::Appender, contract::Mode, contracts::Contracts, error::WarehouseError, lake::TableName, settings::WarehouseSettings};

// Limit: imports that run at once; the others wait, their files safe in the inbox. More would only share the same cores.
const IMPORTS_MAX: usize = 2;
// Limit: chunks in memory at once, of all imports. One is parsed, one written and one committed; each holds its text, its rows and their Parquet form, about
// five times `chunk_bytes`.
const CHUNKS_MAX: usize = 3;
// Limit: replays at once, each with at most `quarantine_bytes` of text. One may wait for the import of a large file; the others need not wait for it.
const REPLAYS_MAX: usize = 4;

/// Takes files: keeps each upload until its last chunk is committed, and imports it chunk by chunk, each chunk one commit under a key of its own.
pub(crate) struct Importer {
    pub(super) contracts: Arc<Contracts>,
    pub(super) appender: Arc<Appender>,
    pub(super) inbox: Inbox,
    pub(super) visitors: VisitorKey,
    pub(super) slices: Slices,
    pub(super) file_bytes_max: u64,
    pub(super) keys_in_memory: usize,
    pub(super) moved_rows_max: usize,
    pub(super) quarantine_bytes: usize,
    /// Replays that have a page of text in memory.
    pub(super) replays: Semaphore,
    /// Whether a replay after an append is about to begin.
    replay_waits: AtomicBool,
    /// Files are taken back one at a time: which ones are gone is read before the rows that they had replaced return.
    pub(super) retracting: tokio::sync::Mutex<()>,
    /// Uploads enter the inbox one at a time: whether the same file is there is checked before.
    pub(super) entering: tokio::sync::Mutex<()>,
    pub(super) limits: ChunkLimits,
    numbers: tokio::sync::Mutex<Option<(i64, Arc<NumberIndex>)>>,
    running: Mutex<HashMap<String, Running>>,
    /// The turn of each feed's city and period that has files on their way.
    periods: Mutex<HashMap<PeriodOfFeed, Arc<tokio::sync::Mutex<()>>>>,
    turns: Semaphore,
    chunks: Arc<Semaphore>,
    /// The newest refusal before an import, by feed and city: the name of the file and why.
    pub(super) newest_refusals: Mutex<HashMap<FeedAndCity, (String, String)>>,
    /// How many files in the drop folder wait for their control file.
    without_control: Mutex<BTreeMap<FeedAndCity, i64>>,
    closing: AtomicBool,
    engine: Handle,
}

/// Feed, city and the month of the period: the days of a month meet a file of the whole month.
type PeriodOfFeed = (String, String, Option<Period>);

/// Whose turn it is to change the files of a feed's city and month.
type Turn = OwnedMutexGuard<()>;

/// An import that goes on.
pub(super) struct Running {
    period: Option<String>,
    part: u32,
    pub(super) state: watch::Receiver<ImportState>,
}

impl Running {
    /// Whether it is of the same slice, and not only of the same bytes.
    pub(super) fn is_of_slice_of(&self, uploaded: &Uploaded) -> bool {
        (&self.period, self.part) == (&uploaded.period, uploaded.part)
    }
}

/// Where an import stands.
#[derive(Debug, Clone)]
pub(crate) enum ImportState {
    Running(ImportProgress),
    Done(Box<ImportResult>),
    Failed(Status),
}

impl Importer {
    pub(crate) async fn open(
        settings: &WarehouseSettings,
        contracts: Arc<Contracts>,
        appender: Arc<Appender>,
        engine: Handle,
    ) -> Result<Importer, WarehouseError> {
        Ok(Importer {
            contracts,
            slices: Slices::load(appender.lake()).await?,
            appender,
            inbox: Inbox::open(settings.dir.join("inbox"))?,
            visitors: VisitorKey::open(&settings.dir.join("visitor.key"))?,
            file_bytes_max: settings.file_bytes_max,
            keys_in_memory: settings.keys_in_memory,
            moved_rows_max: settings.moved_rows_max,
            quarantine_bytes: settings.quarantine_bytes,
            replays: Semaphore::new(REPLAYS_MAX),
            replay_waits: AtomicBool::new(false),
            retracting: tokio::sync::Mutex::new(()),
            entering: tokio::sync::Mutex::new(()),
            limits: ChunkLimits { bytes_max: settings.chunk_bytes.max(1), lines_max: settings.chunk_lines.max(1) as u64 },
            numbers: tokio::sync::Mutex::new(None),
            running: Mutex::new(HashMap::new()),
            periods: Mutex::new(HashMap::new()),
            turns: Semaphore::new(IMPORTS_MAX),
            chunks: Arc::new(Semaphore::new(CHUNKS_MAX)),
            newest_refusals: Mutex::new(HashMap::new()),
            without_control: Mutex::new(BTreeMap::new()),
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
            return import.state.clone();
        }
        // Asked for now and not in the task, so that uploads have their turns in the order in which they came.
        let mut turn = Box::pin(maybe_done(self.turn(&uploaded.feed, &uploaded.city, uploaded.read_period()).lock_owned()));
        let _ = turn.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let begun = ImportProgress { bytes_total: signed(uploaded.size_bytes), ..ImportProgress::default() };
        let (state, reader) = watch::channel(ImportState::Running(begun));
        running.insert(uploaded.id(), Running { period: uploaded.period.clone(), part: uploaded.part, state: reader.clone() });
        let importer = self.clone();
        self.engine.spawn(async move {
            // In a task of its own, so that a panic ends this import and is told to those who wait for it.
            let work = tokio::spawn({
                let (importer, uploaded, state) = (importer.clone(), uploaded.clone(), state.clone());
                async move {
                    turn.as_mut().await;
                    importer.import(&uploaded, &state, turn.as_mut().take_output()).await
                }
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

    pub(super) fn note_without_control(&self, files: BTreeMap<FeedAndCity, i64>) {
        *self.without_control.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// How many files of the feed wait in the drop folder for their control file, by city.
    pub(super) fn without_control(&self, feed: &str) -> Vec<(City, i64)> {
        let files = self.without_control.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().filter(|((of_feed, _), _)| of_feed == feed).map(|((_, city), count)| (*city, *count)).collect()
    }

    pub(super) fn clock(&self) -> &Clock {
        self.appender.clock()
    }

    pub(super) fn engine(&self) -> &Handle {
        &self.engine
    }

    /// Room in memory for a chunk.
    pub(super) async fn room_for_a_chunk(&self) -> Result<OwnedSemaphorePermit, WarehouseError> {
        self.chunks.clone().acquire_owned().await.map_err(|_| WarehouseError::Closing)
    }

    pub(super) fn refuse_while_closing(&self) -> Result<(), WarehouseError> {
        if self.closing.load(Ordering::SeqCst) { Err(WarehouseError::Closing) } else { Ok(()) }
    }

    /// Who has had which service number, as of now.
    pub(super) async fn numbers(&self) -> Result<Arc<NumberIndex>, WarehouseError> {
        let mut held = self.numbers.lock().await;
        let changed_at = self.numbers_changed_at();
        if let Some((of, index)) = held.as_ref()
            && *of == changed_at
        {
            return Ok(index.clone());
        }
        // One that is too old goes before the new one comes: both would be in memory at once.
        *held = None;
        let index = Arc::new(NumberIndex::load(self.appender.lake()).await?);
        *held = Some((changed_at, index.clone()));
        Ok(index)
    }

    /// The import of these bytes, if it runs, and whether it is of this upload's slice.
    pub(super) fn running(&self, uploaded: &Uploaded) -> Option<(watch::Receiver<ImportState>, bool)> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.get(&uploaded.id()).map(|import| (import.state.clone(), import.is_of_slice_of(uploaded)))
    }

    /// Files of a feed's city and month are taken, replayed and taken back one after the other: which one stands for a slice, which keys its parts have and which of its
    /// rows wait is read before the rows are committed.
    fn turn(&self, feed: &str, city: &str, period: Option<Period>) -> Arc<tokio::sync::Mutex<()>> {
        let mut periods = self.periods.lock().unwrap_or_else(PoisonError::into_inner);
        periods.retain(|_, turn| Arc::strong_count(turn) > 1);
        periods.entry((feed.to_owned(), city.to_owned(), period.map(Period::month))).or_default().clone()
    }

    /// The turn of a slice, for whoever waits for it until a deadline.
    ///
    /// # Errors
    /// DEADLINE_PASSED when an import keeps it for longer.
    pub(super) async fn turn_before(&self, feed: &str, slice: Slice, deadline: Option<Instant>) -> Result<Turn, WarehouseError> {
        let turn = self.turn(feed, &slice.city.to_string(), slice.period).lock_owned();
        match deadline {
            None => Ok(turn.await),
            Some(deadline) => timeout_at(deadline.into(), turn).await.map_err(|_| WarehouseError::DeadlinePassed { work: "import of the same period" }),
        }
    }

    /// Lets each running import finish its commit and stop; the files stay for the next start.
    pub(crate) async fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.turns.close();
        self.replays.close();
        let imports: Vec<_> = self.running.lock().unwrap_or_else(PoisonError::into_inner).values().map(|import| import.state.clone()).collect();
        for mut import in imports {
            // An error says that the import's task is gone, which is what is waited for.
            let _ = import.wait_for(|state| !matches!(state, ImportState::Running(_))).await;
        }
    }

    async fn import(self: &Arc<Self>, uploaded: &Uploaded, state: &watch::Sender<ImportState>, turn: Option<Turn>) -> Result<ImportResult, WarehouseError> {
        let numbers_at = self.numbers_changed_at();
        let outcome = match self.import_in_turn(uploaded, state, turn).await {
            Ok(result) => self.replay_for_numbers(uploaded, result.duplicate_file, numbers_at).await.map(|()| result),
            refused => refused,
        };
        match &outcome {
            Ok(_) => self.inbox.remove(uploaded)?,
            Err(error) if error.refuses_file() => {
                tracing::warn!(feed = uploaded.feed, city = uploaded.city, file = uploaded.file_name, %error, "a file was refused");
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

    /// Takes the file, or takes back what is in of one that is refused. The turn ends with it.
    async fn import_in_turn(
        self: &Arc<Self>,
        uploaded: &Uploaded,
        state: &watch::Sender<ImportState>,
        _turn: Option<Turn>,
    ) -> Result<ImportResult, WarehouseError> {
        let _place = self.turns.acquire().await.map_err(|_| WarehouseError::Closing)?;
        let outcome = self.despite_new_contracts(|| self.import_file(uploaded, state).boxed()).await;
        if outcome.as_ref().is_err_and(WarehouseError::refuses_file) {
            self.take_back_what_is_in(uploaded).await?;
        }
        outcome
    }

    /// Does work again that failed because a contract was changed meanwhile: its table has other columns now. What an import committed stays, unless it begins anew, and the rest is read by the new
    /// contract.
    async fn despite_new_contracts<'w, T>(&self, work: impl Fn() -> BoxFuture<'w, Result<T, WarehouseError>>) -> Result<T, WarehouseError> {
        loop {
            let contracts = self.contracts.feeds();
            match work().await {
                Err(WarehouseError::Storage { .. }) if !Arc::ptr_eq(&contracts, &self.contracts.feeds_after_writing().await) => {}
                outcome => break outcome,
            }
        }
    }

    async fn import_file(self: &Arc<Self>, uploaded: &Uploaded, state: &watch::Sender<ImportState>) -> Result<ImportResult, WarehouseError> {
        if self.was_taken(uploaded)? {
            return self.result_again(uploaded).await;
        }
        self.begin_anew(uploaded).await?;
        let origin = self.origin(uploaded)?;
        self.refuse_overlap(&origin)?;
        Ok(FileImport::begin(self, uploaded, origin, state).await?.run().await?.result(uploaded, false))
    }

    /// An import that was interrupted goes on where it was. But a part begins anew, since other parts may have come or gone meanwhile, of whose rows with equal keys one
    /// counts; and so does a file that comes for another slice now.
    async fn begin_anew(&self, uploaded: &Uploaded) -> Result<(), WarehouseError> {
        let (drops_duplicates, slice) = (self.contracts.feeds().get(&uploaded.feed)?.drops_duplicates, uploaded.slice()?);
        let is_moved = self.slices.file(&uploaded.key()?, slice).is_some_and(|file| file.slice != slice);
        if is_moved || (drops_duplicates && slice.part != 0) {
            self.take_back_what_is_in(uploaded).await?;
        }
        Ok(())
    }

    /// Refuses a file whose rows may stand in other files: those of a day beside its month, those of a part beside the whole. In a `latest` dataset the keys tell.
    fn refuse_overlap(&self, origin: &Origin) -> Result<(), WarehouseError> {
        if origin.feed.dataset.mode == Mode::Latest {
            return Ok(());
        }
        match self.slices.overlapping(&origin.feed.name, origin.slice) {
            None => Ok(()),
            Some(there) => {
                let problem = format!(
                    "it holds {}, and {there} is in, so that rows would count twice: send what restates that one, or take it back first ('backplane feed retract')",
                    origin.slice
                );
                Err(WarehouseError::FileRefused { file_name: origin.file_name.clone(), problem })
            }
        }
    }

    /// Replays what waited for a number that is known now: of every feed after a file of assignments, of this file when some came while it was read. Also of a file that
    /// was in: the kernel may have stopped before.
    async fn replay_for_numbers(&self, uploaded: &Uploaded, was_in: bool, numbers_at: i64) -> Result<(), WarehouseError> {
        let feed = self.contracts.feeds().get(&uploaded.feed)?.clone();
        if feed.dataset.name == numbers::DATASET {
            return self.despite_new_contracts(|| self.replay_unknown_numbers(&uploaded.principal).boxed()).await;
        }
        if feed.resolves_numbers() && (was_in || self.numbers_changed_at() != numbers_at) {
            let key = uploaded.key()?;
            return self.despite_new_contracts(|| self.replay_unknown_numbers_of(&uploaded.feed, Some(&key), &uploaded.principal).boxed()).await;
        }
        Ok(())
    }

    /// Assignments came by another way than a file: what waits for them is replayed in the background.
    pub(crate) fn replay_after_append(self: &Arc<Self>, dataset: &str, principal: &str) {
        if dataset != numbers::DATASET {
            return;
        }
        // One that waits to begin does the work of all that came before it begins.
        if self.replay_waits.swap(true, Ordering::SeqCst) {
            return;
        }
        let (importer, principal) = (self.clone(), principal.to_owned());
        self.engine.spawn(async move {
            importer.replay_waits.store(false, Ordering::SeqCst);
            if let Err(error) = importer.despite_new_contracts(|| importer.replay_unknown_numbers(&principal).boxed()).await {
                tracing::warn!(%error, "rows that wait for a number could not be replayed: the next file of assignments does it again");
            }
        });
    }

    fn numbers_changed_at(&self) -> i64 {
        self.appender.lake().changed_at(&TableName::dataset(numbers::DATASET))
    }

    /// Whether the file is in, or was and another one stands for its slice now. One that was taken back may come again, and so may one that was restated by a
    /// file that was taken back.
    pub(super) fn was_taken(&self, uploaded: &Uploaded) -> Result<bool, WarehouseError> {
        let file = self.slices.file(&uploaded.key()?, uploaded.slice()?);
        let stands = |file: &TakenFile| self.slices.live(&uploaded.feed, file.slice).is_some();
        Ok(file.is_some_and(|file| if file.is_live { file.is_complete } else { file.is_restated && stands(&file) }))
    }

    pub(super) fn origin(&self, uploaded: &Uploaded) -> Result<Origin, WarehouseError> {
        Ok(Origin {
            feed: self.contracts.feeds().get(&uploaded.feed)?.clone(),
            slice: uploaded.slice()?,
            file_name: uploaded.file_name.clone(),
            sha256: uploaded.sha256.clone(),
            endings: self.slices.file(&uploaded.key()?, uploaded.slice()?).map_or(0, |file| file.endings),
        })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Counts on the wire are signed.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
