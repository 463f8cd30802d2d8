use std::sync::Arc;

use backplane_proto::ingest::v1::{RetractFileRequest, RetractFileResponse};
use kernel_base::{CallContext, City};
use sha2::{Digest, Sha256};

use super::{
    FeedContract, Importer,
    file_import::row_source,
    import::{hex, signed},
    inbox::Uploaded,
    period::Period,
    slices::{FileKey, FileRecord, Slice, TakenFile},
};
use crate::{
    append::{Batch, Change, Committed, FileRange, Gone, Settled, Source},
    error::WarehouseError,
};

// Limit: characters of a reason.
const REASON_CHARACTERS_MAX: usize = 400;

/// Takes a file back: its rows leave in one snapshot, what they had replaced in a `latest` dataset returns, and what of it waits in quarantine waits no more. The
/// same file may be sent again afterwards.
pub(crate) async fn retract(importer: &Importer, context: &CallContext, request: RetractFileRequest) -> Result<RetractFileResponse, WarehouseError> {
    let feed = importer.contracts.feeds().get(&request.feed)?.clone();
    let city = context.required_city("ingest.retract")?;
    context.require("ingest.retract", None, city)?;
    let reason = request.reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARACTERS_MAX {
        let problem = format!("say in 1 to {REASON_CHARACTERS_MAX} characters why the file is taken back: it is kept in the log");
        return Err(WarehouseError::FieldInvalid { field: "reason", problem });
    }
    let (key, slice) = importer.file_meant(&feed, city, &request)?;
    let _turn = importer.turn_before(&feed.name, slice, Some(context.deadline)).await?;
    // It may have been restated or taken back while this waited, and what was taken back may have come as another day's.
    let file = importer.slices.file(&key, slice).filter(|file| file.is_live && file.is_complete && file.slice == slice);
    let file = file.ok_or_else(|| WarehouseError::FileUnknown { feed: feed.name.clone() })?;
    tracing::info!(
        target: "audit",
        caller = context.caller_id(),
        feed = feed.name,
        %city,
        file = file.file_name,
        sha256 = key.sha256,
        period = %slice,
        reason,
        trace = %context.trace,
        "a file is taken back"
    );
    let committed = importer.take_back(&feed, &key, &file, context.caller_id()).await?;
    Ok(RetractFileResponse {
        file_name: file.file_name,
        sha256: key.sha256,
        rows_removed: signed(committed.removed),
        rows_restored: signed(committed.rows),
        snapshot_id: committed.snapshot_id,
    })
}

impl Importer {
    /// The file that the request names, by its digest, its period and part, or both, and the slice that it stands for.
    fn file_meant(&self, feed: &FeedContract, city: City, request: &RetractFileRequest) -> Result<(FileKey, Slice), WarehouseError> {
        let key = |sha256: String| FileKey { feed: feed.name.clone(), city, sha256 };
        let unknown = || WarehouseError::FileUnknown { feed: feed.name.clone() };
        let invalid = |field, problem: String| Err(WarehouseError::FieldInvalid { field, problem });
        let slice = match request.period.as_str() {
            "" => None,
            text => {
                let (Some(period), Ok(part)) = (Period::read(text), u32::try_from(request.part)) else {
                    return invalid("period", "expected a day yyyyMMdd or a month yyyyMM, and a part of 0 or more".to_owned());
                };
                Some(Slice { city, period: Some(period), part })
            }
        };
        match (request.file_sha256.to_ascii_lowercase(), slice) {
            (sha256, None) if sha256.is_empty() => invalid("file_sha256", "name the file: by its digest, or by its period (and part)".to_owned()),
            (sha256, Some(slice)) if sha256.is_empty() => Ok((key(self.slices.live(&feed.name, slice).ok_or_else(unknown)?), slice)),
            (sha256, Some(slice)) => Ok((key(sha256), slice)),
            (sha256, None) => {
                let key = key(sha256);
                match self.slices.live_slices(&key).as_slice() {
                    [] => Err(unknown()),
                    [slice] => Ok((key, *slice)),
                    several => {
                        invalid("period", format!("{} files without a record have this digest: name the period of the one that is meant", several.len()))
                    }
                }
            }
        }
    }

    /// The caller holds the turn of the file's period: a replay between the look and the commit would bring rows of the file in again.
    async fn take_back(&self, feed: &Arc<FeedContract>, key: &FileKey, file: &TakenFile, principal: &str) -> Result<Committed, WarehouseError> {
        let _one_at_a_time = self.retracting.lock().await;
        let resolved = self.waiting_ids(key).await?;
        // What is not in to its end takes no part in what counts.
        let settled = match file.is_complete {
            true => self.settle(self.parts(feed, file.slice, &file.file_name, None).await?).await?,
            false => Settled::default(),
        };
        let mut gone = Gone::default();
        for (key, file) in self.slices.taken_back(key.city) {
            let first_snapshot_ids = file.first_snapshot_ids_before.into_iter().chain([file.first_snapshot_id]);
            gone.add(&row_source(&key.feed, file.slice, &key.sha256), first_snapshot_ids);
        }
        let batch_key = format!("retraction/{}/{}/{}/{}", feed.name, file.slice, key.sha256, file.endings);
        let batch = Batch {
            digest: hex(&Sha256::digest(&batch_key)),
            key: batch_key,
            source: Source::Retraction,
            principal: principal.to_owned(),
            dataset: feed.dataset.clone(),
            city: key.city,
            feed: Some(feed.name.clone()),
            file: Some(FileRange {
                name: file.file_name.clone(),
                sha256: key.sha256.clone(),
                first_line: 0,
                last_line: 0,
                is_last: true,
                period: file.slice.period.map(|period| period.to_string()),
                part: file.slice.part,
            }),
            change: Change::TakeBack { source: row_source(&feed.name, file.slice, &key.sha256), before_snapshot_id: file.first_snapshot_id - 1, gone, settled },
            quarantined: Vec::new(),
            resolved,
            newest_at: None,
        };
        let committed = self.appender.commit(batch).await?;
        self.slices.note(FileRecord {
            key: key.clone(),
            slice: file.slice,
            file_name: file.file_name.clone(),
            source: Source::Retraction,
            is_last: true,
            is_nothing: false,
            snapshot_id: committed.snapshot_id,
            committed_at: committed.committed_at,
        });
        Ok(committed)
    }

    /// Takes back what an import had committed before its file was refused. The caller holds the turn of its period.
    pub(super) async fn take_back_what_is_in(&self, uploaded: &Uploaded) -> Result<(), WarehouseError> {
        let key = uploaded.key()?;
        match self.slices.file(&key, uploaded.slice()?) {
            Some(file) if file.is_live && !file.is_complete => {
                let feed = self.contracts.feeds().get(&uploaded.feed)?.clone();
                self.take_back(&feed, &key, &file, &uploaded.principal).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}
