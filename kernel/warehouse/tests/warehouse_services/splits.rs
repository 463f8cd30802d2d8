use std::collections::BTreeSet;

use futures::StreamExt;
use proptest::{
    collection::vec,
    prelude::{Strategy, any},
    sample::Index,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    folders::{self, Folder},
    kernel::{Kernel, city_caller, province},
    platform::{Sent, enrolment, gb18030, number, numbers, usage},
};

// Limit: cases of each property. Each is a few imports into a warehouse on disk, about half a second.
const CASES: usize = 10;

// Limit: cases of each feed's folder, a kernel each.
const FOLDER_CASES: usize = 3;

/// Some values of a strategy, the same in every run.
fn cases<S: Strategy>(strategy: S) -> Vec<S::Value> {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    (0..CASES).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// The lines in parts, and the order in which these are sent, some of them again.
fn sent_in_parts(prefix: &str, suffix: &str, lines: &[String], part_of: &[Index], parts: usize, again: &[Index]) -> Vec<Sent> {
    let part = |part: usize| -> Sent {
        let text: String = lines.iter().zip(part_of).filter(|(_, of)| of.index(parts) == part).map(|(line, _)| line.as_str()).collect();
        Sent::new(&format!("{prefix}.{:02}{suffix}", part + 1), &text)
    };
    let mut order: Vec<usize> = (0..parts).collect();
    // Each part is sent somewhere among those before it, and some once more.
    for index in again {
        let part = index.index(parts);
        let turns = part % order.len();
        order.rotate_left(turns);
        order.insert(index.index(order.len()), part);
    }
    order.into_iter().map(part).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_usage_in_parts_gives_the_rows_of_the_whole() {
    // So few that most earlier keys are looked up on disk.
    let kernel = Kernel::start_with(|settings| settings.keys_in_memory = 2).await;
    let (foshan, day) = (city_caller("440600"), 10);
    kernel.send(&foshan, &numbers(9)).await.unwrap();
    kernel.allow_bad_rows("misc.usage").await;
    // Rows with equal keys are equal: which of them is the first depends on the order, as it must.
    let row = (1u64..5, 0u64..3, any::<bool>());
    let split = (vec(row, 1..40), vec(any::<Index>(), 40), 1usize..5, vec(any::<Index>(), 0..4));
    for (case, (rows, part_of, parts, again)) in cases(split).into_iter().enumerate() {
        let day = day + 2 * case;
        let lines = |day: usize| -> Vec<String> {
            let line = |(customer, product, is_good): &(u64, u64, bool)| {
                let day = if *is_good { format!("202601{day:02}") } else { "20260132".to_owned() };
                // Of the case alone, since a file is known by its bytes.
                usage(number(*customer), &format!("p{product}-{case}"), &day, customer * 10 + product)
            };
            rows.iter().map(line).collect()
        };
        kernel.send(&foshan, &Sent::new(&format!("misc.usage.440600.202601{day:02}.txt.gz"), &lines(day).concat())).await.unwrap();
        for sent in sent_in_parts(&format!("misc.usage.440600.202601{:02}", day + 1), ".txt.gz", &lines(day + 1), &part_of, parts, &again) {
            kernel.send(&foshan, &sent).await.unwrap();
        }
        let of_day = |day: usize| {
            let sql = format!("select customer_id, product_id, events, fee_fen from usage where day = '2026-01-{day:02}' order by 1, 2");
            let (kernel, foshan) = (&kernel, &foshan);
            async move { kernel.table(foshan, &sql).await }
        };
        assert_eq!(of_day(day).await, of_day(day + 1).await, "case {case}: {rows:?} in {parts} parts");
        // Whatever could not be read waits, once a line of its own: parts of the same bytes are one file.
        let waiting = kernel.quarantine(&foshan, "misc.usage").await;
        let of_file = |day: usize| -> BTreeSet<(String, String, String)> {
            let named = waiting.iter().filter(|row| row.file_name.contains(&format!("202601{day:02}")));
            named.map(|row| (row.reason.clone(), row.column.clone(), row.raw_text.clone())).collect()
        };
        assert_eq!(of_file(day), of_file(day + 1), "case {case}: {rows:?} in {parts} parts");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_of_enrolments_in_parts_gives_the_rows_of_the_whole() {
    let (whole, parted, foshan) = (Kernel::start().await, Kernel::start().await, city_caller("440600"));
    // One row per key: of two the later one counts, and parts in another order have another later one.
    let split = (vec(0usize..4, 1..30), vec(any::<Index>(), 30), 1usize..5, vec(any::<Index>(), 0..4));
    for (case, (statuses, part_of, parts, again)) in cases(split).into_iter().enumerate() {
        let lines: Vec<String> =
            statuses.iter().enumerate().map(|(row, status)| enrolment(&format!("e{row}"), row as u64, "p1", ["1", "2", "3", "4"][*status])).collect();
        let prefix = format!("boss.enrolment.440600.2026{:02}", case + 1);
        whole.send(&foshan, &Sent::new(&format!("{prefix}.txt.gz"), &lines.concat())).await.unwrap();
        for sent in sent_in_parts(&prefix, ".txt.gz", &lines, &part_of, parts, &again) {
            parted.send(&foshan, &sent).await.unwrap();
        }
        let sql = "select enrolment_id, customer_id, package_id, status, starts_on from enrolment order by 1";
        assert_eq!(whole.table(&foshan, sql).await, parted.table(&foshan, sql).await, "case {case}: {statuses:?} in {parts} parts");
    }
}

/// The records of a file's text: its lines, and where fields may be quoted those that a quote holds together. What follows a quote that does not end is told
/// apart by the reader, and is one piece here.
fn records(text: &[u8], may_be_quoted: bool) -> Vec<Vec<u8>> {
    let (mut records, mut open): (Vec<Vec<u8>>, bool) = (Vec::new(), false);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let continues = open;
        open ^= may_be_quoted && line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        match records.last_mut() {
            Some(record) if continues => record.extend_from_slice(line),
            _ => records.push(line.to_vec()),
        }
    }
    records
}

/// How many rows a record stands for: none where there is nothing, and a line each after a quote that does not end.
fn rows_of(record: &[u8], may_be_quoted: bool) -> u64 {
    let is_open = may_be_quoted && record.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
    let rows = |text: &[u8]| u64::from(!text.trim_ascii().is_empty());
    if is_open { record.split(|byte| *byte == b'\n').map(rows).sum() } else { rows(record) }
}

/// What a kernel has of a feed: rows without their revision, which counts how often they came, and what waits.
async fn found(kernel: &Kernel, folder: &Folder) -> (Vec<String>, BTreeSet<(String, String, String)>) {
    let mut rows = kernel.table(&province(), &folder.case.query.replace(", revision from", " from")).await;
    rows.sort();
    let waiting = kernel.quarantine(&province(), &folder.feed).await;
    (rows, waiting.into_iter().map(|row| (row.column, row.reason, row.raw_text)).collect())
}

/// Every feed's ugly file cut into pieces of its own, as an extract that is sent in parts, in any order.
async fn split_differs(feed: String) -> String {
    let whole = folders::lenient_kernel(&feed).await;
    let folder = Folder::read(&whole, &feed).await;
    whole.send(&province(), &folder.sent(&folder.file_name, &folder.text, folder.case.records)).await.unwrap();
    let expected = found(&whole, &folder).await;
    let mut pieces = records(&folder.text, folder.has_header());
    let header = if folder.has_header() { pieces.remove(0) } else { Vec::new() };
    let rows: u64 = pieces.iter().map(|piece| rows_of(piece, folder.has_header())).sum();
    assert_eq!(rows, folder.case.records, "{feed}: the pieces are not its records");
    let (stem, suffix) = folder.file_name.match_indices('.').nth(3).map(|(at, _)| folder.file_name.split_at(at)).unwrap();
    let splits = cases((vec(any::<Index>(), 1..4), vec(any::<Index>(), 0..6)));
    for (case, (cuts, order)) in splits.into_iter().take(FOLDER_CASES).enumerate() {
        let kernel = folders::lenient_kernel(&feed).await;
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(pieces.len())).chain([0, pieces.len()]).collect();
        cuts.sort_unstable();
        let parts: Vec<Sent> = cuts
            .windows(2)
            .enumerate()
            .map(|(part, range)| {
                let text = [&header[..], &pieces[range[0]..range[1]].concat()].concat();
                let rows = pieces[range[0]..range[1]].iter().map(|piece| rows_of(piece, folder.has_header())).sum();
                folder.sent(&format!("{stem}.{:02}{suffix}", part + 1), &text, rows)
            })
            .collect();
        let sent: Vec<usize> = order.iter().map(|part| part.index(parts.len())).chain(0..parts.len()).collect();
        for part in &sent {
            kernel.send(&province(), &parts[*part]).await.unwrap();
        }
        let came = found(&kernel, &folder).await;
        if came != expected {
            return format!("{feed}, case {case}, cut at {cuts:?}, sent as {sent:?}:\n  whole {expected:?}\n  parts {came:?}\n");
        }
    }
    String::new()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_feeds_file_in_parts_gives_the_rows_and_the_quarantine_of_the_whole() {
    let differs: Vec<String> = futures::stream::iter(folders::names()).map(split_differs).buffered(4).collect().await;
    assert!(differs.concat().is_empty(), "{}", differs.concat());
}

/// A line of tickets as customer service sends them, good and bad: `{n}` is the row's number.
const TICKETS: [&str; 8] = [
    "t{n},13900000001,2026-01-02 10:00:00,1,hotline,,,,,,问套餐,,,,\n",
    "t{n},13900000001,2026-01-02 10:00:00,2,hotline,,,,,,\"第一行\n\n第\"\"三\"\"行\",,,,1\r\n",
    "t{n},13999999999,2026-01-02 10:00:00,1,hotline,,,,,,等号码,,,,\n",
    "t{n},13900000001,2026-01-32 10:00:00,1,hotline,,,,,,错,,,,\n",
    "t{n},13900000001,2026-01-02 10:00:00,1,hotline,,,,,,\"两行\n少一个字段\",,,\n",
    "\n",
    "junk\r\n",
    "t0,13900000001,2026-01-02 10:00:00,{k},hotline,,,,,,同一张单,,,,\n",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_size_of_chunks_changes_neither_rows_nor_quarantine() {
    let foshan = city_caller("440600");
    let header = "ticket_no,caller_no,accept_time,ticket_type,accept_channel,about_channel,prod_id,pkg_id,class_code,class_version,content,staff_id,close_time,close_type,satisfied\n";
    let files = cases((vec(0..TICKETS.len(), 1..60), any::<bool>(), 1usize..40, 1usize..2_000));
    for (case, (rows, ends_open, chunk_lines, chunk_bytes)) in files.into_iter().enumerate() {
        let row = |(n, kind): (usize, &usize)| TICKETS[*kind].replace("{n}", &(n + 1).to_string()).replace("{k}", &(1 + n % 4).to_string());
        let mut text: String = header.to_owned() + &rows.iter().enumerate().map(row).collect::<String>();
        if ends_open {
            text.push_str("t99,13900000001,2026-01-02 10:00:00,1,hotline,,,,,,\"没有结束,,,,\nt100,13900000001,2026-01-02 10:00:00,1,hotline,,,,,,尾,,,,");
        }
        let records = rows.iter().filter(|kind| TICKETS[**kind] != "\n").count() as u64 + if ends_open { 2 } else { 0 };
        let sent = Sent { bytes: gb18030(&text), rows: records, ..Sent::new("service.ticket.440600.20260102.csv", "") };
        let mut found = Vec::new();
        for (chunk_lines, chunk_bytes) in [(1_000_000, 32 << 20), (chunk_lines, 32 << 20), (1_000_000, chunk_bytes), (1, 1)] {
            let kernel = Kernel::start_with(|settings| (settings.chunk_lines, settings.chunk_bytes) = (chunk_lines, chunk_bytes)).await;
            kernel.send(&foshan, &numbers(1)).await.unwrap();
            kernel.allow_bad_rows("service.ticket").await;
            let taken = kernel.send(&foshan, &sent).await.unwrap();
            let mut bad: Vec<_> = kernel
                .quarantine(&foshan, "service.ticket")
                .await
                .into_iter()
                .map(|row| (row.line, row.column, row.reason, row.message, row.raw_text))
                .collect();
            bad.sort();
            let sql = "select ticket_id, customer_id, at, kind, text, satisfied from ticket order by 1";
            found.push((taken.lines, taken.rows_quarantined, taken.quarantine_reasons, kernel.table(&foshan, sql).await, bad));
        }
        for (index, other) in found[1..].iter().enumerate() {
            assert_eq!(&found[0], other, "case {case}, {index}: {chunk_lines} lines, {chunk_bytes} bytes of {text:?}");
        }
    }
}
