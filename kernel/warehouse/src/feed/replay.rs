use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Instant,
};

use arrow_array::RecordBatch;
use arrow_select::{concat::concat_batches, filter::filter_record_batch};
use backplane_proto::ingest::v1::{ReplayQuarantineRequest, ReplayQuarantineResponse};
use kernel_base::{CallContext, Scope};
use sha2::{Digest, Sha256};
use tokio::time::timeout_at;

use super::{
    FeedContract, Importer,
    duplicates::KeyDigest,
    file_import::newest_at,
    file_reader::{Origin, read_alone},
    import::{hex, signed},
    quarantine::{Kept, PERMISSION, Selection},
    row::Bad,
    session::with_sessions,
    slices::FileKey,
};
use crate::{
    append::{Batch, Change, FileRange, Settled, Source, incoming::declared_schema},
    error::WarehouseError,
};

// Limit: rows of one replay, as the contract of ReplayQuarantine says.
const ROWS_MAX: usize = 10_000;

/// Rows of one file that can be read now.
struct Readable {
    origin: Origin,
    rows: Vec<ReadableRow>,
}

struct ReadableRow {
    quarantine_id: String,
    row: RecordBatch,
    /// Of a feed that drops duplicates.
    key: Option<KeyDigest>,
}

/// For whom a replay is, and how long it may wait for an import of the same period.
#[derive(Clone, Copy)]
struct By<'a> {
    principal: &'a str,
    deadline: Option<Instant>,
}

/// What a replay did.
#[derive(Default)]
struct Replayed {
    taken: u64,
    still_bad: u64,
}

/// Reads quarantined rows again and appends those that can be read now. The rows of a file that are held at one time, and the note that they are no longer waiting,
/// are one snapshot, so that replaying twice, or after a crash, changes nothing; after an error what was taken stays taken.
pub(crate) async fn replay(importer: &Importer, context: &CallContext, request: ReplayQuarantineRequest) -> Result<ReplayQuarantineResponse, WarehouseError> {
    let feed = importer.contracts.feeds().get(&request.feed)?.clone();
    check(&request)?;
    let selection = Selection {
        feed: feed.name.clone(),
        scope: context.rights.scope_of(PERMISSION, None),
        file_sha256: None,
        ids: Some(request.quarantine_ids).filter(|ids| !ids.is_empty()),
        reason: None,
        after: None,
        include_replayed: false,
        rows_max: ROWS_MAX,
    };
    refuse_unknown(importer, &selection).await?;
    let corrected = Some(request.corrected_text.as_str()).filter(|text| !text.is_empty());
    let by = By { principal: context.caller_id(), deadline: Some(context.deadline) };
    let replayed = importer.replay_selected(&feed, selection, corrected, by).await?;
    let snapshot_id = importer.appender.lake().newest();
    Ok(ReplayQuarantineResponse { rows_taken: signed(replayed.taken), rows_still_bad: signed(replayed.still_bad), snapshot_id })
}

fn check(request: &ReplayQuarantineRequest) -> Result<(), WarehouseError> {
    if request.quarantine_ids.len() > ROWS_MAX {
        let problem = format!("{} ids are more than the {ROWS_MAX} of one replay", request.quarantine_ids.len());
        return Err(WarehouseError::FieldInvalid { field: "quarantine_ids", problem });
    }
    if !request.corrected_text.is_empty() && request.quarantine_ids.len() != 1 {
        let problem = "a corrected text is for one row: name exactly one id".to_owned();
        return Err(WarehouseError::FieldInvalid { field: "corrected_text", problem });
    }
    Ok(())
}

/// That the rows that were asked for are there, waiting or not.
async fn refuse_unknown(importer: &Importer, selection: &Selection) -> Result<(), WarehouseError> {
    let Some(ids) = &selection.ids else {
        return Ok(());
    };
    let known = importer.quarantined_ids(&Selection { include_replayed: true, ..selection.clone() }).await?;
    match ids.iter().find(|id| !known.contains(*id)) {
        Some(unknown) => Err(WarehouseError::QuarantineUnknown { feed: selection.feed.clone(), quarantine_id: unknown.chars().take(80).collect() }),
        None => Ok(()),
    }
}

