//! Power is cut at a seeded moment of an import; afterwards every acknowledged row is there exactly once, and the import goes on.

use std::{collections::BTreeMap, sync::Arc};

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use backplane_proto::ingest::v1::{
    AppendRequest, AppendResponse, FileHeader, ImportFileRequest, ImportResult, ListFeedStatusesRequest, import_file_request::Part,
    import_file_response::Part as Answer,
};
use backplane_tests::{Call, FOSHAN, FeedFile, Kernel, Province, import_all};
use bytes::Bytes;
use tonic::{Response, Status};

const SEEDS: u64 = 50;
const LINES: i64 = 600;
/// 30 commits a file.
const LINES_PER_COMMIT: i64 = 20;
pub(crate) const ROWS_PER_APPEND: i64 = 7;

fn log(seed: u64) -> Bytes {
    let line = |n: i64| {
        format!("198.51.100.{} - - [17/May/2015:10:{:02}:{:02} +0000] \"GET /{seed}/{n} HTTP/1.1\" 200 10 \"-\" \"agent\"\n", n % 50, n / 60 % 60, n % 60)
    };
    (0..LINES).map(line).collect::<String>().into()
}

fn import_request(seed: u64) -> Vec<ImportFileRequest> {
    let log = log(seed);
    let header = FileHeader {
        feed: "portal.access".to_owned(),
        file_name: format!("portal.access.{FOSHAN}.{}.log", 20_260_101 + seed % 28 + seed / 28 * 100),
        size_bytes: i64::try_from(log.len()).unwrap(),
        ..FileHeader::default()
    };
    vec![ImportFileRequest { part: Some(Part::Header(header)) }, ImportFileRequest { part: Some(Part::Chunk(log)) }]
}

/// Imports until `commits` have been acknowledged or the file is through; gives the lines that were acknowledged.
async fn import_until(call: &Call, seed: u64, commits: u64) -> i64 {
    let mut answers = call.ingest().import_file(tokio_stream::iter(import_request(seed))).await.unwrap().into_inner();
    let (mut acknowledged, mut seen) = (0, 0);
    while seen < commits {
        match answers.message().await.unwrap().and_then(|message| message.part) {
            Some(Answer::Progress(progress)) => acknowledged = progress.lines_read,
            Some(Answer::Result(result)) => return result.lines,
            None => break,
        }
        seen += 1;
    }
    acknowledged
}

async fn import_whole(call: &Call, seed: u64) -> ImportResult {
    let mut answers = call.ingest().import_file(tokio_stream::iter(import_request(seed))).await.unwrap().into_inner();
    loop {
        if let Some(Answer::Result(result)) = answers.message().await.unwrap().expect("an import ends with its result").part {
            return result;
        }
    }
}

/// Appends rows of its own under a key; the same number always gives the same rows.
pub(crate) async fn append(call: &Call, number: i64) -> AppendResponse {
    try_append(call, number).await.unwrap()
}

