use crate::{
    kernel::{Kernel, city_caller, reason},
    platform::{Sent, enrolment, number, numbers, usage},
};
use backplane_proto::warehouse::v1::{DescribeDatasetRequest, QueryRequest};

const USAGE: &str = "select customer_id, product_id, events from usage order by 1, 2, 3";
const ENROLMENTS: &str = "select enrolment_id, customer_id, package_id, status from enrolment order by 1, 2";
const NAME: &str = "misc.usage.440600.20260102.txt.gz";

/// A kernel that knows the numbers of customers 1 to 9 of Foshan, and whose feed of usage takes small files with bad rows.
async fn kernel() -> Kernel {
    let kernel = Kernel::start().await;
    kernel.send(&city_caller("440600"), &numbers(9)).await.unwrap();
    kernel.allow_bad_rows("misc.usage").await;
    kernel
}

/// A file of usage of one day; each row a customer, a product and how often.
fn day(name: &str, rows: &[(u64, &str, u64)]) -> Sent {
    let day = name.split('.').nth(3).unwrap();
    Sent::new(name, &rows.iter().map(|(customer, product, events)| usage(number(*customer), product, day, *events)).collect::<String>())
}

fn day_with_bad_row(name: &str, rows: &[(u64, &str, u64)]) -> Sent {
    let good: String = rows.iter().map(|(customer, product, events)| usage(number(*customer), product, "20260102", *events)).collect();
    Sent::new(name, &format!("{good}{}", usage(number(1), "bad", "20260230", 1)))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_of_a_slice_restates_it_in_one_snapshot() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let first = day_with_bad_row(NAME, &[(1, "a", 1), (2, "a", 2)]);
    let taken = kernel.send(&foshan, &first).await.unwrap();
    assert_eq!((taken.rows_taken, taken.rows_quarantined, taken.rows_restated), (2, 1, 0));
    let second = day(NAME, &[(1, "a", 9), (3, "a", 3), (4, "b", 4)]);
    let restated = kernel.send(&foshan, &second).await.unwrap();
    assert_eq!((restated.rows_taken, restated.rows_restated, restated.snapshot_id), (3, 2, taken.snapshot_id + 1));
    let new = ["1|a|9", "3|a|3", "4|b|4"];
    assert_eq!(kernel.table(&foshan, USAGE).await, new);
    let pinned = QueryRequest { sql: USAGE.to_owned(), snapshot_id: taken.snapshot_id, ..QueryRequest::default() };
    assert_eq!(kernel.ask(&foshan, pinned).await.unwrap().lines(), ["1|a|1", "2|a|2"]);
    assert!(kernel.quarantine(&foshan, "misc.usage").await.is_empty(), "a bad row of a file that counts no more waits no more");
    // Both again: neither writes anything, the older one does not come back.
    for sent in [&second, &first, &second] {
        let again = kernel.send(&foshan, sent).await.unwrap();
        assert!(again.duplicate_file);
        assert_eq!(kernel.table(&foshan, USAGE).await, new);
    }
    let status = kernel.statuses(&foshan, "misc.usage").await.remove(0);
    assert_eq!((status.files, status.rows_taken, status.rows_quarantined, status.rows_waiting), (1, 3, 0, 0));
    let kernel = kernel.restarted(|_| {}).await;
    assert!(kernel.send(&foshan, &first).await.unwrap().duplicate_file);
    assert_eq!(kernel.table(&foshan, USAGE).await, new);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restating_file_of_many_chunks_replaces_the_earlier_rows_with_its_last() {
    let kernel = kernel().await.restarted(|settings| settings.chunk_lines = 3).await;
    let foshan = city_caller("440600");
    let rows: Vec<(u64, &str, u64)> = (1..=9).map(|customer| (customer, "a", customer)).collect();
    let taken = kernel.send(&foshan, &day(NAME, &rows)).await.unwrap();
    let old = ["1|a|1", "2|a|2", "3|a|3", "4|a|4", "5|a|5", "6|a|6", "7|a|7", "8|a|8", "9|a|9"];
    let rows: Vec<(u64, &str, u64)> = (2..=9).map(|customer| (customer, "a", 10 * customer)).collect();
    let restated = kernel.send(&foshan, &day(NAME, &rows)).await.unwrap();
    assert_eq!((restated.rows_taken, restated.rows_restated), (8, 9));
    let new = ["2|a|20", "3|a|30", "4|a|40", "5|a|50", "6|a|60", "7|a|70", "8|a|80", "9|a|90"];
    assert_eq!(kernel.table(&foshan, USAGE).await, new);
    // No snapshot has a part of a file, whoever reads it and when: the one before the last chunk has the earlier rows, those before the first file's last have none.
    assert_eq!(restated.snapshot_id, taken.snapshot_id + 3);
    let kernel = kernel.restarted(|_| {}).await;
    for snapshot_id in taken.snapshot_id - 2..=restated.snapshot_id {
        let pinned = QueryRequest { sql: USAGE.to_owned(), snapshot_id, ..QueryRequest::default() };
        let seen = kernel.ask(&foshan, pinned).await.unwrap().lines();
        match snapshot_id {
            first if first < taken.snapshot_id => assert!(seen.is_empty(), "{snapshot_id}: {seen:?}"),
            last if last == restated.snapshot_id => assert_eq!(seen, new),
            _ => assert_eq!(seen, old, "{snapshot_id}"),
        }
    }
    let counted = kernel.reading(&foshan).describe_dataset(DescribeDatasetRequest { dataset: "usage".to_owned() }).await.unwrap().into_inner();
    assert_eq!(counted.rows, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restating_file_that_is_refused_leaves_the_earlier_rows() {
    let kernel = Kernel::start_with(|settings| settings.chunk_lines = 100).await;
    let foshan = city_caller("440600");
    kernel.send(&foshan, &numbers(9)).await.unwrap();
    let first = day(NAME, &[(1, "a", 1), (2, "a", 2)]);
    kernel.send(&foshan, &first).await.unwrap();
    let good: String = (0..1_500).map(|row| usage(number(1 + row % 9), &format!("p{row}"), "20260102", 1)).collect();
    let bad: String = (0..200).map(|_| usage(number(1), "p", "20260230", 1)).collect();
    let too_bad = Sent::new(NAME, &format!("{good}{bad}{good}"));
    assert_eq!(reason(&kernel.send(&foshan, &too_bad).await.unwrap_err()), "FILE_TOO_BAD");
    assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|1", "2|a|2"]);
    assert!(kernel.quarantine(&foshan, "misc.usage").await.is_empty());
    let status = kernel.statuses(&foshan, "misc.usage").await.remove(0);
    assert_eq!((status.files, status.rows_taken, status.rows_waiting, status.files_unfinished), (1, 2, 0, 0));
    assert!(kernel.send(&foshan, &first).await.unwrap().duplicate_file, "the earlier file still stands for the slice");
    let corrected = kernel.send(&foshan, &Sent::new(NAME, &good)).await.unwrap();
    assert_eq!((corrected.rows_taken, corrected.rows_restated), (1_500, 2));
    assert_eq!(kernel.number(&foshan, "select count(*) from usage").await, 1_500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_restated_by_itself() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let part = |number: u32, rows: &[(u64, &str, u64)]| day(&format!("misc.usage.440600.20260102.{number:02}.txt.gz"), rows);
    kernel.send(&foshan, &part(1, &[(1, "a", 1), (2, "a", 2)])).await.unwrap();
    let second = kernel.send(&foshan, &part(2, &[(2, "a", 5), (3, "a", 3)])).await.unwrap();
    assert_eq!((second.rows_taken, second.rows_duplicate, second.part), (1, 1, 2), "the key of customer 2 came with part 1");
    let restated = kernel.send(&foshan, &part(1, &[(2, "a", 7)])).await.unwrap();
    assert_eq!((restated.rows_taken, restated.rows_restated), (1, 2));
    assert_eq!(kernel.table(&foshan, USAGE).await, ["2|a|7", "3|a|3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_of_a_slice_at_once_leave_the_rows_of_one() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    for round in 0..5u64 {
        let files: Vec<Sent> = (1..=4u64).map(|file| day(NAME, &[(1, "a", 10 * round + file), (2, "a", 10 * round + file)])).collect();
        for result in futures::future::join_all(files.iter().map(|file| kernel.send(&foshan, file))).await {
            result.unwrap();
        }
        let sql = "select count(*), count(distinct events) from usage";
        assert_eq!(kernel.table(&foshan, sql).await, ["2|1"], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_come_at_once_drop_each_others_duplicates() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    for round in 0..4 {
        let parts: Vec<Sent> = (1..=4)
            .map(|part| day(&format!("misc.usage.440600.202601{:02}.{part:02}.txt.gz", 10 + round), &[(1, "a", 1), (2, "a", 2), (2 + part, "b", 1)]))
            .collect();
        for result in futures::future::join_all(parts.iter().map(|part| kernel.send(&foshan, part))).await {
            result.unwrap();
        }
        let sql = format!("select count(*), count(distinct customer_id || product_id) from usage where day = '2026-01-{:02}'", 10 + round);
        assert_eq!(kernel.table(&foshan, &sql).await, ["6|6"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_restated_after_it_was_taken_back_once_is_recognised() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let (first, second) = (day(NAME, &[(1, "a", 1)]), day(NAME, &[(1, "a", 2)]));
    kernel.send(&foshan, &first).await.unwrap();
    kernel.retract(&foshan, &first).await.unwrap();
    assert!(!kernel.send(&foshan, &first).await.unwrap().duplicate_file);
    kernel.send(&foshan, &second).await.unwrap();
    assert!(kernel.send(&foshan, &first).await.unwrap().duplicate_file);
    assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|2"]);
    let kernel = kernel.restarted(|_| {}).await;
    assert!(kernel.send(&foshan, &first).await.unwrap().duplicate_file);
    assert!(kernel.send(&foshan, &second).await.unwrap().duplicate_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restated_file_can_be_sent_again_once_the_other_was_taken_back() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let (first, second) = (day_with_bad_row(NAME, &[(1, "a", 1), (2, "a", 1)]), day(NAME, &[(1, "a", 2)]));
    kernel.send(&foshan, &first).await.unwrap();
    kernel.send(&foshan, &second).await.unwrap();
    let gone = kernel.retract(&foshan, &second).await.unwrap();
    assert_eq!((gone.rows_removed, gone.rows_restored), (1, 0));
    assert!(kernel.table(&foshan, USAGE).await.is_empty(), "the file that was restated does not return by itself");
    let again = kernel.send(&foshan, &first).await.unwrap();
    assert_eq!((again.duplicate_file, again.rows_taken, again.rows_quarantined), (false, 2, 1));
    assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|1", "2|a|1"]);
    assert_eq!(kernel.quarantine(&foshan, "misc.usage").await.len(), 1);
    let kernel = kernel.restarted(|_| {}).await;
    assert!(kernel.send(&foshan, &first).await.unwrap().duplicate_file);
    assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|1", "2|a|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_days_without_a_row_are_two_files_though_their_bytes_are_the_same() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    for (first, second) in [
        ("misc.usage.440600.20260102.txt.gz", "misc.usage.440600.20260103.txt.gz"),
        ("misc.usage.440600.20260105.01.txt.gz", "misc.usage.440600.20260105.02.txt.gz"),
    ] {
        let nothing = Sent::new(first, "");
        assert!(!kernel.send(&foshan, &nothing).await.unwrap().duplicate_file);
        assert!(kernel.send(&foshan, &nothing).await.unwrap().duplicate_file);
        let other = nothing.named(second);
        assert!(!kernel.send(&foshan, &other).await.unwrap().duplicate_file, "{second}");
        assert!(kernel.send(&foshan, &other).await.unwrap().duplicate_file);
    }
    assert_eq!(kernel.statuses(&foshan, "misc.usage").await[0].files, 4);
    let kernel = kernel.restarted(|_| {}).await;
    assert_eq!(kernel.statuses(&foshan, "misc.usage").await[0].files, 4);
    // What was a day without a row gets some after all, and the other stays as it is.
    let restated = kernel.send(&foshan, &day("misc.usage.440600.20260103.txt.gz", &[(1, "a", 1)])).await.unwrap();
    assert_eq!((restated.rows_taken, restated.rows_restated), (1, 0));
    assert_eq!(kernel.statuses(&foshan, "misc.usage").await[0].files, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_file_does_not_undo_newer_rows() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let month = |period: &str, rows: &[String]| Sent::new(&format!("boss.enrolment.440600.{period}.txt.gz"), &rows.concat());
    let newer = month("202602", &[enrolment("e1", 1, "p1", "3"), enrolment("e2", 2, "p1", "1")]);
    let late = month("202601", &[enrolment("e1", 1, "p1", "1"), enrolment("e3", 3, "p2", "1")]);
    kernel.send(&foshan, &newer).await.unwrap();
    let taken = kernel.send(&foshan, &late).await.unwrap();
    assert_eq!((taken.rows_taken, taken.rows_unchanged), (1, 1));
    let expected = ["e1|1|p1|cancelled", "e2|2|p1|active", "e3|3|p2|active"];
    assert_eq!(kernel.table(&foshan, ENROLMENTS).await, expected);
    // A corrected late one is late too.
    kernel.send(&foshan, &month("202601", &[enrolment("e1", 1, "p9", "1"), enrolment("e3", 3, "p3", "1")])).await.unwrap();
    assert_eq!(kernel.table(&foshan, ENROLMENTS).await, ["e1|1|p1|cancelled", "e2|2|p1|active", "e3|3|p3|active"]);
    // In the order of time it comes to the same.
    let in_order = Kernel::start().await;
    in_order.send(&foshan, &late).await.unwrap();
    in_order.send(&foshan, &newer).await.unwrap();
    assert_eq!(in_order.table(&foshan, ENROLMENTS).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restating_file_of_a_latest_dataset_replaces_by_key() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let name = "boss.enrolment.440600.202601.txt.gz";
    kernel.send(&foshan, &Sent::new(name, &[enrolment("e1", 1, "p1", "1"), enrolment("e2", 2, "p1", "1")].concat())).await.unwrap();
    let restated = kernel.send(&foshan, &Sent::new(name, &[enrolment("e2", 2, "p2", "1"), enrolment("e3", 3, "p1", "1")].concat())).await.unwrap();
    assert_eq!((restated.rows_taken, restated.rows_restated), (2, 0));
    // The row whose key did not come again stays: whoever names a key decides about that key.
    assert_eq!(kernel.table(&foshan, ENROLMENTS).await, ["e1|1|p1|active", "e2|2|p2|active", "e3|3|p1|active"]);
    assert_eq!(kernel.table(&foshan, "select enrolment_id, revision from enrolment order by 1").await, ["e1|1", "e2|2", "e3|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_city_does_not_touch_the_rows_of_another_with_the_same_keys() {
    let kernel = kernel().await;
    let (foshan, dongguan) = (city_caller("440600"), city_caller("441900"));
    let province = crate::kernel::province();
    let enrolments = |city: &str, package: &str| Sent::new(&format!("boss.enrolment.{city}.202601.txt.gz"), &enrolment("e1", 1, package, "1"));
    kernel.send(&foshan, &enrolments("440600", "p1")).await.unwrap();
    let other = kernel.send(&dongguan, &enrolments("441900", "p2")).await.unwrap();
    assert_eq!((other.rows_taken, other.rows_unchanged), (1, 0));
    kernel.send(&dongguan, &enrolments("441900", "p3")).await.unwrap();
    let sql = "select city, enrolment_id, package_id, revision from enrolment order by 1";
    assert_eq!(kernel.table(&province, sql).await, ["440600|e1|p1|1", "441900|e1|p3|2"]);

    // The same bytes for two cities are two files; what one city does to its own leaves the other's.
    let (mine, theirs) = (day(NAME, &[(1, "a", 1)]), day("misc.usage.441900.20260102.txt.gz", &[(1, "a", 1)]));
    kernel.send(&foshan, &mine).await.unwrap();
    assert!(!kernel.send(&dongguan, &theirs).await.unwrap().duplicate_file);
    kernel.send(&dongguan, &day("misc.usage.441900.20260102.txt.gz", &[(1, "a", 5)])).await.unwrap();
    let sql = "select city, customer_id, events from usage order by 1";
    assert_eq!(kernel.table(&province, sql).await, ["440600|1|1", "441900|1|5"]);
    kernel.retract(&foshan, &mine).await.unwrap();
    assert_eq!(kernel.table(&province, sql).await, ["441900|1|5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_sent_for_the_wrong_day_can_be_sent_for_the_right_one() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let wrong = day_with_bad_row(NAME, &[(1, "a", 1), (2, "a", 2)]);
    kernel.send(&foshan, &wrong).await.unwrap();
    kernel.retract(&foshan, &wrong).await.unwrap();
    let right = wrong.named("misc.usage.440600.20260103.txt.gz");
    let taken = kernel.send(&foshan, &right).await.unwrap();
    assert_eq!((taken.duplicate_file, taken.rows_taken, taken.period.as_str()), (false, 2, "20260103"));
    assert_eq!(kernel.statuses(&foshan, "misc.usage").await[0].newest_period, "20260103");
    let kernel = kernel.restarted(|_| {}).await;
    let restated = kernel.send(&foshan, &day("misc.usage.440600.20260103.txt.gz", &[(3, "a", 3)])).await.unwrap();
    assert_eq!((restated.rows_taken, restated.rows_restated), (1, 2));
    assert_eq!(kernel.table(&foshan, USAGE).await, ["3|a|3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_hold_rows_of_another_is_refused_until_that_one_is_taken_back() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let file = |period: &str, events: u64| Sent::new(&format!("misc.usage.440600.{period}.txt.gz"), &usage(number(1), "a", "20260102", events));
    let cases = [("20260102", "202601"), ("202601", "20260102"), ("20260102.01", "20260102"), ("20260102", "20260102.02"), ("202601", "20260102.02")];
    for (round, (there, beside)) in cases.into_iter().enumerate() {
        let (there, beside) = (file(there, 1 + round as u64), file(beside, 100));
        kernel.send(&foshan, &there).await.unwrap();
        let refused = kernel.send(&foshan, &beside).await.unwrap_err();
        assert_eq!(reason(&refused), "FILE_REFUSED", "{} beside {}", beside.name, there.name);
        assert!(refused.message().contains("is in, so that rows would count twice"), "{}", refused.message());
        assert_eq!(kernel.number(&foshan, "select count(*) from usage").await, 1);
        kernel.retract(&foshan, &there).await.unwrap();
        kernel.send(&foshan, &beside).await.unwrap();
        kernel.retract(&foshan, &beside).await.unwrap();
    }
    // The keys of a dataset that keeps the latest tell which rows are meant.
    for period in ["20260105", "202601"] {
        kernel.send(&foshan, &Sent::new(&format!("boss.enrolment.440600.{period}.txt.gz"), &enrolment("e1", 1, period, "1"))).await.unwrap();
    }
    assert_eq!(kernel.table(&foshan, "select enrolment_id, revision from enrolment").await, ["e1|2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_stays_until_the_file_that_had_it_came() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let good = day(NAME, &[(1, "a", 1)]);
    let wrong = Sent { rows: 7, ..good.clone() };
    kernel.send(&foshan, &wrong).await.unwrap_err();
    let last_error = async || kernel.statuses(&foshan, "misc.usage").await.remove(0).last_error;
    assert!(last_error().await.contains("7"), "{}", last_error().await);
    kernel.send(&foshan, &day("misc.usage.440600.20260103.txt.gz", &[(1, "a", 1)])).await.unwrap();
    assert!(!last_error().await.is_empty(), "another day came");
    kernel.send(&foshan, &good).await.unwrap();
    assert_eq!(last_error().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_those_of_the_control_file_leave_an_error() {
    let kernel = kernel().await;
    let foshan = city_caller("440600");
    let (sent, other) = (day(NAME, &[(1, "a", 1)]), day(NAME, &[(1, "a", 2)]));
    let mut header = sent.header();
    header.control_file = other.control();
    assert_eq!(reason(&kernel.import_parts(&foshan, header, &sent.bytes).await.unwrap_err()), "FILE_REFUSED");
    let status = kernel.statuses(&foshan, "misc.usage").await.remove(0);
    assert!(status.last_error.contains(&sent.sha256()), "{}", status.last_error);
}
