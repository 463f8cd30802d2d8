use std::collections::{BTreeMap, HashMap};

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Int64Type, TimestampMicrosecondType},
};
use backplane_proto::ingest::v1::{FeedStatus, ListFeedStatusesRequest, ListFeedStatusesResponse};
use datafusion::prelude::{col, lit};
use kernel_base::{CallContext, City, Page};

use super::{
    FeedContract, Importer,
    completeness::{expected_cities, late_seconds},
    period::Period,
    refusals::Refusal,
};
use crate::{
    append::{Source, tables},
    error::WarehouseError,
    lake::TableName,
    timestamp::timestamp,
};

/// What is known of one feed in one city.
#[derive(Default)]
struct Tally {
    files: i64,
    rows_taken: i64,
    rows_quarantined: i64,
    rows_waiting: i64,
    files_unfinished: i64,
    files_without_control: i64,
    last_import_at: Option<i64>,
    newest_event_at: Option<i64>,
    newest_period: Option<Period>,
    last_error: Option<(i64, String)>,
    late_seconds: i64,
}

/// One row per feed and city in the caller's scope from which something came or is expected.
pub(crate) async fn list(importer: &Importer, context: &CallContext, request: ListFeedStatusesRequest) -> Result<ListFeedStatusesResponse, WarehouseError> {
    let page = Page::read(request.page_size, &request.page_token)?;
    let scope = context.rights.scope_of("ingest.read", None);
    let contracts = importer.contracts.feeds();
    let feeds: Vec<_> = match request.feed.as_str() {
        "" => contracts.iter().collect(),
        name => vec![contracts.get(name)?],
    };
    let mut statuses = Vec::new();
    for feed in feeds {
        let mut tallies = tallies(importer, feed).await?;
        let now = importer.clock().now_micros();
        if let Some(expected) = feed.expected {
            for city in expected_cities(importer, feed, &scope) {
                let tally = tallies.entry(city.to_string()).or_default();
                tally.late_seconds = late_seconds(expected, tally.newest_period, importer.slices.first_of_city(city), now);
            }
        }
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
    let columns = ["city", "file_sha256", "source", "rows", "quarantined", "committed_at", "newest_at", "snapshot_id"];
    let files: HashMap<(String, String), i64> =
        importer.slices.live_files(&feed.name).into_iter().map(|(key, file)| ((key.city.to_string(), key.sha256), file.first_snapshot_id)).collect();
    for batch in lake.rows(snapshot, &TableName::kernel(tables::BATCH), of_feed(), &columns).await? {
        add_batches(&mut tallies, &batch, &files);
    }
    for (key, file) in importer.slices.live_files(&feed.name) {
        let tally = tallies.entry(key.city.to_string()).or_default();
        tally.files += i64::from(file.is_complete);
        tally.newest_period = tally.newest_period.into_iter().chain(file.slice.period).max_by_key(|period| period.end());
    }
    for city in importer.waiting(&feed.name, None, "city").await? {
        tallies.entry(city).or_default().rows_waiting += 1;
    }
    add_refusals(importer, feed, &mut tallies, &importer.refusals(feed).await?);
    for uploaded in importer.inbox.list()?.iter().filter(|uploaded| uploaded.feed == feed.name) {
        tallies.entry(uploaded.city.clone()).or_default().files_unfinished += 1;
    }
    for (city, files) in importer.without_control(&feed.name) {
        tallies.entry(city.to_string()).or_default().files_without_control = files;
    }
    Ok(tallies)
}

/// Adds the batches of the files that count; `files` has the snapshot of each one's first rows.
fn add_batches(tallies: &mut BTreeMap<String, Tally>, batch: &RecordBatch, files: &HashMap<(String, String), i64>) {
    let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
    let number = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
    let instant = |column: usize, row: usize| {
        let instants = batch.column(column).as_primitive::<TimestampMicrosecondType>();
        (!instants.is_null(row)).then(|| instants.value(row))
    };
    for row in 0..batch.num_rows() {
        let tally = tallies.entry(text(0, row)).or_default();
        let (sha256, source) = (text(1, row), text(2, row));
        if source == Source::File.name() {
            tally.last_import_at = tally.last_import_at.max(instant(5, row));
        }
        let counts = files.get(&(text(0, row), sha256)).is_some_and(|since| number(7, row) >= *since);
        if counts && source != Source::Retraction.name() {
            tally.rows_taken += number(3, row);
            tally.rows_quarantined += number(4, row);
            tally.newest_event_at = tally.newest_event_at.max(instant(6, row));
        }
    }
}

/// Keeps the newest refusal that is not over: it is when a file of its period came after all, or any file of a feed whose names say no period.
fn add_refusals(importer: &Importer, feed: &FeedContract, tallies: &mut BTreeMap<String, Tally>, refusals: &[Refusal]) {
    for refusal in refusals.iter().filter(|refusal| !refusal.error.is_empty()) {
        let tally = tallies.entry(refusal.city.to_string()).or_default();
        let came = match refusal.period {
            Some(period) => importer.slices.newest_of_period(&feed.name, refusal.city, period).is_some_and(|came_at| came_at >= refusal.at),
            None => tally.last_import_at.is_some_and(|import| import > refusal.at),
        };
        let is_over = came || refusals.iter().any(|other| other.ends(refusal));
        if !is_over && tally.last_error.as_ref().is_none_or(|(earlier, _)| *earlier <= refusal.at) {
            tally.last_error = Some((refusal.at, refusal.error.clone()));
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
        rows_waiting: tally.rows_waiting,
        last_import_at: tally.last_import_at.map(timestamp),
        newest_event_at: tally.newest_event_at.map(timestamp),
        files_unfinished: tally.files_unfinished,
        files_without_control: tally.files_without_control,
        newest_period: tally.newest_period.map(|period| period.to_string()).unwrap_or_default(),
        late_seconds: tally.late_seconds,
        last_error: tally.last_error.map(|(_, error)| error).unwrap_or_default(),
    }
}