pub(crate) async fn try_append(call: &Call, number: i64) -> Result<AppendResponse, Status> {
    let ids = || (0..ROWS_PER_APPEND).map(move |row| format!("append-{number}-{row}"));
    let text = |value: &'static str| Arc::new(StringArray::from_iter_values((0..ROWS_PER_APPEND).map(|_| value))) as ArrayRef;
    let at = TimestampMicrosecondArray::from_iter_values((0..ROWS_PER_APPEND).map(|row| 1_431_857_103_000_000 + row)).with_timezone("UTC");
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns: Vec<(&str, DataType, ArrayRef)> = vec![
        ("event_id", DataType::Utf8, Arc::new(StringArray::from_iter_values(ids()))),
        ("at", instant, Arc::new(at)),
        ("session_id", DataType::Utf8, text("session")),
        ("visitor_id", DataType::Utf8, text("visitor")),
        ("channel_id", DataType::Utf8, text("web")),
        ("page", DataType::Utf8, text("/appended")),
        ("action", DataType::Utf8, text("view")),
        ("ok", DataType::Boolean, Arc::new(BooleanArray::from(vec![true; usize::try_from(ROWS_PER_APPEND).unwrap()]))),
    ];
    let schema = Arc::new(Schema::new(columns.iter().map(|(name, kind, _)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns.into_iter().map(|(_, _, values)| values).collect()).unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&batch).unwrap();
    let ipc = writer.into_inner().unwrap().into();
    let request = AppendRequest { dataset: "interaction".to_owned(), ipc, idempotency_key: format!("key-{number}"), ..AppendRequest::default() };
    call.ingest().append(request).await.map(Response::into_inner)
}

/// What is committed of the feed's files in the city, in to their end or not.
async fn rows_taken(call: &Call) -> i64 {
    let request = ListFeedStatusesRequest { feed: "portal.access".to_owned(), ..ListFeedStatusesRequest::default() };
    let statuses = call.ingest().list_feed_statuses(request).await.unwrap().into_inner().statuses;
    statuses.iter().map(|status| status.rows_taken).sum()
}

/// A small generator, so that a seed names one run for ever (SplitMix64).
fn random(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[tokio::test]
async fn every_acknowledged_row_survives_a_kill_exactly_once() {
    let chunk = LINES_PER_COMMIT.to_string();
    let mut kernel = Kernel::start_with(&["--import-chunk-lines", &chunk]).await;
    let rows = |prefix: &str| format!("select count(*) from interaction where page like '{prefix}%'");
    for seed in 0..SEEDS {
        let call = kernel.call.in_city(FOSHAN);
        let appended = i64::try_from(seed).unwrap();
        append(&call, appended).await;
        let commits = 1 + random(seed) % u64::try_from(LINES / LINES_PER_COMMIT).unwrap();
        let acknowledged = import_until(&call, seed, commits).await;
        kernel = kernel.kill_and_restart().await;

        let call = kernel.call.in_city(FOSHAN);
        let of_this_seed = rows(&format!("/{seed}/"));
        // Committed are those of the seeds before and of this one; seen is a file that is in to its end.
        let survived = rows_taken(&call).await - appended * LINES;
        assert!(survived >= acknowledged, "seed {seed}: {acknowledged} lines were acknowledged and {survived} are there");
        let seen = call.number(&of_this_seed).await.unwrap();
        assert!([0, LINES].contains(&seen), "seed {seed}: {seen} of {LINES} lines are seen");
        assert_eq!(import_whole(&call, seed).await.lines, LINES, "seed {seed}");
        assert_eq!(call.number(&of_this_seed).await.unwrap(), LINES, "seed {seed}");
        assert!(append(&call, appended).await.repeated_batch, "seed {seed}: the append was acknowledged before the kill");
    }
    let seeds = i64::try_from(SEEDS).unwrap();
    let total = seeds * (LINES + ROWS_PER_APPEND);
    assert_eq!(kernel.call.number("select count(*) from interaction").await.unwrap(), total);
    assert_eq!(kernel.call.number("select count(distinct event_id) from interaction").await.unwrap(), total);
    assert_eq!(kernel.call.number(&rows("/appended")).await.unwrap(), seeds * ROWS_PER_APPEND);
}

/// Large enough that every one of their files has rows; the last is small.
const CITIES: [&str; 5] = ["440100", "440300", FOSHAN, "441900", "445200"];
const FEEDS_AND_MONTHS: [(&str, usize); 5] = [("boss.number", 6), ("misc.usage", 6), ("boss.charge", 3), ("portal.access", 3), ("service.ticket", 2)];
const GROUPS_AT_ONCE: usize = 4;

/// A hundred files of five feeds. Numbers come first, as they should, but for the use of one small city: its rows wait in quarantine until their numbers come, so
/// that replays are cut off too.
fn hundred_files(province: &Province) -> Vec<Vec<FeedFile>> {
    let mut groups = BTreeMap::new();
    for (rank, (feed, months)) in FEEDS_AND_MONTHS.into_iter().enumerate() {
        for city in CITIES {
            let files = province.summary.files.iter().filter(|file| file.feed == feed && file.city == city);
            let rank = if (feed, city) == ("misc.usage", CITIES[4]) { 0 } else { rank + 1 };
            groups.insert((rank, city), files.take(months).map(|file| province.file(file)).collect::<Vec<_>>());
        }
    }
    let groups: Vec<_> = groups.into_values().collect();
    assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), 100);
    groups
}

