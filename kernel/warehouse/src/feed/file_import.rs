use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use arrow_array::{BooleanArray, RecordBatch, cast::AsArray, types::TimestampMicrosecondType};
use arrow_select::filter::filter_record_batch;
use backplane_proto::ingest::v1::ImportProgress;
use sha2::{Digest, Sha256};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::JoinSet,
};

use super::{
    FeedContract, control_file,
    duplicates::KeyDigest,
    file_reader::{Chunk, Counts, FileReader, FileText, Origin, open_text},
    import::{ImportState, Importer, hex, signed},
    in_order::{EarlierFailed, InOrder},
    inbox::Uploaded,
    numbers::NumberIndex,
    parts::{Judged, Parts},
    session::{Sessions, with_sessions},
    slices::{FileKey, FileRecord, Slice, is_nothing},
    taken::Taken,
    text_chunks::TextChunk,
};
use crate::{
    append::{Batch, Change, Committed, FileRange, Quarantined, RowSource, Settled, Source, incoming::declared_schema},
    error::WarehouseError,
};

// Limit: below this many rows a share of bad ones says nothing; the end of the file is always judged.
const RECORDS_JUDGED_MIN: u64 = 1_000;

/// One file on its way in. Chunks are parsed and written at the same time; what one tells of the next (sessions, duplicates, the share of bad rows) and the
/// commits are in order.
pub(super) struct FileImport {
    importer: Arc<Importer>,
    uploaded: Uploaded,
    reader: FileReader,
    key: FileKey,
    /// Lines up to here are committed, from an import that was interrupted.
    covered: u64,
    /// The file that stood for the slice before. It leaves with the last chunk of this one: until then, and if this one is refused, it stays.
    restates: Option<Restated>,
    seen: Mutex<Seen>,
    taken: Mutex<Taken>,
    in_sequence: InOrder,
    commits: InOrder,
    bytes_read: Arc<AtomicU64>,
    state: watch::Sender<ImportState>,
    text: Mutex<Option<FileText>>,
}

/// The file that another one restates.
struct Restated {
    source: RowSource,
    sha256: String,
}

/// What the chunks so far tell of the later ones.
struct Seen {
    sessions: Sessions,
    /// Until the last chunk, with which the other parts are settled.
    parts: Option<Parts>,
    counts: Counts,
}

/// A chunk with what its place in the file says of it.
struct Placed {
    first_line: u64,
    last_line: u64,
    is_last: bool,
    rows: RecordBatch,
    aside: Option<RecordBatch>,
    duplicates: u64,
    quarantined: Vec<Quarantined>,
}

impl FileImport {
    pub(super) async fn begin(
        importer: &Arc<Importer>,
        uploaded: &Uploaded,
        origin: Origin,
        state: &watch::Sender<ImportState>,
    ) -> Result<FileImport, WarehouseError> {
        let key = uploaded.key()?;
        let covered = match importer.slices.file(&key, origin.slice) {
            Some(file) if file.is_live => importer.taken(uploaded).await?.covered,
            _ => 0,
        };
        let live = importer.slices.live(&origin.feed.name, origin.slice).filter(|sha256| *sha256 != key.sha256);
        let numbers = if origin.feed.resolves_numbers() { importer.numbers().await? } else { Arc::new(NumberIndex::default()) };
        // Of rows that are in, some may have come from quarantine.
        let own = Some(key.sha256.as_str()).filter(|_| covered > 0);
        let parts = importer.parts(&origin.feed, origin.slice, &origin.file_name, own).await?;
        let (path, visitors, opened) = (importer.inbox.data(uploaded), importer.visitors.clone(), origin.clone());
        let (bytes_max, limits) = (importer.file_bytes_max, importer.limits);
        let opening = importer.engine().spawn_blocking(move || {
            let (mut text, bytes_read) = open_text(&opened, &path, bytes_max, limits)?;
            let reader = FileReader::open(opened, &mut text, visitors, numbers)?;
            Ok::<_, WarehouseError>((reader, text, bytes_read))
        });
        let (reader, text, bytes_read) = opening.await.map_err(WarehouseError::broken)??;
        Ok(FileImport {
            importer: importer.clone(),
            uploaded: uploaded.clone(),
            reader,
            covered,
            restates: live.map(|sha256| Restated { source: row_source(&origin.feed.name, origin.slice, &sha256), sha256 }),
            key,
            seen: Mutex::new(Seen { sessions: Sessions::default(), parts: Some(parts), counts: Counts::default() }),
            taken: Mutex::default(),
            in_sequence: InOrder::new(),
            commits: InOrder::new(),
            bytes_read,
            state: state.clone(),
            text: Mutex::new(Some(text)),
        })
    }