impl Importer {
    /// Replays what waited for an assignment of its number, of every feed, now that assignments came.
    pub(super) async fn replay_unknown_numbers(&self, principal: &str) -> Result<(), WarehouseError> {
        let waiting = self.feeds_that_wait_for_numbers().await?;
        for feed in self.contracts.feeds().iter().filter(|feed| waiting.contains(&feed.name)) {
            self.replay_unknown_numbers_of(&feed.name, None, principal).await?;
        }
        Ok(())
    }

    /// The same of one feed, or of one file of it.
    pub(super) async fn replay_unknown_numbers_of(&self, feed: &str, file: Option<&FileKey>, principal: &str) -> Result<(), WarehouseError> {
        let feed = self.contracts.feeds().get(feed)?.clone();
        let selection = Selection {
            feed: feed.name.clone(),
            scope: file.map_or(Scope::Province, |file| Scope::city(file.city)),
            file_sha256: file.map(|file| file.sha256.clone()),
            ids: None,
            reason: Some(Bad::NUMBER_UNKNOWN),
            after: None,
            include_replayed: false,
            rows_max: usize::MAX,
        };
        let replayed = self.replay_selected(&feed, selection, None, By { principal, deadline: None }).await?;
        if replayed.taken + replayed.still_bad > 0 {
            tracing::info!(feed = feed.name, taken = replayed.taken, waiting = replayed.still_bad, "rows that waited for their number were replayed");
        }
        Ok(())
    }

