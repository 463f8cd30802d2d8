use std::{sync::Arc, time::Duration};

use arrow_array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use backplane_proto::ingest::v1::{AppendRequest, Completeness, ListCompletenessRequest, ListQuarantineRequest, ReplayQuarantineRequest};

use crate::{
    kernel::{Kernel, city_caller, ipc, province},
    platform::{Sent, number, numbers, usage},
};

const USAGE: &str = "select customer_id, product_id, day, events from usage order by 1, 2, 3";

fn assignments(period: &str, rows: &str) -> Sent {
    Sent::new(&format!("boss.number.440600.{period}.txt.gz"), rows)
}

async fn completeness(kernel: &Kernel, feed: &str, month: &str) -> Completeness {
    let request = ListCompletenessRequest { month: month.to_owned(), feeds: vec![feed.to_owned()] };
    kernel.ingest(&city_caller("440600")).list_completeness(request).await.unwrap().into_inner().rows.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_with_an_unknown_number_waits_and_comes_in_with_its_assignment() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let name = "misc.usage.440600.20260102.txt.gz";
    let rows = [usage(13_900_000_001, "a", "20260102", 1), usage(13_900_000_002, "a", "20260102", 2), usage(13_900_000_003, "a", "20260102", 3)];
    // Every row waits, which is no reason to refuse the file.
    let taken = kernel.send(&foshan, &Sent::new(name, &rows.concat())).await.unwrap();
    assert_eq!((taken.rows_taken, taken.rows_quarantined), (0, 3));
    assert_eq!(taken.quarantine_reasons.iter().map(|count| (count.reason.as_str(), count.rows)).collect::<Vec<_>>(), [("NUMBER_UNKNOWN", 3)]);
    let waiting = kernel.quarantine(&foshan, "misc.usage").await;
    assert!(waiting.iter().all(|row| row.reason == "NUMBER_UNKNOWN" && row.column == "customer_id"), "{waiting:?}");
    assert_eq!(completeness(&kernel, "misc.usage", "202601").await.rows_waiting, 3);

    let some = "13900000001|1|20200101|\\N\n13900000002|2|20260103|\\N\n";
    kernel.send(&foshan, &assignments("202512", some)).await.unwrap();
    assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|2026-01-02|1"], "customer 2 has the number only from the next day on");
    assert_eq!(completeness(&kernel, "misc.usage", "202601").await.rows_waiting, 2);
    let status = kernel.statuses(&foshan, "misc.usage").await.remove(0);
    assert_eq!((status.rows_taken, status.rows_quarantined, status.rows_waiting), (1, 3, 2));

    // The file again changes nothing, before and after the others are known.
    assert!(kernel.send(&foshan, &Sent::new(name, &rows.concat())).await.unwrap().duplicate_file);
    let all = "13900000001|1|20200101|\\N\n13900000002|8|20200101|20260103\n13900000002|2|20260103|\\N\n13900000003|3|20260102|20260103\n";
    kernel.send(&foshan, &assignments("202601", all)).await.unwrap();
    let expected = ["1|a|2026-01-02|1", "3|a|2026-01-02|3", "8|a|2026-01-02|2"];
    assert_eq!(kernel.table(&foshan, USAGE).await, expected);
    assert!(kernel.send(&foshan, &Sent::new(name, &rows.concat())).await.unwrap().duplicate_file);
    assert_eq!(kernel.table(&foshan, USAGE).await, expected);
    assert!(kernel.quarantine(&foshan, "misc.usage").await.is_empty());
    let kernel = kernel.restarted(|_| {}).await;
    assert_eq!(kernel.table(&foshan, USAGE).await, expected);
    assert_eq!(completeness(&kernel, "misc.usage", "202601").await.rows_waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_are_held_at_one_time_come_in_past_those_that_still_wait() {
    const ROWS: u64 = 600;
    // A hundred rows or so.
    let kernel = Kernel::start_with(|settings| settings.quarantine_bytes = 5_000).await;
    let foshan = city_caller("440600");
    let number = |row: u64| 13_900_000_000 + row;
    let rows: String = (1..=ROWS).map(|row| usage(number(row), "a", "20260102", 1)).collect();
    let taken = kernel.send(&foshan, &Sent::new("misc.usage.440600.20260102.txt.gz", &rows)).await.unwrap();
    assert_eq!(taken.rows_quarantined, ROWS.cast_signed());
    let assigned = |rows: std::iter::StepBy<std::ops::RangeInclusive<u64>>| rows.map(|row| format!("{}|{row}|20200101|\\N\n", number(row))).collect::<String>();
    kernel.send(&foshan, &assignments("202512", &assigned((1..=ROWS).step_by(3)))).await.unwrap();
    let sums = "select count(*), count(distinct customer_id), sum(customer_id) from usage";
    let third = ROWS / 3;
    assert_eq!(kernel.table(&foshan, sums).await, [format!("{third}|{third}|{}", (1..=ROWS).step_by(3).sum::<u64>())]);
    assert_eq!(completeness(&kernel, "misc.usage", "202601").await.rows_waiting, (ROWS - third).cast_signed());
    let asked = ReplayQuarantineRequest { feed: "misc.usage".to_owned(), ..ReplayQuarantineRequest::default() };
    let replayed = kernel.ingest(&foshan).replay_quarantine(asked).await.unwrap().into_inner();
    assert_eq!((replayed.rows_taken, replayed.rows_still_bad), (0, (ROWS - third).cast_signed()), "each of them once");
    kernel.send(&foshan, &assignments("202601", &assigned((1..=ROWS).step_by(1)))).await.unwrap();
    assert_eq!(kernel.table(&foshan, sums).await, [format!("{ROWS}|{ROWS}|{}", (1..=ROWS).sum::<u64>())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_record_waits_whole_and_pages_of_long_ones_are_short() {
    const TICKETS: usize = 40;
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    // 60,000 bytes in UTF-8.
    let complaint = "网".repeat(20_000);
    let header = "ticket_no,caller_no,accept_time,ticket_type,accept_channel,about_channel,prod_id,pkg_id,class_code,class_version,content,staff_id,close_time,close_type,satisfied\n";
    let line = |ticket: usize| format!("t{ticket},13900000001,2026-01-02 10:00:00,1,hotline,,,,,,{complaint},,,,\n");
    let file = Sent::new("service.ticket.440600.20260102.csv", &(header.to_owned() + &(0..TICKETS).map(line).collect::<String>()));
    assert_eq!(kernel.send(&foshan, &file).await.unwrap().rows_quarantined, TICKETS as i64);
    let (mut pages, mut request) =
        (Vec::new(), ListQuarantineRequest { feed: "service.ticket".to_owned(), page_size: 1_000, ..ListQuarantineRequest::default() });
    loop {
        let page = kernel.ingest(&foshan).list_quarantine(request.clone()).await.unwrap().into_inner();
        pages.push(page.rows.len());
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert!(pages.iter().all(|rows| *rows <= 17) && pages.iter().sum::<usize>() == TICKETS, "{pages:?}");
    kernel.send(&foshan, &assignments("202601", "13900000001|1|20200101|\\N\n")).await.unwrap();
    assert_eq!(kernel.table(&foshan, "select count(*), min(length(text)), max(length(text)) from ticket").await, [format!("{TICKETS}|20000|20000")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_is_complete_when_no_row_of_it_waits_for_its_number() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let row = "s1\u{1}\\N\u{1}13900000001\u{1}sp1\u{1}10086\u{1}a\u{1}20260102120000\u{1}\\N\u{1}0\u{1}\\N\n";
    kernel.send(&foshan, &Sent::new("misc.subscription.440600.202601.txt.gz", row)).await.unwrap();
    let waits = completeness(&kernel, "misc.subscription", "202601").await;
    assert_eq!((waits.complete, waits.missing.len(), waits.rows_waiting), (false, 0, 1));
    kernel.send(&foshan, &assignments("202601", "13900000001|1|20260101|\\N\n")).await.unwrap();
    let complete = completeness(&kernel, "misc.subscription", "202601").await;
    assert_eq!((complete.complete, complete.rows_waiting), (true, 0));
    assert_eq!(kernel.table(&foshan, "select subscription_id, customer_id, source, revision from subscription").await, ["s1|1|standalone|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_rows_do_not_come_in_with_an_assignment_and_neither_do_duplicates() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.allow_bad_rows("misc.usage").await;
    let rows = [
        usage(13_900_000_001, "a", "20260102", 1),
        usage(13_900_000_001, "a", "20260102", 2),
        usage(13_900_000_001, "a", "20260230", 3),
        usage(139, "a", "20260102", 4),
    ];
    kernel.send(&foshan, &Sent::new("misc.usage.440600.20260102.txt.gz", &rows.concat())).await.unwrap();
    kernel.send(&foshan, &assignments("202512", "13900000001|1|20200101|\\N\n")).await.unwrap();
    assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|2026-01-02|1"]);
    let mut waiting: Vec<_> = kernel.quarantine(&foshan, "misc.usage").await.into_iter().map(|row| (row.line, row.reason)).collect();
    waiting.sort();
    assert_eq!(waiting, [(3, "DAY_INVALID".to_owned()), (4, "NUMBER_INVALID".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_was_given_to_someone_else_belongs_to_who_had_it_that_day() {
    let kernel = Kernel::start().await;
    let (foshan, dongguan) = (city_caller("440600"), city_caller("441900"));
    kernel.send(&foshan, &assignments("202601", "13900000001|1|20200101|20260110\n")).await.unwrap();
    // It goes on in another city: numbers are looked up in the whole province.
    kernel.send(&dongguan, &Sent::new("boss.number.441900.202601.txt.gz", "13900000001|2|20260120|\\N\n")).await.unwrap();
    for day in ["20260109", "20260110", "20260119", "20260120"] {
        let file = Sent::new(&format!("misc.usage.440600.{day}.txt.gz"), &usage(13_900_000_001, "a", day, 1));
        kernel.send(&foshan, &file).await.unwrap();
    }
    assert_eq!(kernel.table(&province(), USAGE).await, ["1|a|2026-01-09|1", "2|a|2026-01-20|1"]);
    assert_eq!(completeness(&kernel, "misc.usage", "202601").await.rows_waiting, 2, "nobody had it between");
}

#[tokio::test(flavor = "multi_thread")]
async fn assignments_come_in_though_a_waiting_row_does_not_fit_its_feed_any_more() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let header = "order_no,msisdn,oper_time,oper_type,prod_code,access_type,cancel_order_no,result,err_code\n";
    let name = "ringback.order.440600.20260102.csv";
    let taken = kernel.send(&foshan, &Sent::new(name, &format!("{header}o1,13900000001,2026-01-02 10:00:00,1,a,1,,0,\n"))).await.unwrap();
    assert_eq!((taken.rows_taken, taken.rows_quarantined), (0, 1));
    // From now on the platform sends another column, which the rows that wait lack.
    let (document, revision) = kernel.feed_contract("ringback.order").await;
    kernel.put_feed(&document.replace("from: err_code", "from: error_code"), revision).await.unwrap();
    let taken = kernel.send(&foshan, &assignments("202601", "13900000001|1|20260101|\\N\n")).await.unwrap();
    assert_eq!(taken.rows_taken, 1);
    assert_eq!(kernel.quarantine(&foshan, "ringback.order").await.len(), 1);
    // When it sends as before again, what waits comes in with the next assignments.
    kernel.put_feed(&document, revision + 1).await.unwrap();
    kernel.send(&foshan, &assignments("202602", "13900000001|1|20260101|\\N\n13900000002|2|20260101|\\N\n")).await.unwrap();
    assert_eq!(kernel.table(&foshan, "select order_id, customer_id from \"order\"").await, ["o1|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_waits_for_a_number_that_came_while_its_file_was_read() {
    const ROWS: u64 = 3_000;
    let foshan = city_caller("440600");
    for _ in 0..5 {
        let kernel = Kernel::start_with(|settings| settings.chunk_lines = 500).await;
        kernel.allow_bad_rows("misc.usage").await;
        let rows: String = (1..=ROWS).map(|row| usage(number(row), "a", "20260102", 1)).collect();
        let (used, assigned) = (Sent::new("misc.usage.440600.20260102.txt.gz", &rows), numbers(ROWS));
        let (one, other) = tokio::join!(kernel.send(&foshan, &used), kernel.send(&foshan, &assigned));
        one.unwrap();
        other.unwrap();
        assert_eq!(kernel.number(&foshan, "select count(*) from usage").await, ROWS.cast_signed());
        assert!(kernel.quarantine(&foshan, "misc.usage").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn assignments_that_are_appended_bring_in_what_waits_for_them() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.allow_bad_rows("misc.usage").await;
    kernel.send(&foshan, &Sent::new("misc.usage.440600.20260102.txt.gz", &usage(number(1), "a", "20260102", 1))).await.unwrap();
    assert_eq!(kernel.quarantine(&foshan, "misc.usage").await.len(), 1);
    let columns: [(&str, ArrayRef); 3] = [
        ("msisdn", Arc::new(StringArray::from(vec![number(1).to_string()]))),
        ("customer_id", Arc::new(Int64Array::from(vec![1]))),
        ("valid_from", Arc::new(Date32Array::from(vec![18_262]))),
    ];
    let ipc = ipc(&RecordBatch::try_from_iter(columns).unwrap());
    let append = AppendRequest { dataset: "number_assignment".to_owned(), ipc: ipc.into(), idempotency_key: "k".to_owned(), ..AppendRequest::default() };
    kernel.ingest(&foshan).append(append).await.unwrap();
    let replayed = async {
        while kernel.number(&foshan, "select count(*) from usage").await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), replayed).await.expect("it comes in by itself");
}
