use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, prop_oneof},
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use backplane_proto::ingest::v1::{ImportFileRequest, ReplayQuarantineRequest, RetractFileRequest, RetractFileResponse, import_file_request};
use tonic::Status;

use crate::{
    kernel::{Kernel, city_caller, reason},
    platform::{Sent, number, numbers, usage},
};

// Limit: histories, a dozen imports each.
const HISTORIES: usize = 30;

/// A row: who, which product, how often.
type Row = (u64, u64, u64);

#[derive(Debug, Clone)]
enum Step {
    /// Sends a part of the day, the first time or again with other rows: who and which product.
    Send(usize, Vec<(u64, u64)>),
    TakeBack(usize),
    /// Sends a part that was taken back or restated, as it was.
    Repeat(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let part = || 1usize..4;
    prop_oneof![
        6 => (part(), vec((1u64..4, 0u64..3), 0..8)).prop_map(|(part, rows)| Step::Send(part, rows)),
        2 => part().prop_map(Step::TakeBack),
        1 => part().prop_map(Step::Repeat),
        1 => Just(Step::Restart),
    ]
}

fn part_of_day(day: usize, part: usize, rows: &[Row]) -> Sent {
    let lines: String =
        rows.iter().map(|(customer, product, events)| usage(number(*customer), &format!("p{product}"), &format!("202601{day:02}"), *events)).collect();
    Sent::new(&format!("misc.usage.440600.202601{day:02}.{part:02}.txt.gz"), &lines)
}

/// What counts of a day: of the rows with a key the first of the lowest part.
fn counting(parts: &BTreeMap<usize, Vec<Row>>) -> Vec<String> {
    let mut first: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for (customer, product, events) in parts.values().flatten() {
        first.entry((*customer, *product)).or_insert(*events);
    }
    let mut rows: Vec<String> = first.into_iter().map(|((customer, product), events)| format!("{customer}|p{product}|{events}")).collect();
    rows.sort();
    rows
}

/// The kernel with small chunks and few keys in memory, so that most files take several commits and most keys are looked up on disk.
async fn kernel() -> Kernel {
    let kernel = Kernel::start_with(|settings| (settings.chunk_lines, settings.keys_in_memory) = (3, 2)).await;
    kernel.send(&city_caller("440600"), &numbers(9)).await.unwrap();
    kernel
}

/// Takes back the part of a day, whichever file it is.
async fn take_back(kernel: &Kernel, day: usize, part: usize) -> Result<RetractFileResponse, Status> {
    let request = RetractFileRequest {
        feed: "misc.usage".to_owned(),
        period: format!("202601{day:02}"),
        part: part as i64,
        reason: "a test".to_owned(),
        ..RetractFileRequest::default()
    };
    kernel.ingest(&city_caller("440600")).retract_file(request).await.map(tonic::Response::into_inner)
}

async fn of_day(kernel: &Kernel, day: usize) -> Vec<String> {
    let sql = format!("select customer_id, product_id, events from usage where day = '2026-01-{day:02}'");
    let mut rows = kernel.table(&city_caller("440600"), &sql).await;
    rows.sort();
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_came_of_parts_the_first_row_of_the_lowest_part_counts() {
    let (mut kernel, foshan, mut events) = (kernel().await, city_caller("440600"), 0);
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    for history in 0..HISTORIES {
        let steps = vec(step(), 1..12).new_tree(&mut runner).unwrap().current();
        let day = 1 + history % 28;
        let (mut parts, mut last): (BTreeMap<usize, Vec<Row>>, BTreeMap<usize, Vec<Row>>) = (BTreeMap::new(), BTreeMap::new());
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Send(part, rows) => {
                    // No two rows are equal, so that it is seen which of two counts.
                    let rows: Vec<Row> = rows
                        .iter()
                        .map(|(customer, product)| {
                            (*customer, *product, {
                                events += 1;
                                events
                            })
                        })
                        .collect();
                    kernel.send(&foshan, &part_of_day(day, *part, &rows)).await.unwrap();
                    last.insert(*part, rows.clone());
                    parts.insert(*part, rows);
                }
                Step::TakeBack(part) => {
                    if parts.remove(part).is_some() {
                        take_back(&kernel, day, *part).await.unwrap();
                    }
                }
                Step::Repeat(part) => {
                    if let Some(rows) = last.get(part) {
                        kernel.send(&foshan, &part_of_day(day, *part, rows)).await.unwrap();
                        parts.insert(*part, rows.clone());
                    }
                }
                Step::Restart => kernel = kernel.restarted(|_| {}).await,
            }
            assert_eq!(of_day(&kernel, day).await, counting(&parts), "history {history}, after step {at} of {steps:?}");
        }
        for part in parts.into_keys() {
            take_back(&kernel, day, part).await.unwrap();
        }
        assert!(of_day(&kernel, day).await.is_empty(), "history {history}: {steps:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_replayed_counts_by_its_part() {
    let (kernel, foshan) = (kernel().await, city_caller("440600"));
    kernel.allow_bad_rows("misc.usage").await;
    let bad = usage(number(1), "p1", "20260230", 1);
    let first = Sent::new("misc.usage.440600.20260102.01.txt.gz", &format!("{}{bad}", usage(number(2), "p1", "20260102", 2)));
    kernel.send(&foshan, &first).await.unwrap();
    let second = part_of_day(2, 2, &[(1, 1, 10), (2, 1, 20)]);
    let taken = kernel.send(&foshan, &second).await.unwrap();
    assert_eq!((taken.rows_taken, taken.rows_duplicate), (1, 1), "part 1 has customer 2 and, so far, not customer 1");
    assert_eq!(of_day(&kernel, 2).await, ["1|p1|10", "2|p1|2"]);
    let waiting = kernel.quarantine(&foshan, "misc.usage").await;
    let corrected_text = usage(number(1), "p1", "20260102", 1).trim_end().to_owned();
    let request = ReplayQuarantineRequest { feed: "misc.usage".to_owned(), quarantine_ids: vec![waiting[0].quarantine_id.clone()], corrected_text };
    kernel.ingest(&foshan).replay_quarantine(request).await.unwrap();
    assert_eq!(of_day(&kernel, 2).await, ["1|p1|1", "2|p1|2"], "the row of part 1 is there now");
    let taken_back = take_back(&kernel, 2, 1).await.unwrap();
    assert_eq!((taken_back.rows_removed, taken_back.rows_restored), (2, 2));
    assert_eq!(of_day(&kernel, 2).await, ["1|p1|10", "2|p1|20"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_would_move_more_rows_than_are_held_is_refused_and_changes_nothing() {
    let kernel = kernel().await.restarted(|settings| settings.moved_rows_max = 2).await;
    let foshan = city_caller("440600");
    let rows: Vec<Row> = (1..=9).map(|customer| (customer, 1, customer)).collect();
    kernel.send(&foshan, &part_of_day(2, 2, &rows)).await.unwrap();
    let before = of_day(&kernel, 2).await;
    let again: Vec<Row> = rows.iter().map(|(customer, product, _)| (*customer, *product, 100)).collect();
    let refused = kernel.send(&foshan, &part_of_day(2, 1, &again)).await.unwrap_err();
    assert_eq!(reason(&refused), "FILE_REFUSED");
    assert!(refused.message().contains("take the higher one back"), "{}", refused.message());
    assert_eq!(of_day(&kernel, 2).await, before);
    // As it says.
    take_back(&kernel, 2, 2).await.unwrap();
    assert_eq!(kernel.send(&foshan, &part_of_day(2, 1, &again)).await.unwrap().rows_taken, 9);
    // A part above may hold as many: its rows only step aside, and go with it.
    assert_eq!(kernel.send(&foshan, &part_of_day(2, 2, &rows)).await.unwrap().rows_duplicate, 9);
    assert_eq!(reason(&take_back(&kernel, 2, 1).await.unwrap_err()), "FILE_REFUSED");
    take_back(&kernel, 2, 2).await.unwrap();
    take_back(&kernel, 2, 1).await.unwrap();
    assert!(of_day(&kernel, 2).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_refused_while_it_comes_in_leaves_the_other_parts_as_they_were() {
    let (kernel, foshan) = (kernel().await, city_caller("440600"));
    kernel.send(&foshan, &part_of_day(2, 1, &[(1, 1, 1), (2, 1, 2)])).await.unwrap();
    kernel.send(&foshan, &part_of_day(2, 2, &[(1, 1, 10), (3, 1, 30)])).await.unwrap();
    let before = of_day(&kernel, 2).await;
    assert_eq!(before, ["1|p1|1", "2|p1|2", "3|p1|30"]);
    let good: String = (4..=9).map(|customer| usage(number(customer), "p1", "20260102", customer)).collect();
    let bad = usage(number(1), "p1", "20260230", 1).repeat(9);
    let too_bad = Sent::new("misc.usage.440600.20260102.01.txt.gz", &format!("{good}{bad}"));
    assert_eq!(reason(&kernel.send(&foshan, &too_bad).await.unwrap_err()), "FILE_TOO_BAD");
    assert_eq!(of_day(&kernel, 2).await, before, "what was in of it went, and the part before it stands");
    take_back(&kernel, 2, 1).await.unwrap();
    assert_eq!(of_day(&kernel, 2).await, ["1|p1|10", "3|p1|30"]);
}

/// Begins the import of a part, whose kernel goes away after some commits.
async fn interrupted(kernel: Kernel, sent: &Sent) -> Kernel {
    let (foshan, before) = (city_caller("440600"), rows_taken(&kernel).await);
    let parts = [import_file_request::Part::Header(sent.header()), import_file_request::Part::Chunk(sent.bytes.clone().into())];
    let requests = parts.map(|part| ImportFileRequest { part: Some(part) });
    // The answers are dropped at once: the upload is complete, so the import goes on.
    drop(kernel.ingest(&foshan).import_file(tokio_stream::iter(requests)).await.unwrap());
    while rows_taken(&kernel).await < before + 20 {
        tokio::task::yield_now().await;
    }
    kernel.restarted(|settings| settings.chunk_lines = 100).await
}

async fn rows_taken(kernel: &Kernel) -> i64 {
    kernel.statuses(&city_caller("440600"), "misc.usage").await.iter().map(|status| status.rows_taken).sum()
}

fn row(at: u64, events: u64) -> Row {
    (1 + at % 9, at / 9, events)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_whose_import_was_interrupted_counts_beside_those_that_came_meanwhile() {
    let foshan = city_caller("440600");
    let rows: Vec<Row> = (0..300).map(|at| row(at, 1_000 + at)).collect();
    for part in [1, 3] {
        let kernel = kernel().await.restarted(|settings| (settings.chunk_lines, settings.keys_in_memory) = (1, 50)).await;
        // Of the part itself an earlier file is there, with keys that it lacks.
        let earlier: Vec<Row> = (290..310).map(|at| row(at, 5_000 + at)).collect();
        kernel.send(&foshan, &part_of_day(2, part, &earlier)).await.unwrap();
        let sent = part_of_day(2, part, &rows);
        let kernel = interrupted(kernel, &sent).await;
        let meanwhile: Vec<Row> = (0..305).step_by(2).map(|at| row(at, 9_000 + at)).collect();
        kernel.send(&foshan, &part_of_day(2, 2, &meanwhile)).await.unwrap();
        let mut parts = BTreeMap::from([(2, meanwhile), (part, earlier)]);
        assert_eq!(of_day(&kernel, 2).await, counting(&parts), "part {part} is not in to its end");
        assert_eq!(kernel.warehouse.resume_imports().await.unwrap(), 1);
        assert!(kernel.send(&foshan, &sent).await.is_ok(), "waits for the import that goes on");
        parts.insert(part, rows.clone());
        assert_eq!(of_day(&kernel, 2).await, counting(&parts), "part {part} is in");
        take_back(&kernel, 2, 2).await.unwrap();
        parts.remove(&2);
        assert_eq!(of_day(&kernel, 2).await, counting(&parts), "part {part} alone");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_whose_import_was_interrupted_counts_whole_when_the_one_below_it_left_meanwhile() {
    let (kernel, foshan) = (kernel().await.restarted(|settings| (settings.chunk_lines, settings.keys_in_memory) = (1, 50)).await, city_caller("440600"));
    kernel.send(&foshan, &part_of_day(2, 1, &(0..100).map(|at| row(at, 7_000 + at)).collect::<Vec<_>>())).await.unwrap();
    // Of its rows every other one is set aside at first.
    let rows: Vec<Row> = (0..150).flat_map(|at| [row(400 + at, at), row(at, at)]).collect();
    let sent = part_of_day(2, 2, &rows);
    let kernel = interrupted(kernel, &sent).await;
    take_back(&kernel, 2, 1).await.unwrap();
    assert!(of_day(&kernel, 2).await.is_empty());
    kernel.warehouse.resume_imports().await.unwrap();
    kernel.send(&foshan, &sent).await.unwrap();
    assert_eq!(of_day(&kernel, 2).await, counting(&BTreeMap::from([(2, rows)])));
    take_back(&kernel, 2, 2).await.unwrap();
    assert!(of_day(&kernel, 2).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_came_before_their_feed_dropped_duplicates_lose_none_of_their_keys() {
    let (kernel, foshan) = (kernel().await, city_caller("440600"));
    let contract = async |from: &str, to: &str| {
        let (document, revision) = kernel.feed_contract("misc.usage").await;
        kernel.put_feed(&document.replace(from, to), revision).await.unwrap();
    };
    contract("drops_duplicates: true", "drops_duplicates: false").await;
    for part in 1..4 {
        kernel.send(&foshan, &part_of_day(2, part, &[(1, 1, part as u64), (part as u64 + 1, 2, 5), (part as u64 + 1, 2, 6)])).await.unwrap();
    }
    contract("drops_duplicates: false", "drops_duplicates: true").await;
    assert_eq!(of_day(&kernel, 2).await.len(), 9);
    take_back(&kernel, 2, 1).await.unwrap();
    let left = ["1|p1|2", "3|p2|5", "3|p2|6", "4|p2|5", "4|p2|6"];
    assert_eq!(of_day(&kernel, 2).await, left, "what they hold twice themselves stays until they are sent again");
    take_back(&kernel, 2, 2).await.unwrap();
    assert_eq!(of_day(&kernel, 2).await, ["1|p1|3", "4|p2|5", "4|p2|6"]);
    // And what was set aside comes back when they are not dropped any more.
    kernel.send(&foshan, &part_of_day(3, 1, &[(1, 1, 1)])).await.unwrap();
    kernel.send(&foshan, &part_of_day(3, 2, &[(1, 1, 2)])).await.unwrap();
    contract("drops_duplicates: true", "drops_duplicates: false").await;
    assert_eq!(of_day(&kernel, 3).await, ["1|p1|1"]);
    take_back(&kernel, 3, 1).await.unwrap();
    assert_eq!(of_day(&kernel, 3).await, ["1|p1|2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_import_was_interrupted_may_come_for_another_day() {
    let (kernel, foshan) = (kernel().await.restarted(|settings| (settings.chunk_lines, settings.keys_in_memory) = (1, 50)).await, city_caller("440600"));
    let rows: Vec<Row> = (0..300).map(|at| row(at, at)).collect();
    let wrong = part_of_day(2, 1, &rows).named("misc.usage.440600.20260103.txt.gz");
    let kernel = interrupted(kernel, &wrong).await;
    let right = wrong.named("misc.usage.440600.20260102.txt.gz");
    assert_eq!(kernel.send(&foshan, &right).await.unwrap().rows_taken, 300);
    assert_eq!(of_day(&kernel, 2).await, counting(&BTreeMap::from([(1, rows)])));
    kernel.retract(&foshan, &right).await.unwrap();
    assert!(of_day(&kernel, 2).await.is_empty());
}
