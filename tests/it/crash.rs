//! Power is cut at a seeded moment of an import; afterwards every acknowledged row is there exactly once, and the import goes on.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use backplane_proto::ingest::v1::{
    AppendRequest, AppendResponse, FileHeader, ImportFileRequest, ImportResult, import_file_request::Part, import_file_response::Part as Answer,
};
use backplane_tests::{Call, FOSHAN, Kernel};
use bytes::Bytes;

const SEEDS: u64 = 50;
const LINES: i64 = 600;
/// 30 commits a file.
const LINES_PER_COMMIT: i64 = 20;
const ROWS_PER_APPEND: i64 = 7;

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
        file_name: format!("portal.access.{FOSHAN}.{seed}.log"),
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
async fn append(call: &Call, number: i64) -> AppendResponse {
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
    let request = AppendRequest { dataset: "interaction".to_owned(), ipc, idempotency_key: format!("key-{number}") };
    call.ingest().append(request).await.unwrap().into_inner()
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
        let survived = call.number(&of_this_seed).await.unwrap();
        assert!(survived >= acknowledged, "seed {seed}: {acknowledged} lines were acknowledged and {survived} are there");
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
