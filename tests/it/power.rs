//! The disk: what a power cut leaves of it at any moment, with all or some of what was not synced lost; a disk that is full, and one whose syncs fail.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use backplane_proto::warehouse::v1::QueryRequest;
use backplane_tests::{Call, DiskFault, FOSHAN, Kernel, Recording, excerpt, reason};
use futures::future::join_all;
use recorded_disk::{Disk, Loss, Operation, operations};
use tempfile::TempDir;
use tonic::Code;

use crate::crash::{ROWS_PER_APPEND, append, try_append};

// Limit: moments at which the power is cut, a fifth of a second each. `make power` asks for more.
const CUTS: usize = 45;
// Limit: what the kernel may take to merge files once no rows come; it begins after two seconds.
const MERGED_WITHIN: Duration = Duration::from_secs(60);
// Limit: operations of an append and what comes with it, at each of which the disk fails once.
const OPERATIONS: usize = 80;
const APPENDED: &str = "select split_part(event_id, '-', 2) as number, count(*) as rows from interaction where page = '/appended' group by 1";
const IMPORTED: &str = "select count(*) from interaction where page <> '/appended'";

/// What a client was told, and how long the record was when it heard.
struct Acknowledged {
    appends: BTreeMap<i64, usize>,
    /// With the rows that came of it.
    import: (i64, usize),
    account: (String, usize),
}

/// The rows of each append that are there.
fn appended(kernel: &Kernel) -> BTreeMap<i64, i64> {
    let answer: serde_json::Value = serde_json::from_str(&kernel.cli_ok(&["query", APPENDED, "--json"])).unwrap();
    let rows = answer["rows"].as_array().unwrap().iter();
    rows.map(|row| (row["number"].as_str().unwrap().parse().unwrap(), row["rows"].as_i64().unwrap())).collect()
}