/// Everything that the files left, but for what is each kernel's own: who a visitor is is told by a key of the folder.
fn contents(kernel: &Kernel) -> Vec<String> {
    let tables = [
        ("number_assignment", "city, msisdn, customer_id, valid_from, valid_to, revision"),
        ("usage", "city, customer_id, product_id, day, source_feed, events, quantity, seconds, kb, fee_fen, ok_events, failed_events"),
        ("charge", "city, bill_id, line_no, customer_id, month, posted_at, product_id, enrolment_id, component_id, item, amount_fen, kind, adjusts_line"),
        ("interaction", "city, event_id, at, page, status, bytes, latency_ms, referrer, user_agent"),
        ("ticket", "city, ticket_id, customer_id, at, kind, product_id, code, text, closed_at, resolution, revision"),
    ];
    let statuses: serde_json::Value = serde_json::from_str(&kernel.cli_ok(&["feed", "status", "--json"])).unwrap();
    let status = |row: &serde_json::Value| {
        let value = |name: &str| row[name].as_str().unwrap().to_owned();
        ["feed", "city", "files", "rowsWaiting", "filesUnfinished", "newestPeriod", "lastError"].map(value).join(" ")
    };
    let statuses = statuses["statuses"].as_array().unwrap().iter().map(status).collect::<Vec<_>>().join("\n");
    let rows = tables.map(|(table, columns)| kernel.cli_ok(&["query", &format!("select {columns} from {table} order by {columns}"), "--format", "csv"]));
    rows.into_iter().chain([statuses]).collect()
}

#[tokio::test]
async fn a_hundred_files_come_to_the_same_however_their_import_is_cut_off() {
    let province = Province::least();
    let undisturbed = Kernel::start().await;
    import_all(&undisturbed.call, hundred_files(province), GROUPS_AT_ONCE, |_, _| true).await.unwrap();
    let expected = contents(&undisturbed);
    drop(undisturbed);
    for (table, lines) in expected.iter().map(|text| text.lines().count()).enumerate() {
        assert!(lines > 20, "table {table} has {lines} lines");
    }
    for seed in 0..SEEDS {
        let kernel = Kernel::start().await;
        let acknowledged_max = 1 + random(seed) % 99;
        let mut acknowledged = 0;
        let cut_off = import_all(&kernel.call, hundred_files(province), GROUPS_AT_ONCE, |_, _| {
            acknowledged += 1;
            if acknowledged == acknowledged_max {
                kernel.kill();
            }
            true
        });
        cut_off.await.unwrap_err();
        assert!(acknowledged >= acknowledged_max, "seed {seed}: the import failed before the kernel was killed");
        let kernel = kernel.kill_and_restart().await;
        let mut known = 0;
        import_all(&kernel.call, hundred_files(province), GROUPS_AT_ONCE, |_, result| {
            known += u64::from(result.duplicate_file);
            true
        })
        .await
        .unwrap();
        assert!(known >= acknowledged, "seed {seed}: {acknowledged} files were acknowledged, and {known} of them known again");
        for (ours, theirs) in contents(&kernel).iter().zip(&expected) {
            assert!(ours == theirs, "seed {seed}, killed after {acknowledged} files: {}", first_difference(ours, theirs));
        }
    }
}

fn first_difference(ours: &str, theirs: &str) -> String {
    let place = ours.lines().zip(theirs.lines()).position(|(ours, theirs)| ours != theirs);
    let line = |text: &str| place.and_then(|place| text.lines().nth(place)).unwrap_or_default().to_owned();
    format!("{} lines and {}; first difference: {} | {}", ours.lines().count(), theirs.lines().count(), line(ours), line(theirs))
}