    /// Page by page, oldest first: the rows that are still bad stay behind. Whoever holds a turn must not wait for this.
    async fn replay_selected(
        &self,
        feed: &Arc<FeedContract>,
        mut selection: Selection,
        corrected: Option<&str>,
        by: By<'_>,
    ) -> Result<Replayed, WarehouseError> {
        let place = match by.deadline {
            None => self.replays.acquire().await,
            Some(deadline) => {
                timeout_at(deadline.into(), self.replays.acquire()).await.map_err(|_| WarehouseError::DeadlinePassed { work: "replays before it" })?
            }
        };
        let _place = place.map_err(|_| WarehouseError::Closing)?;
        let (mut replayed, mut left) = (Replayed::default(), selection.rows_max);
        loop {
            self.refuse_while_closing()?;
            if by.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(WarehouseError::DeadlinePassed { work: "replay" });
            }
            selection.rows_max = left.min(ROWS_MAX);
            let page = self.first_of(&selection, self.quarantine_bytes).await?;
            selection.rows_max = page.rows;
            let waiting = self.quarantined(&selection).await?;
            let Some(last) = waiting.last() else {
                break;
            };
            selection.after = Some(last.place());
            left -= waiting.len();
            let of_page = self.replay_rows(feed, &waiting, corrected, by).await?;
            replayed.taken += of_page.taken;
            replayed.still_bad += of_page.still_bad;
            if left == 0 || (page.is_all && page.rows < ROWS_MAX) {
                break;
            }
        }
        Ok(replayed)
    }

    async fn replay_rows(&self, feed: &Arc<FeedContract>, waiting: &[Kept], corrected: Option<&str>, by: By<'_>) -> Result<Replayed, WarehouseError> {
        let numbers = if feed.resolves_numbers() { self.numbers().await? } else { Arc::default() };
        let mut replayed = Replayed::default();
        let mut readable: BTreeMap<(String, String), Readable> = BTreeMap::new();
        for kept in waiting {
            let text = corrected.unwrap_or(&kept.row.raw_text);
            // It was cut off, and may read as one that was not.
            if corrected.is_none() && kept.row.reason == Bad::TOO_LONG {
                replayed.still_bad += 1;
                continue;
            }
            let origin = self.origin_of(feed, kept)?;
            let line = u64::try_from(kept.row.line).unwrap_or(0);
            match read_alone(&origin, &self.visitors, &numbers, kept.header.as_deref(), line, text)? {
                Err(_) => replayed.still_bad += 1,
                Ok(chunk) => {
                    let file = readable.entry((kept.row.city.clone(), kept.file_sha256.clone())).or_insert_with(|| Readable { origin, rows: Vec::new() });
                    let row = with_sessions(feed, chunk.rows, &chunk.lines, None)?;
                    file.rows.push(ReadableRow { quarantine_id: kept.row.quarantine_id.clone(), row, key: chunk.keys.first().copied() });
                }
            }
        }
        for file in readable.into_values() {
            replayed.taken += self.commit_replay(file, by).await?;
        }
        Ok(replayed)
    }

    fn origin_of(&self, feed: &Arc<FeedContract>, kept: &Kept) -> Result<Origin, WarehouseError> {
        let key = FileKey { feed: feed.name.clone(), city: kept.row.city.parse()?, sha256: kept.file_sha256.clone() };
        let file = self.slices.file_with_records(&key).ok_or_else(|| WarehouseError::broken("a quarantined row is of a file that was never taken"))?;
        Ok(Origin { feed: feed.clone(), slice: file.slice, file_name: file.file_name, sha256: key.sha256, endings: file.endings })
    }

    /// Takes rows of one file in the turn of its period: those that still wait, and of those the first with their key. Says how many waited.
    async fn commit_replay(&self, file: Readable, by: By<'_>) -> Result<u64, WarehouseError> {
        let Readable { origin, rows: mut readable } = file;
        let feed = &origin.feed;
        let _turn = self.turn_before(&feed.name, origin.slice, by.deadline).await?;
        let key = FileKey { feed: feed.name.clone(), city: origin.slice.city, sha256: origin.sha256.clone() };
        let is_complete = self.slices.file(&key, origin.slice).is_some_and(|file| file.is_complete);
        // A part whose import was interrupted begins anew, with its quarantine.
        if feed.drops_duplicates && origin.slice.part != 0 && !is_complete {
            return Ok(0);
        }
        let waiting = self.still_waiting(&origin, &readable).await?;
        readable.retain(|row| waiting.contains(&row.quarantine_id));
        if readable.is_empty() {
            return Ok(0);
        }
        let mut rows = concat_batches(&declared_schema(&feed.dataset), readable.iter().map(|row| &row.row)).map_err(WarehouseError::broken)?;
        let (mut duplicates, mut aside, mut settled) = (0, None, Settled::default());
        if feed.drops_duplicates {
            let keys: Vec<KeyDigest> = readable.iter().filter_map(|row| row.key).collect();
            let mut parts = self.parts(feed, origin.slice, &origin.file_name, Some(&origin.sha256)).await?;
            let judged = parts.judge(&keys)?;
            duplicates = (keys.len() - judged.counts.true_count() - judged.aside.true_count()) as u64;
            aside = judged.set_aside(&rows)?;
            rows = filter_record_batch(&rows, &judged.counts).map_err(WarehouseError::broken)?;
            // One that is not in to its end settles with the other parts when it is.
            if is_complete {
                settled = self.settle(parts).await?;
            }
        }
        let ids: Vec<String> = readable.into_iter().map(|row| row.quarantine_id).collect();
        let taken = ids.len() as u64;
        let digest = hex(&Sha256::digest(ids.join("\n")));
        let batch = Batch {
            key: format!("replay/{digest}"),
            digest,
            source: Source::Replay,
            principal: by.principal.to_owned(),
            newest_at: newest_at(feed, &rows),
            dataset: feed.dataset.clone(),
            city: origin.slice.city,
            feed: Some(feed.name.clone()),
            file: Some(FileRange {
                name: origin.file_name.clone(),
                sha256: origin.sha256.clone(),
                first_line: 0,
                last_line: 0,
                is_last: false,
                period: origin.slice.period.map(|period| period.to_string()),
                part: origin.slice.part,
            }),
            change: Change::Add { rows, duplicates, aside, restates: None, settled },
            quarantined: Vec::new(),
            resolved: ids,
        };
        self.appender.commit(batch).await?;
        Ok(taken)
    }

    /// The ids of those of a file's rows that wait now.
    async fn still_waiting(&self, origin: &Origin, rows: &[ReadableRow]) -> Result<HashSet<String>, WarehouseError> {
        let selection = Selection {
            feed: origin.feed.name.clone(),
            scope: Scope::Province,
            file_sha256: Some(origin.sha256.clone()),
            ids: Some(rows.iter().map(|row| row.quarantine_id.clone()).collect()),
            reason: None,
            after: None,
            include_replayed: false,
            rows_max: rows.len(),
        };
        self.quarantined_ids(&selection).await
    }
}
