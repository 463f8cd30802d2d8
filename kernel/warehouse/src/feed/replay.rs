use std::{collections::BTreeMap, sync::Arc};

use backplane_proto::ingest::v1::{ReplayQuarantineRequest, ReplayQuarantineResponse};
use kernel_base::{CallContext, City};
use sha2::{Digest, Sha256};

use super::{
    FeedContract, Importer,
    file_reader::{Origin, read_alone},
    import::{hex, signed},
    quarantine::{Kept, PERMISSION, Selection},
};
use crate::{
    append::{Batch, Source, incoming::declared_schema},
    error::WarehouseError,
    rows::{RowsBuilder, Value},
};

// Limit: rows of one replay, as the contract of ReplayQuarantine says.
const ROWS_MAX: usize = 10_000;

/// Rows of one city that can be read now.
#[derive(Default)]
struct Readable {
    rows: Vec<Vec<Value>>,
    ids: Vec<String>,
    newest_at: Option<i64>,
}

/// Reads quarantined rows again and appends those that can be read now. The rows and the note that they are no longer waiting are one snapshot, so that
/// replaying twice, or after a crash, changes nothing.
pub(crate) async fn replay(importer: &Importer, context: &CallContext, request: ReplayQuarantineRequest) -> Result<ReplayQuarantineResponse, WarehouseError> {
    let feed = importer.feeds.get(&request.feed)?.clone();
    check(&request)?;
    let _one_at_a_time = importer.replaying.lock().await;
    let waiting = waiting(importer, context, &feed, &request).await?;
    let mut response = ReplayQuarantineResponse { snapshot_id: importer.appender.lake().newest(), ..ReplayQuarantineResponse::default() };
    let mut readable: BTreeMap<String, Readable> = BTreeMap::new();
    for kept in &waiting {
        let text = if request.corrected_text.is_empty() { &kept.row.raw_text } else { &request.corrected_text };
        let origin = Origin { feed: feed.clone(), city: kept.row.city.parse()?, file_name: kept.row.file_name.clone(), sha256: kept.file_sha256.clone() };
        let line = u64::try_from(kept.row.line).unwrap_or(0);
        match read_alone(&origin, importer.visitors.clone(), kept.header.as_deref(), line, text)? {
            Err(_) => response.rows_still_bad += 1,
            Ok(row) => {
                let readable = readable.entry(kept.row.city.clone()).or_default();
                readable.rows.push(row.values);
                readable.ids.push(kept.row.quarantine_id.clone());
                readable.newest_at = readable.newest_at.max(row.at);
            }
        }
    }
    for (city, readable) in readable {
        response.rows_taken += signed(readable.ids.len() as u64);
        let committed = importer.appender.commit(batch(&feed, city.parse()?, context, readable)?).await?;
        response.snapshot_id = committed.snapshot_id;
    }
    Ok(response)
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

/// The rows that were asked for and still wait.
async fn waiting(importer: &Importer, context: &CallContext, feed: &FeedContract, request: &ReplayQuarantineRequest) -> Result<Vec<Kept>, WarehouseError> {
    let ids = Some(request.quarantine_ids.clone()).filter(|ids| !ids.is_empty());
    let selection = |include_replayed| Selection {
        feed: feed.name.clone(),
        scope: context.rights.scope_of(PERMISSION, None),
        file_sha256: None,
        ids: ids.clone(),
        after: None,
        include_replayed,
        rows_max: ROWS_MAX,
    };
    if let Some(ids) = &ids {
        let known = importer.quarantined(selection(true)).await?;
        if let Some(unknown) = ids.iter().find(|id| !known.iter().any(|kept| kept.row.quarantine_id == **id)) {
            return Err(WarehouseError::QuarantineUnknown { feed: feed.name.clone(), quarantine_id: unknown.chars().take(80).collect() });
        }
    }
    importer.quarantined(selection(false)).await
}

fn batch(feed: &Arc<FeedContract>, city: City, context: &CallContext, readable: Readable) -> Result<Batch, WarehouseError> {
    let mut rows = RowsBuilder::new(declared_schema(&feed.dataset))?;
    for row in readable.rows {
        rows.push(row)?;
    }
    let ids = hex(&Sha256::digest(readable.ids.join("\n")));
    let key = match readable.ids.as_slice() {
        [only] => format!("replay/{only}"),
        _ => format!("replay/{ids}"),
    };
    Ok(Batch {
        key,
        digest: ids,
        source: Source::Replay,
        principal: context.caller_id().to_owned(),
        dataset: feed.dataset.clone(),
        city,
        feed: Some(feed.name.clone()),
        file: None,
        rows: rows.finish()?,
        quarantined: Vec::new(),
        resolved: readable.ids,
        newest_at: readable.newest_at,
    })
}
