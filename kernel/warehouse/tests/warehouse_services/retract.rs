use backplane_proto::ingest::v1::{ReplayQuarantineRequest, ReplayQuarantineResponse, RetractFileRequest};
use kernel_base::CallContext;

use crate::{
    kernel::{Kernel, caller, city_caller, province, reason},
    platform::{Sent, enrolment, number, numbers, usage},
};

const NAME: &str = "misc.usage.440600.20260102.txt.gz";
const USAGE: &str = "select customer_id, product_id, events from usage order by 1, 2, 3";
const ENROLMENTS: &str = "select enrolment_id, package_id, status, revision from enrolment order by 1";

async fn kernel() -> Kernel {
    let kernel = Kernel::start().await;
    kernel.send(&city_caller("440600"), &numbers(9)).await.unwrap();
    kernel.allow_bad_rows("misc.usage").await;
    kernel
}

/// Two good rows, one with a day that there is not.
fn some_usage() -> Sent {
    let rows = [usage(number(1), "a", "20260102", 1), usage(number(2), "b", "20260102", 2), usage(number(3), "c", "20260230", 3)];
    Sent::new(NAME, &rows.concat())
}

async fn replay(kernel: &Kernel, context: &CallContext, ids: &[String], corrected_text: &str) -> ReplayQuarantineResponse {
    let request = ReplayQuarantineRequest { feed: "misc.usage".to_owned(), quarantine_ids: ids.to_vec(), corrected_text: corrected_text.to_owned() };
    kernel.ingest(context).replay_quarantine(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rows_of_a_file_leave_with_it() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let other = Sent::new("misc.usage.440600.20260103.txt.gz", &usage(number(1), "a", "20260103", 7));
    kernel.send(&foshan, &some_usage()).await.unwrap();
    let before = kernel.send(&foshan, &other).await.unwrap().snapshot_id;
    let gone = kernel.retract(&foshan, &some_usage()).await.unwrap();
    assert_eq!((gone.file_name.as_str(), gone.sha256, gone.rows_removed, gone.rows_restored), (NAME, some_usage().sha256(), 2, 0));
    assert_eq!(gone.snapshot_id, before + 1);
    assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|7"]);
    assert!(kernel.quarantine(&foshan, "misc.usage").await.is_empty());
    let status = kernel.statuses(&foshan, "misc.usage").await.remove(0);
    assert_eq!((status.files, status.rows_taken, status.rows_quarantined, status.rows_waiting, status.newest_period.as_str()), (1, 1, 0, 0, "20260103"));
    assert_eq!(reason(&kernel.retract(&foshan, &some_usage()).await.unwrap_err()), "RESOURCE_NOT_FOUND");
    let kernel = kernel.restarted(|_| {}).await;
    assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|7"]);
    assert_eq!(reason(&kernel.retract(&foshan, &some_usage()).await.unwrap_err()), "RESOURCE_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_many_chunks_leaves_whole() {
    let kernel = kernel().await.restarted(|settings| settings.chunk_lines = 2).await;
    let foshan = city_caller("440600");
    let file = Sent::new(NAME, &(1..=9).map(|customer| usage(number(customer), "a", "20260102", customer)).collect::<String>());
    assert_eq!(kernel.send(&foshan, &file).await.unwrap().rows_taken, 9);
    assert_eq!(kernel.retract(&foshan, &file).await.unwrap().rows_removed, 9);
    assert!(kernel.table(&foshan, USAGE).await.is_empty());
    assert_eq!(kernel.send(&foshan, &file).await.unwrap().rows_taken, 9);
    assert_eq!(kernel.number(&foshan, "select count(*) from usage").await, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_taken_back_can_be_taken_again_with_its_quarantine() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    for round in 0..3 {
        let taken = kernel.send(&foshan, &some_usage()).await.unwrap();
        assert_eq!((taken.duplicate_file, taken.rows_taken, taken.rows_quarantined), (false, 2, 1), "round {round}");
        let again = kernel.send(&foshan, &some_usage()).await.unwrap();
        assert_eq!((again.duplicate_file, again.rows_taken, again.rows_quarantined, again.snapshot_id), (true, 2, 1, taken.snapshot_id), "round {round}");
        assert_eq!(again.quarantine_reasons, taken.quarantine_reasons, "round {round}");
        assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|1", "2|b|2"]);
        let waiting = kernel.quarantine(&foshan, "misc.usage").await;
        assert_eq!(waiting.iter().map(|row| (row.line, row.reason.as_str())).collect::<Vec<_>>(), [(3, "DAY_INVALID")]);
        let ids = [waiting[0].quarantine_id.clone()];
        let corrected = usage(number(3), "c", "20260102", 3);
        for expected in [1, 0] {
            assert_eq!(replay(&kernel, &foshan, &ids, corrected.trim_end()).await.rows_taken, expected, "round {round}");
        }
        assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|1", "2|b|2", "3|c|3"]);
        let gone = kernel.retract(&foshan, &some_usage()).await.unwrap();
        assert_eq!(gone.rows_removed, 3, "what was replayed of the file leaves too");
        assert!(kernel.table(&foshan, USAGE).await.is_empty());
        // Rows of a file that is gone are not replayed.
        let replayed = replay(&kernel, &foshan, &ids, corrected.trim_end()).await;
        assert_eq!((replayed.rows_taken, replayed.rows_still_bad), (0, 0));
        assert!(kernel.table(&foshan, USAGE).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_replaced_returns_with_a_higher_revision() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let month = |period: &str, rows: &[String]| Sent::new(&format!("boss.enrolment.440600.{period}.txt.gz"), &rows.concat());
    let first = month("202601", &[enrolment("e1", 1, "p1", "1"), enrolment("e2", 2, "p1", "1"), enrolment("e3", 3, "p1", "1")]);
    let second = month("202602", &[enrolment("e1", 1, "p1", "3"), enrolment("e2", 2, "p1", "1"), enrolment("e4", 4, "p1", "1")]);
    kernel.send(&foshan, &first).await.unwrap();
    kernel.send(&foshan, &second).await.unwrap();
    let both = ["e1|p1|cancelled|2", "e2|p1|active|1", "e3|p1|active|1", "e4|p1|active|1"];
    assert_eq!(kernel.table(&foshan, ENROLMENTS).await, both);
    let gone = kernel.retract(&foshan, &second).await.unwrap();
    assert_eq!((gone.rows_removed, gone.rows_restored), (2, 1));
    let without = ["e1|p1|active|3", "e2|p1|active|1", "e3|p1|active|1"];
    assert_eq!(kernel.table(&foshan, ENROLMENTS).await, without);
    let kernel = kernel.restarted(|_| {}).await;
    assert_eq!(kernel.table(&foshan, ENROLMENTS).await, without);
    kernel.send(&foshan, &second).await.unwrap();
    assert_eq!(kernel.table(&foshan, ENROLMENTS).await, ["e1|p1|cancelled|4", "e2|p1|active|1", "e3|p1|active|1", "e4|p1|active|1"]);
    // After a restart it is as it was before the file, too.
    let kernel = kernel.restarted(|_| {}).await;
    kernel.retract(&foshan, &second).await.unwrap();
    assert_eq!(kernel.table(&foshan, ENROLMENTS).await, ["e1|p1|active|5", "e2|p1|active|1", "e3|p1|active|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_later_file_replaced_stay_when_the_earlier_is_taken_back() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let month = |period: &str, package: &str| Sent::new(&format!("boss.enrolment.440600.{period}.txt.gz"), &enrolment("e1", 1, package, "1"));
    let months = [month("202601", "p1"), month("202602", "p2"), month("202603", "p3")];
    for file in &months {
        kernel.send(&foshan, file).await.unwrap();
    }
    let gone = kernel.retract(&foshan, &months[1]).await.unwrap();
    assert_eq!((gone.rows_removed, gone.rows_restored), (0, 0));
    assert_eq!(kernel.table(&foshan, ENROLMENTS).await, ["e1|p3|active|3"]);
    // What the middle file brought was taken back: what returns now is what stood before it.
    kernel.retract(&foshan, &months[2]).await.unwrap();
    assert_eq!(kernel.table(&foshan, ENROLMENTS).await, ["e1|p1|active|4"]);
    kernel.retract(&foshan, &months[0]).await.unwrap();
    assert!(kernel.table(&foshan, ENROLMENTS).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn assignments_that_were_taken_back_resolve_no_number() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let wrong = Sent::new("boss.number.440600.202601.txt.gz", "13800000001|7|20260101|\\N\n");
    kernel.send(&foshan, &wrong).await.unwrap();
    kernel.retract(&foshan, &wrong).await.unwrap();
    let taken = kernel.send(&foshan, &Sent::new(NAME, &usage(13_800_000_001, "a", "20260102", 1))).await.unwrap();
    assert_eq!((taken.rows_taken, taken.rows_quarantined), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_be_named_by_its_period_and_part() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    for part in [1, 2] {
        let name = format!("misc.usage.440600.20260102.{part:02}.txt.gz");
        kernel.send(&foshan, &Sent::new(&name, &usage(number(part), "a", "20260102", part))).await.unwrap();
    }
    let named = |period: &str, part: i64| RetractFileRequest {
        feed: "misc.usage".to_owned(),
        period: period.to_owned(),
        part,
        reason: "sent for the wrong day".to_owned(),
        ..RetractFileRequest::default()
    };
    for (request, expected) in [
        (named("20260102", 0), "RESOURCE_NOT_FOUND"),
        (named("20260102", 3), "RESOURCE_NOT_FOUND"),
        (named("20260103", 1), "RESOURCE_NOT_FOUND"),
        (named("202601", 1), "RESOURCE_NOT_FOUND"),
        (named("20260102", -1), "FIELD_INVALID"),
        (named("20260102", i64::MAX), "FIELD_INVALID"),
        (named("2026-01-02", 1), "FIELD_INVALID"),
        (named("", 1), "FIELD_INVALID"),
    ] {
        let status = kernel.ingest(&foshan).retract_file(request.clone()).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{request:?}: {}", status.message());
    }
    let gone = kernel.ingest(&foshan).retract_file(named("20260102", 2)).await.unwrap().into_inner();
    assert_eq!((gone.file_name.as_str(), gone.rows_removed), ("misc.usage.440600.20260102.02.txt.gz", 1));
    assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_taken_back_only_with_the_permission_in_its_city_and_with_a_reason() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let file = some_usage();
    kernel.send(&foshan, &file).await.unwrap();
    let request = |reason: &str, sha256: &str, feed: &str| RetractFileRequest {
        feed: feed.to_owned(),
        file_sha256: sha256.to_owned(),
        reason: reason.to_owned(),
        ..RetractFileRequest::default()
    };
    let (sha256, unknown) = (file.sha256(), "0".repeat(64));
    let importer = caller("importer", &[("ingest.import", &["440600"]), ("ingest.read", &["440600"])]);
    let elsewhere = caller("elsewhere", &[("ingest.retract", &["441900"])]);
    let both = caller("both", &[("ingest.retract", &["440600", "441900"])]);
    let foshan_city = "440600".parse().unwrap();
    let cases = [
        (importer.narrowed(foshan_city), request("why", &sha256, "misc.usage"), "PERMISSION_MISSING"),
        (elsewhere.narrowed(foshan_city), request("why", &sha256, "misc.usage"), "PERMISSION_MISSING"),
        // In its own city there is no such file.
        (elsewhere.clone(), request("why", &sha256, "misc.usage"), "RESOURCE_NOT_FOUND"),
        (both.clone(), request("why", &sha256, "misc.usage"), "CITY_REQUIRED"),
        (foshan.clone(), request("", &sha256, "misc.usage"), "FIELD_INVALID"),
        (foshan.clone(), request(" \n ", &sha256, "misc.usage"), "FIELD_INVALID"),
        (foshan.clone(), request(&"错".repeat(401), &sha256, "misc.usage"), "FIELD_INVALID"),
        (foshan.clone(), request("why", "", "misc.usage"), "FIELD_INVALID"),
        (foshan.clone(), request("why", &unknown, "misc.usage"), "RESOURCE_NOT_FOUND"),
        (foshan.clone(), request("why", &sha256, "base.activity"), "RESOURCE_NOT_FOUND"),
        (foshan.clone(), request("why", &sha256, "no.such"), "FEED_UNKNOWN"),
    ];
    for (context, request, expected) in cases {
        let status = kernel.ingest(&context).retract_file(request.clone()).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{} {request:?}: {}", context.caller_id(), status.message());
    }
    assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|1", "2|b|2"]);
    let allowed = both.narrowed(foshan_city);
    let gone = kernel.ingest(&allowed).retract_file(request(&"错".repeat(400), &sha256.to_uppercase(), "misc.usage")).await.unwrap().into_inner();
    assert_eq!(gone.rows_removed, 2);
    // The province may, once it says for which city.
    kernel.send(&foshan, &file).await.unwrap();
    kernel.retract(&province().narrowed(foshan_city), &file).await.unwrap();
    assert!(kernel.table(&foshan, USAGE).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_comes_in_a_part_while_it_is_replayed_is_taken_once() {
    // Whichever is first; each day the two are a little different in time.
    const DAYS: u64 = 12;
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    for day in 1..=DAYS {
        let day = format!("202601{day:02}");
        let both = usage(number(1), "both", &day, 5);
        // Of bytes of its own: a file is known by them.
        let bad = usage(number(1), &day, "20260230", 5);
        kernel.send(&foshan, &Sent::new(&format!("misc.usage.440600.{day}.01.txt.gz"), &bad)).await.unwrap();
        let id = kernel.quarantine(&foshan, "misc.usage").await.remove(0).quarantine_id;
        let part = Sent::new(&format!("misc.usage.440600.{day}.02.txt.gz"), &both);
        let ids = [id];
        let (taken, replayed) = tokio::join!(kernel.send(&foshan, &part), replay(&kernel, &foshan, &ids, both.trim_end()));
        assert_eq!((taken.unwrap().rows_quarantined, replayed.rows_taken), (0, 1), "{day}");
    }
    let days = "select count(*), count(distinct day) from usage where product_id = 'both'";
    assert_eq!(kernel.table(&foshan, days).await, [format!("{DAYS}|{DAYS}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replays_and_retractions_of_a_file_at_once_leave_none_of_its_rows() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    for _ in 0..6 {
        kernel.send(&foshan, &some_usage()).await.unwrap();
        let id = kernel.quarantine(&foshan, "misc.usage").await.remove(0).quarantine_id;
        let corrected = usage(number(3), "c", "20260102", 3);
        let request = ReplayQuarantineRequest { feed: "misc.usage".to_owned(), quarantine_ids: vec![id], corrected_text: corrected.trim_end().to_owned() };
        let (mut one, mut other) = (kernel.ingest(&foshan), kernel.ingest(&foshan));
        let file = some_usage();
        let (first, second, gone) = tokio::join!(one.replay_quarantine(request.clone()), other.replay_quarantine(request), kernel.retract(&foshan, &file));
        let taken: i64 = [first, second].into_iter().map(|replayed| replayed.unwrap().into_inner().rows_taken).sum();
        assert!(taken <= 1, "{taken}");
        assert_eq!(gone.unwrap().rows_removed, 2 + taken);
        assert_eq!(kernel.number(&foshan, "select count(*) from usage").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn months_that_are_taken_back_at_once_bring_nothing_of_each_other_back() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let month = |period: &str, package: &str| Sent::new(&format!("boss.enrolment.440600.{period}.txt.gz"), &enrolment("e1", 1, package, "1"));
    let months = [month("202601", "p1"), month("202602", "p2"), month("202603", "p3")];
    kernel.send(&foshan, &months[0]).await.unwrap();
    for _ in 0..6 {
        kernel.send(&foshan, &months[1]).await.unwrap();
        kernel.send(&foshan, &months[2]).await.unwrap();
        let (second, third) = tokio::join!(kernel.retract(&foshan, &months[1]), kernel.retract(&foshan, &months[2]));
        second.unwrap();
        third.unwrap();
        assert_eq!(kernel.table(&foshan, "select enrolment_id, package_id from enrolment").await, ["e1|p1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_days_without_a_record_the_one_that_is_named_is_taken_back() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let quiet = |day: &str| Sent::new(&format!("misc.usage.440600.{day}.txt.gz"), "");
    for day in ["20260103", "20260104"] {
        kernel.send(&foshan, &quiet(day)).await.unwrap();
    }
    let request = |period: &str| RetractFileRequest {
        feed: "misc.usage".to_owned(),
        file_sha256: quiet("20260103").sha256(),
        period: period.to_owned(),
        reason: "it was not quiet".to_owned(),
        ..RetractFileRequest::default()
    };
    let retract = |period: &'static str| {
        let mut ingest = kernel.ingest(&foshan);
        async move { ingest.retract_file(request(period)).await.map(tonic::Response::into_inner) }
    };
    let ambiguous = retract("").await.unwrap_err();
    assert_eq!(reason(&ambiguous), "FIELD_INVALID");
    assert!(ambiguous.message().contains("2 files without a record"), "{}", ambiguous.message());
    assert_eq!(reason(&retract("20260105").await.unwrap_err()), "RESOURCE_NOT_FOUND");
    assert_eq!(retract("20260104").await.unwrap().file_name, quiet("20260104").name);
    assert_eq!(retract("").await.unwrap().file_name, quiet("20260103").name, "now there is one");
}