    /// Takes the file and says what came of it.
    pub(super) async fn run(self) -> Result<Taken, WarehouseError> {
        let import = Arc::new(self);
        let Some(text) = import.text.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Err(WarehouseError::broken("an import runs once"));
        };
        let (chunks, mut read) = mpsc::channel(1);
        let reading = import.importer.engine().spawn_blocking(move || send_chunks(text, &chunks));
        let (mut working, mut failure, mut count) = (JoinSet::new(), None, 0);
        while let Some(chunk) = read.recv().await {
            let room = import.importer.room_for_a_chunk().await?;
            working.spawn(import.clone().take(count, chunk, room));
            count += 1;
            while let Some(ended) = working.try_join_next() {
                note_end(ended.map_err(WarehouseError::broken)?, &mut failure, || read.close());
            }
        }
        while let Some(ended) = working.join_next().await {
            note_end(ended.map_err(WarehouseError::broken)?, &mut failure, || {});
        }
        match failure {
            Some(error) => Err(error),
            None => {
                reading.await.map_err(WarehouseError::broken)??;
                if count == 0 {
                    note_end(import.take_nothing().await, &mut failure, || {});
                }
                match failure {
                    Some(error) => Err(error),
                    None => import.outcome().await,
                }
            }
        }
    }

    async fn outcome(&self) -> Result<Taken, WarehouseError> {
        // What an interrupted import had taken stands in its batch records.
        if self.covered > 0 {
            return self.importer.taken(&self.uploaded).await;
        }
        let reasons = &self.seen.lock().unwrap_or_else(PoisonError::into_inner).counts.reasons;
        let reasons = reasons.iter().map(|(reason, (rows, _))| ((*reason).to_owned(), signed(*rows))).collect();
        Ok(Taken { reasons, ..self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone() })
    }

    /// Parses, writes and commits one chunk. Those before it may still be at an earlier step.
    async fn take(self: Arc<Self>, index: usize, chunk: TextChunk, _room: OwnedSemaphorePermit) -> Result<(), Stopped> {
        let import = self.clone();
        let parsing = self.importer.engine().spawn_blocking(move || import.reader.read(&chunk)).await;
        let placed = {
            let turn = self.in_sequence.turn(index).await?;
            let chunk = parsing.map_err(WarehouseError::broken)??;
            let placed = tokio::task::block_in_place(|| self.place(chunk))?;
            turn.pass();
            placed
        };
        let (first_line, lines_read, is_last) = (placed.first_line, placed.last_line, placed.is_last);
        // What an import that was interrupted had committed is not committed again.
        if first_line <= lines_read {
            let settled = if is_last { self.settle().await? } else { Settled::default() };
            self.commit(index, self.batch(placed, settled), is_last).await?;
        } else {
            self.commits.turn(index).await?.pass();
        }
        let (bytes_read, bytes_total) = (self.bytes_read.load(Ordering::Relaxed), self.uploaded.size_bytes);
        let progress = ImportProgress { lines_read: signed(lines_read), bytes_read: signed(bytes_read), bytes_total: signed(bytes_total) };
        self.state.send_replace(ImportState::Running(progress));
        Ok(())
    }

    /// Writes at once, and commits in its turn.
    async fn commit(&self, index: usize, mut batch: Batch, is_last: bool) -> Result<(), Stopped> {
        if let Some(restated) = self.restates.as_ref().filter(|_| is_last) {
            batch.resolved = self.importer.waiting_ids(&FileKey { sha256: restated.sha256.clone(), ..self.key.clone() }).await?;
        }
        let last_line = batch.file.as_ref().map_or(0, |file| file.last_line);
        let (quarantined, duplicates) = (batch.quarantined.len() as u64, batch.duplicates());
        let is_nothing = batch.file.as_ref().is_some_and(|file| is_nothing(file.first_line, is_last, batch.records()));
        let prepared = self.importer.appender.prepare(batch).await;
        let turn = self.commits.turn(index).await?;
        let prepared = prepared?;
        self.importer.refuse_while_closing()?;
        let committed = prepared.commit().await?;
        self.note(committed, is_last, is_nothing);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.covered = last_line;
        taken.rows += signed(committed.rows);
        taken.quarantined += signed(quarantined);
        taken.unchanged += signed(committed.unchanged);
        taken.duplicates += signed(duplicates);
        taken.removed += signed(committed.removed);
        taken.snapshot_id = committed.snapshot_id;
        drop(taken);
        turn.pass();
        Ok(())
    }

    /// A file without a record is taken too: nothing happened that day.
    async fn take_nothing(&self) -> Result<(), Stopped> {
        control_file::check_rows(&self.uploaded, 0)?;
        let rows = RecordBatch::new_empty(declared_schema(&self.reader.origin().feed.dataset));
        let nothing = Placed { first_line: 1, last_line: 0, is_last: true, rows, aside: None, duplicates: 0, quarantined: Vec::new() };
        let settled = self.settle().await?;
        self.commit(0, self.batch(nothing, settled), true).await
    }

    /// Judges the file as far as it was read, and leaves out the rows that are there: duplicates, and those of an import that was interrupted.
    ///
    /// # Errors
    /// FILE_TOO_BAD when more rows are bad than the contract allows, FILE_REFUSED when there are not as many as the control file says: the chunk that shows it
    /// is not committed.
    fn place(&self, chunk: Chunk) -> Result<Placed, WarehouseError> {
        let origin = self.reader.origin();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.counts.add(&chunk.counts);
        judge(origin, &seen.counts, chunk.is_last)?;
        if chunk.is_last {
            control_file::check_rows(&self.uploaded, seen.counts.records)?;
        }
        let rows = with_sessions(&origin.feed, chunk.rows, &chunk.lines, Some(&mut seen.sessions))?;
        let is_new = |line: &u64| *line > self.covered;
        let new: BooleanArray = chunk.lines.iter().map(|line| Some(is_new(line))).collect();
        let new_rows = filtered(&rows, &new)?;
        let judged = match &mut seen.parts {
            Some(parts) if origin.feed.drops_duplicates => {
                let keys: Vec<KeyDigest> = chunk.keys.iter().zip(new.values()).filter(|(_, is_new)| *is_new).map(|(key, _)| *key).collect();
                parts.judge(&keys)?
            }
            _ => Judged::all_count(new_rows.num_rows()),
        };
        let duplicates = (new_rows.num_rows() - judged.counts.true_count() - judged.aside.true_count()) as u64;
        let (rows, aside) = (filtered(&new_rows, &judged.counts)?, judged.set_aside(&new_rows)?);
        let quarantined = chunk.quarantined.into_iter().filter(|bad| is_new(&bad.line)).collect();
        let first_line = chunk.first_line.max(self.covered + 1);
        Ok(Placed { first_line, last_line: chunk.last_line, is_last: chunk.is_last, rows, aside, duplicates, quarantined })
    }

    /// With the last chunk all keys of the file are known.
    async fn settle(&self) -> Result<Settled, WarehouseError> {
        let parts = self.seen.lock().unwrap_or_else(PoisonError::into_inner).parts.take();
        match parts {
            Some(parts) => self.importer.settle(parts).await,
            None => Ok(Settled::default()),
        }
    }

    fn batch(&self, placed: Placed, settled: Settled) -> Batch {
        let Origin { feed, slice, endings, .. } = self.reader.origin();
        let Uploaded { file_name, sha256, principal, period, part, .. } = &self.uploaded;
        let again = if *endings == 0 { String::new() } else { format!("/{endings}") };
        let aside = placed.aside.as_ref().map_or(0, RecordBatch::num_rows);
        let records = (placed.rows.num_rows() + aside + placed.quarantined.len()) as u64 + placed.duplicates;
        // Days without a record have the same bytes.
        let of_slice = if is_nothing(placed.first_line, placed.is_last, records) { format!("/{slice}") } else { String::new() };
        let key = format!("file/{}/{}/{sha256}/{}{of_slice}{again}", feed.name, slice.city, placed.first_line);
        let restates = self.restates.as_ref().filter(|_| placed.is_last).map(|restated| restated.source.clone());
        Batch {
            // The key holds the file's digest and the line: it says all there is to say of the content.
            digest: hex(&Sha256::digest(&key)),
            key,
            source: Source::File,
            principal: principal.clone(),
            newest_at: newest_at(feed, &placed.rows),
            dataset: feed.dataset.clone(),
            city: slice.city,
            feed: Some(feed.name.clone()),
            file: Some(FileRange {
                name: file_name.clone(),
                sha256: sha256.clone(),
                first_line: placed.first_line,
                last_line: placed.last_line,
                is_last: placed.is_last,
                period: period.clone(),
                part: *part,
            }),
            change: Change::Add { rows: placed.rows, duplicates: placed.duplicates, aside: placed.aside, restates, settled },
            quarantined: placed.quarantined,
            resolved: Vec::new(),
        }
    }

    fn note(&self, committed: Committed, is_last: bool, is_nothing: bool) {
        let record = FileRecord {
            key: self.key.clone(),
            slice: self.reader.origin().slice,
            file_name: self.uploaded.file_name.clone(),
            source: Source::File,
            is_last,
            is_nothing,
            snapshot_id: committed.snapshot_id,
            committed_at: committed.committed_at,
        };
        self.importer.slices.note(record);
    }
}