/// Appends one after another and some at once, an import, an account, and appends after files were merged.
async fn work(kernel: &Kernel, recording: &Recording) -> Acknowledged {
    let call = kernel.call.in_city(FOSHAN);
    let mut appends = BTreeMap::new();
    let group = async |numbers: std::ops::Range<i64>| {
        join_all(numbers.map(async |number| {
            append(&call, number).await;
            (number, recording.position())
        }))
        .await
    };
    for number in 0..6 {
        appends.extend(group(number..number + 1).await);
    }
    appends.extend(group(6..14).await);
    kernel.cli_ok(&["feed", "import", "portal.access", excerpt().to_str().unwrap(), "--city", FOSHAN]);
    let import = (call.number(IMPORTED).await.unwrap(), recording.position());
    let token = kernel.account("reader", &["warehouse.query", "dataset.read:interaction"], &[FOSHAN]).await;
    let account = (token, recording.position());
    appends.extend(group(14..22).await);
    // Nothing else makes a snapshot now than a merge, which begins when no rows come.
    let last = newest(&call).await;
    let merged = async {
        while newest(&call).await == last {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MERGED_WITHIN, merged).await.expect("files are merged at rest");
    for number in 22..26 {
        appends.extend(group(number..number + 1).await);
    }
    Acknowledged { appends, import, account }
}

async fn newest(call: &Call) -> i64 {
    let query = QueryRequest { sql: "select 1".to_owned(), ..QueryRequest::default() };
    let mut answers = call.warehouse().query(query).await.unwrap().into_inner();
    let snapshot_id = answers.message().await.unwrap().unwrap().snapshot_id;
    // To the end: a connection does not take many answers that are left.
    while answers.message().await.unwrap().is_some() {}
    snapshot_id
}

/// Ends a recorded kernel between two operations, and gives its folder.
async fn stopped(kernel: Kernel, recording: &Recording) -> TempDir {
    recording.set_fault(Some(DiskFault::Stop));
    try_append(&kernel.call.in_city(FOSHAN), 1_000).await.unwrap_err();
    kernel.ended()
}

/// What is never synced, and not to be: a line that a power cut takes is no answer of the kernel's.
const AUDIT_LOG: &str = "audit.log";

/// The files of a folder with their bytes, as far as a record knows them.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for path in fs::read_dir(inner).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_string_lossy().ends_with("-shm") {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The moments of a record after a position, spread evenly; of each the operations until then.
fn cuts(record: &[(usize, Operation)], after: usize, count: usize) -> Vec<usize> {
    let first = record.iter().position(|(end, _)| *end > after).unwrap();
    let step = ((record.len() - first) as f64 / count as f64).max(1.0);
    (0..count).map(|cut| first + (cut as f64 * step) as usize).filter(|cut| *cut < record.len()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_power_cut_every_acknowledged_row_is_there_once() {
    let (kernel, recording) = Kernel::start_recorded().await;
    let (token, ready) = (kernel.token.clone(), recording.position());
    let acknowledged = work(&kernel, &recording).await;
    let dir = stopped(kernel, &recording).await;
    let bytes = recording.record();
    let record = operations(&bytes);
    assert_eq!(record.last().unwrap().0, bytes.len(), "the record is whole");

    // `make power` asks for many.
    let count = std::env::var("POWER_CUTS").map_or(CUTS, |count| count.parse().unwrap());
    let mut disk = Disk::new(recording.root());
    let (mut played, mut lost) = (0, 0);
    for (turn, cut) in cuts(&record, ready, count).into_iter().enumerate() {
        record[played..=cut].iter().for_each(|(_, operation)| disk.play(operation));
        played = cut + 1;
        let loss = if turn % 3 == 0 { Loss::Unsynced } else { Loss::Part(turn as u64) };
        let above = TempDir::new().unwrap();
        disk.write_to(above.path(), loss).unwrap();
        lost += usize::from(without_audit(contents(above.path())) != without_audit(written_whole(&disk)));
        let shown = format!("cut after operation {cut} of {}, {loss:?}", record.len());
        let folder = above.path().to_owned();
        let restarted = Kernel::start_in(above, &folder, &token).await;
        is_whole(&restarted, &acknowledged, record[cut].0, &shown).await;
    }
    assert!(lost > count / 5, "{lost} of {count} cuts lost anything");
    record[played..].iter().for_each(|(_, operation)| disk.play(operation));
    assert!(written_whole(&disk) == contents(dir.path()), "the record knows all that was done");
}

fn without_audit(mut contents: BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<PathBuf, Vec<u8>> {
    contents.remove(Path::new(AUDIT_LOG));
    contents
}

fn written_whole(disk: &Disk) -> BTreeMap<PathBuf, Vec<u8>> {
    let whole = TempDir::new().unwrap();
    disk.write_to(whole.path(), Loss::Nothing).unwrap();
    contents(whole.path())
}

/// What was acknowledged when the record had this length is there once, and the rest wholly or not at all; and what is sent again is there once.
async fn is_whole(kernel: &Kernel, acknowledged: &Acknowledged, length: usize, shown: &str) {
    let call = kernel.call.in_city(FOSHAN);
    let there = appended(kernel);
    for (number, position) in &acknowledged.appends {
        let rows = there.get(number).copied().unwrap_or(0);
        assert!(rows == ROWS_PER_APPEND || rows == 0 && *position > length, "{shown}: {rows} rows of append {number}");
    }
    let lines = call.number(IMPORTED).await.unwrap();
    let (all, position) = acknowledged.import;
    assert!(lines == all || lines == 0 && position > length, "{shown}: {lines} of {all} imported rows");
    if acknowledged.account.1 <= length {
        kernel.call.with_token(&acknowledged.account.0).number("select count(*) from interaction").await.unwrap();
    }
    let missing = acknowledged.appends.keys().filter(|number| !there.contains_key(number));
    let again: Vec<i64> = acknowledged.appends.keys().next().into_iter().chain(missing).copied().take(5).collect();
    join_all(again.iter().map(|number| append(&call, *number))).await;
    kernel.cli_ok(&["feed", "import", "portal.access", excerpt().to_str().unwrap(), "--city", FOSHAN]);
    let there = appended(kernel);
    assert!(again.iter().all(|number| there[number] == ROWS_PER_APPEND), "{shown}: {again:?} sent again: {there:?}");
    assert_eq!(call.number(IMPORTED).await.unwrap(), all, "{shown}: imported again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_comes_and_serves_what_is_there() {
    let (kernel, recording) = Kernel::start_recorded().await;
    let call = kernel.call.in_city(FOSHAN);
    append(&call, 0).await;
    recording.set_fault(Some(DiskFault::Full(0)));
    for number in [1, 2] {
        let refused = try_append(&call, number).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "STORAGE_FULL"), "{}", refused.message());
    }
    assert_eq!(appended(&kernel), BTreeMap::from([(0, ROWS_PER_APPEND)]));
    recording.set_fault(None);
    for number in [2, 1, 3] {
        append(&call, number).await;
    }
    has_all(&kernel, 4);
    // An import is taken in parts: what is in stays, and the rest comes when the file comes again.
    let file = excerpt();
    let import = ["feed", "import", "portal.access", file.to_str().unwrap(), "--city", FOSHAN];
    recording.set_fault(Some(DiskFault::Full(0)));
    let refused = kernel.cli_err(&import);
    assert!(refused.contains("STORAGE_FULL") || refused.contains("STORAGE_FAILED"), "{refused}");
    recording.set_fault(None);
    kernel.cli_ok(&import);
    let imported = call.number(IMPORTED).await.unwrap();
    let kernel = kernel.kill_and_restart().await;
    has_all(&kernel, 4);
    kernel.cli_ok(&import);
    assert_eq!(kernel.call.in_city(FOSHAN).number(IMPORTED).await.unwrap(), imported, "once");
}

fn has_all(kernel: &Kernel, count: i64) {
    assert_eq!(appended(kernel), (0..count).map(|number| (number, ROWS_PER_APPEND)).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_whose_sync_fails_are_not_acknowledged() {
    let (kernel, recording) = Kernel::start_recorded().await;
    let call = kernel.call.in_city(FOSHAN);
    append(&call, 0).await;
    recording.set_fault(Some(DiskFault::Sync(0)));
    for number in [1, 2] {
        let refused = try_append(&call, number).await.unwrap_err();
        assert_eq!(reason(&refused), "STORAGE_FAILED", "{}", refused.message());
    }
    recording.set_fault(None);
    // Whether commits go on or wait for a start, what is acknowledged is there.
    let acknowledged = match try_append(&call, 2).await {
        Ok(_) => {
            assert_eq!(appended(&kernel).get(&2), Some(&ROWS_PER_APPEND));
            vec![0, 2]
        }
        Err(_) => vec![0],
    };
    let token = kernel.token.clone();
    stopped(kernel, &recording).await;
    // The power is cut as well: what a failed sync should have written is lost, whatever was synced later.
    let mut disk = Disk::new(recording.root());
    operations(&recording.record()).iter().for_each(|(_, operation)| disk.play(operation));
    let above = TempDir::new().unwrap();
    disk.write_to(above.path(), Loss::Unsynced).unwrap();
    let folder = above.path().to_owned();
    let kernel = Kernel::start_in(above, &folder, &token).await;
    let there = appended(&kernel);
    assert!(acknowledged.iter().all(|number| there.get(number) == Some(&ROWS_PER_APPEND)), "{acknowledged:?} were acknowledged: {there:?}");
    for number in [1, 2, 3] {
        append(&kernel.call.in_city(FOSHAN), number).await;
    }
    has_all(&kernel, 4);
}

/// Has the disk fail at each operation of an append, one after another: what is acknowledged is there, and what is sent again is there once.
async fn every_operation_fails(fault: impl Fn(usize) -> DiskFault, reasons: &[&str]) {
    let (mut kernel, mut recording) = Kernel::start_recorded().await;
    let (mut number, mut failed) = (0, 0);
    for after in 0..OPERATIONS {
        let call = kernel.call.in_city(FOSHAN);
        append(&call, number).await;
        recording.set_fault(Some(fault(after)));
        let outcome = try_append(&call, number + 1).await;
        recording.set_fault(None);
        match &outcome {
            Ok(_) => assert_eq!(appended(&kernel).get(&(number + 1)), Some(&ROWS_PER_APPEND), "acknowledged, after {after} operations"),
            Err(refused) => assert!(reasons.contains(&reason(refused).as_str()), "after {after} operations: {refused}"),
        }
        failed += usize::from(outcome.is_err());
        number += 2;
        if let Err(refused) = try_append(&call, number - 1).await {
            // Nobody knows whether the commit landed: no other is taken until a start, of which there is no record.
            assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unavailable, "STORAGE_FAILED"), "after {after} operations: {refused}");
            kernel = kernel.kill_and_restart().await;
            append(&kernel.call.in_city(FOSHAN), number - 1).await;
            has_all(&kernel, number);
            (kernel, recording) = Kernel::start_recorded().await;
            number = 0;
        }
    }
    assert!(failed > OPERATIONS / 4, "{failed} of {OPERATIONS} failed");
    has_all(&kernel, number);
    has_all(&kernel.kill_and_restart().await, number);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_may_meet_a_full_disk_at_any_operation() {
    every_operation_fails(DiskFault::Full, &["STORAGE_FULL", "STORAGE_FAILED"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_may_meet_a_failing_sync_at_any_operation() {
    every_operation_fails(DiskFault::Sync, &["STORAGE_FAILED"]).await;
}
