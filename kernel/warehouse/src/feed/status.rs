use std::collections::BTreeMap;

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Int64Type, TimestampMicrosecondType},
};
use backplane_proto::ingest::v1::{FeedStatus, ListFeedStatusesRequest, ListFeedStatusesResponse};
use datafusion::prelude::{col, lit};
use kernel_base::{CallContext, City, Page};

use super::{FeedContract, Importer};
use crate::{append::tables, error::WarehouseError, lake::TableName, timestamp::timestamp};

/// What is known of one feed in one city.
#[derive(Default)]
struct Tally {
    files: i64,
    rows_taken: i64,
    rows_quarantined: i64,
    rows_replayed: i64,
    files_unfinished: i64,
    last_import_at: Option<i64>,
    newest_event_at: Option<i64>,
    last_error: Option<(i64, String)>,
}

/// One row per feed and city in the caller's scope from which something came.
pub(crate) async fn list(importer: &Importer, context: &CallContext, request: ListFeedStatusesRequest) -> Result<ListFeedStatusesResponse, WarehouseError> {
    let page = Page::read(request.page_size, &request.page_token)?;
    let scope = context.rights.scope_of("ingest.read", None);
    let feeds: Vec<_> = match request.feed.as_str() {
        "" => importer.feeds.iter().collect(),
        name => vec![importer.feeds.get(name)?],
    };
    let mut statuses = Vec::new();
    for feed in feeds {
        let tallies = tallies(importer, feed).await?;
        let seen = tallies.into_iter().filter(|(city, _)| city.parse::<City>().is_ok_and(|city| scope.contains(city)));
        statuses.extend(seen.map(|(city, tally)| status(feed, city, tally)));
    }
    statuses.retain(|status| page.after.as_ref().is_none_or(|after| place(status) > *after));
    statuses.sort_by_key(place);
    statuses.truncate(page.size + 1);
    let next_page_token = page.finish(&mut statuses, place);
    Ok(ListFeedStatusesResponse { statuses, next_page_token })
}

fn place(status: &FeedStatus) -> String {
    format!("{}/{}", status.feed, status.city)
}

async fn tallies(importer: &Importer, feed: &FeedContract) -> Result<BTreeMap<String, Tally>, WarehouseError> {
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let lake = importer.appender.lake();
    let snapshot = lake.newest();
    let of_feed = || Some(col("feed").eq(lit(feed.name.as_str())));
    let columns = ["city", "source", "is_last", "rows", "quarantined", "committed_at", "newest_at"];
    for batch in lake.rows(snapshot, &TableName::kernel(tables::BATCH), of_feed(), &columns).await? {
        add_batches(&mut tallies, &batch);
    }
    for batch in lake.rows(snapshot, &TableName::kernel(tables::RESOLUTION), of_feed(), &["city"]).await? {
        for city in batch.column(0).as_string::<i32>().iter().flatten() {
            tallies.entry(city.to_owned()).or_default().rows_replayed += 1;
        }
    }
    for batch in lake.rows(snapshot, &TableName::kernel(tables::REFUSAL), of_feed(), &["city", "error", "refused_at"]).await? {
        add_refusals(&mut tallies, &batch);
    }
    for uploaded in importer.inbox.list()?.iter().filter(|uploaded| uploaded.feed == feed.name) {
        tallies.entry(uploaded.city.clone()).or_default().files_unfinished += 1;
    }
    Ok(tallies)
}

fn add_batches(tallies: &mut BTreeMap<String, Tally>, batch: &RecordBatch) {
    let number = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
    let instant = |column: usize, row: usize| {
        let instants = batch.column(column).as_primitive::<TimestampMicrosecondType>();
        (!instants.is_null(row)).then(|| instants.value(row))
    };
    for row in 0..batch.num_rows() {
        let tally = tallies.entry(batch.column(0).as_string::<i32>().value(row).to_owned()).or_default();
        tally.files += i64::from(batch.column(2).as_boolean().value(row));
        tally.rows_taken += number(3, row);
        tally.rows_quarantined += number(4, row);
        tally.newest_event_at = tally.newest_event_at.max(instant(6, row));
        if batch.column(1).as_string::<i32>().value(row) == "file" {
            tally.last_import_at = tally.last_import_at.max(instant(5, row));
        }
    }
}

fn add_refusals(tallies: &mut BTreeMap<String, Tally>, batch: &RecordBatch) {
    for row in 0..batch.num_rows() {
        let tally = tallies.entry(batch.column(0).as_string::<i32>().value(row).to_owned()).or_default();
        let at = batch.column(2).as_primitive::<TimestampMicrosecondType>().value(row);
        if tally.last_error.as_ref().is_none_or(|(earlier, _)| *earlier <= at) {
            tally.last_error = Some((at, batch.column(1).as_string::<i32>().value(row).to_owned()));
        }
    }
}

fn status(feed: &FeedContract, city: String, tally: Tally) -> FeedStatus {
    FeedStatus {
        feed: feed.name.clone(),
        dataset: feed.dataset.name.clone(),
        platform: feed.platform.clone(),
        city,
        files: tally.files,
        rows_taken: tally.rows_taken,
        rows_quarantined: tally.rows_quarantined,
        rows_waiting: tally.rows_quarantined - tally.rows_replayed,
        last_import_at: tally.last_import_at.map(timestamp),
        newest_event_at: tally.newest_event_at.map(timestamp),
        files_unfinished: tally.files_unfinished,
        // An error that a later file did not have is over.
        last_error: tally.last_error.filter(|(at, _)| tally.last_import_at.is_none_or(|import| import <= *at)).map(|(_, error)| error).unwrap_or_default(),
    }
}