/// Why a chunk was not taken.
enum Stopped {
    Failed(WarehouseError),
    ByEarlier,
}

impl From<WarehouseError> for Stopped {
    fn from(error: WarehouseError) -> Stopped {
        Stopped::Failed(error)
    }
}

impl From<EarlierFailed> for Stopped {
    fn from(_: EarlierFailed) -> Stopped {
        Stopped::ByEarlier
    }
}

/// Most often all of them.
fn filtered(rows: &RecordBatch, kept: &BooleanArray) -> Result<RecordBatch, WarehouseError> {
    if kept.true_count() == kept.len() {
        return Ok(rows.clone());
    }
    filter_record_batch(rows, kept).map_err(WarehouseError::broken)
}

/// Keeps the first failure, which is the one that stopped the others, and stops the reading.
fn note_end(ended: Result<(), Stopped>, failure: &mut Option<WarehouseError>, mut stop: impl FnMut()) {
    if let Err(stopped) = ended {
        stop();
        if let Stopped::Failed(error) = stopped {
            failure.get_or_insert(error);
        }
    }
}

fn send_chunks(mut text: FileText, chunks: &mpsc::Sender<TextChunk>) -> Result<(), WarehouseError> {
    while let Some(chunk) = text.next_chunk()? {
        // Nobody receives any more: the import stopped.
        if chunks.blocking_send(chunk).is_err() {
            break;
        }
    }
    Ok(())
}

fn judge(origin: &Origin, counts: &Counts, is_last: bool) -> Result<(), WarehouseError> {
    let permille_max = origin.feed.bad_rows_permille_max;
    let judged = is_last || counts.records >= RECORDS_JUDGED_MIN;
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

/// The newest event time of some rows, if their dataset has one.
pub(super) fn newest_at(feed: &FeedContract, rows: &RecordBatch) -> Option<i64> {
    let (index, _) = feed.dataset.column("at")?;
    rows.column(index).as_primitive_opt::<TimestampMicrosecondType>()?.iter().flatten().max()
}

/// What the rows of a file of this slice say that they came from.
pub(super) fn row_source(feed: &str, slice: Slice, sha256: &str) -> RowSource {
    let period = slice.period.map_or_else(|| "-".to_owned(), |period| period.to_string());
    RowSource::file(feed, &period, slice.part, sha256)
}
