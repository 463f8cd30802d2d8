use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use backplane_proto::{
    ingest::v1::{TryFeedRequest, TryFeedResponse},
    warehouse::v1::{GetDatasetContractRequest, PutDatasetRequest, QueryRequest},
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{
    kernel::{Answer, Kernel, city_caller, province, reader, reason},
    platform::{Sent, enrolment, gb18030, gzip, number, numbers, usage},
};

pub(crate) const VISIT: &str = "name: hall_visit
purpose: Who came to a hall.
owner: channel-management
mode: append
visibility: city
key: [visit_id]
columns:
  - {name: city, type: text, nullable: false, class: public, meaning: City}
  - {name: visit_id, type: text, nullable: false, class: internal, meaning: Number of the visit}
  - {name: at, type: instant, nullable: false, class: internal, meaning: When}
  - {name: day, type: day, nullable: false, class: internal, meaning: The day of at}
  - {name: visitors, type: integer, nullable: true, class: internal, meaning: How many}
";

const VISIT_FEED: &str = "name: halls.visit
platform: halls
dataset: hall_visit
file_name: \"halls.visit.{city}.{period}.csv\"
format: csv
bad_rows_permille_max: 500
columns:
  - {column: visit_id, from: id, rule: text}
  - {column: at, from: came, rule: local_time}
  - {column: visitors, from: count, rule: integer}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_column_never_leaves() {
    let kernel = Kernel::start().await;
    let vault = format!("{VISIT}  - {{name: pin, type: text, nullable: true, class: secret, meaning: What opens the door}}\n");
    kernel.put_dataset(&vault, 0).await.unwrap();
    let columns: [(&str, ArrayRef); 3] = [
        ("visit_id", Arc::new(StringArray::from(vec!["v1"]))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![crate::kernel::NOW]).with_timezone("UTC"))),
        ("pin", Arc::new(StringArray::from(vec!["4711"]))),
    ];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    kernel.append_bytes(&city_caller("440600"), "hall_visit", "k", crate::kernel::ipc(&rows)).await.unwrap();
    // Not even central operations, who may do everything.
    for caller in [city_caller("440600"), province()] {
        assert_eq!(kernel.table(&caller, "select * from hall_visit").await, ["440600|v1|2026-01-01T00:00:00Z|2026-01-01|null"]);
        for sql in ["select pin from hall_visit", "select count(*) from hall_visit where pin = '4711'", "select 1 from hall_visit group by pin"] {
            let status = kernel.query(&caller, sql).await.unwrap_err();
            assert_eq!(reason(&status), "SQL_INVALID", "{sql}");
            assert!(!status.message().contains("4711"), "{}", status.message());
        }
        let request = backplane_proto::warehouse::v1::DescribeDatasetRequest { dataset: "hall_visit".to_owned() };
        let described = kernel.reading(&caller).describe_dataset(request).await.unwrap().into_inner();
        assert!(described.columns.iter().all(|column| column.name != "pin"));
    }
}

impl Kernel {
    pub(crate) async fn put_dataset(&self, document: &str, after_revision: i64) -> Result<i64, Status> {
        let request = PutDatasetRequest { document: document.to_owned(), after_revision };
        self.reading(&province()).put_dataset(request).await.map(|answer| answer.into_inner().revision)
    }

    async fn dataset_contract(&self, name: &str) -> (String, i64) {
        let request = GetDatasetContractRequest { name: name.to_owned() };
        let contract = self.reading(&province()).get_dataset_contract(request).await.unwrap().into_inner();
        (contract.document, contract.revision)
    }

    async fn try_feed(&self, request: TryFeedRequest) -> Result<TryFeedResponse, Status> {
        self.ingest(&province()).try_feed(request).await.map(tonic::Response::into_inner)
    }
}

/// Line and column that an error names.
fn place(status: &Status) -> (String, String) {
    let details = status.get_error_details();
    let metadata = &details.error_info().unwrap().metadata;
    (metadata["line"].clone(), metadata["column"].clone())
}

fn visits(rows: &str) -> Sent {
    Sent::new("halls.visit.440600.20260102.csv", &format!("id,came,count\n{rows}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_and_its_feed_can_be_added_while_the_kernel_runs() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    assert_eq!(reason(&kernel.put_feed(VISIT_FEED, 0).await.unwrap_err()), "CONTRACT_INVALID", "there is no such dataset yet");
    assert_eq!(kernel.put_dataset(VISIT, 0).await.unwrap(), 1);
    assert_eq!(kernel.put_feed(VISIT_FEED, 0).await.unwrap(), 1);
    kernel.send(&foshan, &visits("v1,2026-01-02 10:00:00,3\nv2,2026-01-02 11:00:00,\nv3,today,1\n")).await.unwrap();
    let sql = "select city, visit_id, day, visitors from hall_visit order by 2";
    let rows = ["440600|v1|2026-01-02|3", "440600|v2|2026-01-02|null"];
    assert_eq!(kernel.table(&foshan, sql).await, rows);
    let kernel = kernel.restarted(|_| {}).await;
    assert_eq!(kernel.table(&reader("440600"), sql).await, rows);
    assert!(kernel.table(&reader("441900"), sql).await.is_empty(), "another city does not see it");
    assert_eq!((kernel.dataset_contract("hall_visit").await, kernel.feed_contract("halls.visit").await), ((VISIT.to_owned(), 1), (VISIT_FEED.to_owned(), 1)));
    kernel.send(&foshan, &Sent::new("halls.visit.440600.20260103.csv", "id,came,count\nv4,2026-01-03 10:00:00,4\n")).await.unwrap();
    assert_eq!(kernel.number(&foshan, "select count(*) from hall_visit").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_follows_the_newest_or_is_refused() {
    let kernel = Kernel::start().await;
    kernel.put_dataset(VISIT, 0).await.unwrap();
    kernel.put_feed(VISIT_FEED, 0).await.unwrap();
    for after in [0, 2, -1] {
        for status in [kernel.put_dataset(VISIT, after).await.unwrap_err(), kernel.put_feed(VISIT_FEED, after).await.unwrap_err()] {
            assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "REVISION_CONFLICT"), "after {after}");
            assert!(status.message().contains("is 1: read it"), "{}", status.message());
        }
    }
    assert_eq!(reason(&kernel.put_feed(&VISIT_FEED.replace("halls.visit", "halls.other"), 1).await.unwrap_err()), "REVISION_CONFLICT");
    // Of several at once one is taken.
    let puts = futures::future::join_all((0..4).map(|_| kernel.put_feed(VISIT_FEED, 1))).await;
    assert_eq!(puts.iter().filter(|put| put.as_ref().is_ok_and(|revision| *revision == 2)).count(), 1, "{puts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_contract_is_refused_with_line_and_column_and_changes_nothing() {
    let kernel = Kernel::start().await;
    kernel.put_dataset(VISIT, 0).await.unwrap();
    kernel.put_dataset(&VISIT.replace("name: hall_visit", "name: other_visit"), 0).await.unwrap();
    kernel.put_feed(VISIT_FEED, 0).await.unwrap();
    for (from, to, at, expected) in [
        ("dataset: hall_visit", "dataset: other_visit", ("3", "1"), "the feed writes 'hall_visit', which cannot change"),
        ("dataset: hall_visit", "dataset: nothing", ("3", "10"), "there is no contract of such a dataset"),
        ("column: visitors", "column: guests", ("10", "14"), "'guests': the dataset has no such column"),
        ("rule: integer", "rule: yen", ("10", "43"), "yen"),
        ("rule: local_time", "rule: integer", ("9", "14"), "does not give the column's type, instant"),
        ("  - {column: at, from: came, rule: local_time}\n", "", ("1", "7"), "'at' comes from, and it may not be null"),
        (".{city}.{period}", ".{period}", ("4", "12"), "{city} and {period}"),
        ("permille_max: 500", "permille_max: 1001", ("1", "7"), "a share of 1,000"),
        ("format: csv", "format: csv\nseparator: \"|\"", ("6", "12"), "for the format separated"),
        ("format: csv", "format: csv\ncolour: red", ("6", "1"), "colour"),
        ("platform: halls", "platform: [halls", ("3", "1"), ""),
    ] {
        let status = kernel.put_feed(&VISIT_FEED.replacen(from, to, 1), 1).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "CONTRACT_INVALID"), "{to}: {}", status.message());
        let (line, column) = place(&status);
        assert!(status.message().contains(expected), "{to}: {}", status.message());
        if !expected.is_empty() {
            assert_eq!((line.as_str(), column.as_str()), at, "{to}: {}", status.message());
        }
    }
    for (from, to, line, expected) in [
        ("type: integer", "type: number", "12", "number"),
        ("key: [visit_id]", "key: [visitors]", "6", "cannot be nullable"),
        ("class: public", "class: personal", "8", "mask"),
    ] {
        let status = kernel.put_dataset(&VISIT.replacen(from, to, 1), 1).await.unwrap_err();
        assert_eq!((reason(&status).as_str(), place(&status).0.as_str()), ("CONTRACT_INVALID", line), "{to}: {}", status.message());
        assert!(status.message().contains(expected), "{to}: {}", status.message());
    }
    let long = format!("{VISIT}#{}", "x".repeat(1 << 20));
    assert_eq!(reason(&kernel.put_dataset(&long, 1).await.unwrap_err()), "FIELD_INVALID");
    assert_eq!((kernel.dataset_contract("hall_visit").await.1, kernel.feed_contract("halls.visit").await.1), (1, 1));
    kernel.send(&city_caller("440600"), &visits("v1,2026-01-02 10:00:00,3\n")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_keeps_what_its_readers_and_feeds_rely_on() {
    let kernel = Kernel::start().await;
    kernel.put_dataset(VISIT, 0).await.unwrap();
    kernel.put_feed(VISIT_FEED, 0).await.unwrap();
    let visitors = "  - {name: visitors, type: integer, nullable: true, class: internal, meaning: How many}\n";
    for (from, to, expected) in [
        (visitors, "", "the column 'visitors' is gone"),
        ("type: integer", "type: text", "has another type"),
        ("name: visitors", "name: guests", "the column 'visitors' is gone"),
        ("visitors, type: integer, nullable: true", "visitors, type: integer, nullable: false", "nullability"),
        (
            visitors,
            "  - {name: staff, type: text, nullable: true, class: internal, meaning: m}\n  - {name: visitors, type: integer, nullable: true, class: internal, meaning: m}\n",
            "stands where 'visitors' stood",
        ),
        ("How many}\n", "How many}\n  - {name: staff, type: text, nullable: false, class: internal, meaning: m}\n", "'staff' must be nullable"),
        ("mode: append", "mode: latest", "CONTRACT_INVALID"),
        ("visibility: city", "visibility: shared", "mode, visibility and key cannot change"),
        ("key: [visit_id]", "key: [visit_id, at]", "mode, visibility and key cannot change"),
    ] {
        let status = kernel.put_dataset(&VISIT.replacen(from, to, 1), 1).await.unwrap_err();
        if expected == "CONTRACT_INVALID" {
            assert_eq!(reason(&status), expected, "a dataset of mode latest has a revision");
            continue;
        }
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "CONTRACT_BREAKS"), "{to}: {}", status.message());
        assert!(status.message().contains(expected), "{to}: {}", status.message());
    }
    // Values that a feed writes cannot be taken out of the list either; the feed is named.
    let (order, revision) = kernel.dataset_contract("order").await;
    let status = kernel.put_dataset(&order.replace("values: [ok, failed]", "values: [ok]"), revision).await.unwrap_err();
    assert_eq!(reason(&status), "CONTRACT_BREAKS", "{}", status.message());
    assert!(status.message().contains("boss.order"), "{}", status.message());
    // Words may change, and the rows stay where they are.
    let foshan = city_caller("440600");
    kernel.send(&foshan, &visits("v1,2026-01-02 10:00:00,3\n")).await.unwrap();
    assert_eq!(kernel.put_dataset(&VISIT.replace("How many", "How many people"), 1).await.unwrap(), 2);
    assert_eq!(kernel.number(&foshan, "select count(*) from hall_visit").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_is_null_in_old_rows_and_unknown_to_old_snapshots() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.put_dataset(VISIT, 0).await.unwrap();
    kernel.put_feed(VISIT_FEED, 0).await.unwrap();
    let old = kernel.send(&foshan, &visits("v1,2026-01-02 10:00:00,3\n")).await.unwrap().snapshot_id;
    kernel.put_dataset(&format!("{VISIT}  - {{name: staff, type: text, nullable: true, class: internal, meaning: Who received them}}\n"), 1).await.unwrap();
    let sql = "select visit_id, visitors, staff from hall_visit order by 1";
    assert_eq!(kernel.table(&foshan, sql).await, ["v1|3|null"]);
    kernel.put_feed(&format!("{VISIT_FEED}  - {{column: staff, from: staff, rule: text}}\n"), 1).await.unwrap();
    let newer = Sent::new("halls.visit.440600.20260103.csv", "id,came,count,staff\nv2,2026-01-03 10:00:00,4,陈\n");
    kernel.send(&foshan, &newer).await.unwrap();
    for kernel in [kernel.restarted(|_| {}).await] {
        assert_eq!(kernel.table(&foshan, sql).await, ["v1|3|null", "v2|4|陈"]);
        let pinned = |sql: &str| QueryRequest { sql: sql.to_owned(), snapshot_id: old, ..QueryRequest::default() };
        let answer: Answer = kernel.ask(&foshan, pinned("select visit_id, visitors from hall_visit")).await.unwrap();
        assert_eq!((answer.lines(), answer.snapshot_id), (vec!["v1|3".to_owned()], old));
        // The file that lacks the column that the feed reads now.
        let status = kernel.send(&foshan, &Sent::new("halls.visit.440600.20260104.csv", "id,came,count\nv3,2026-01-04 10:00:00,4\n")).await.unwrap_err();
        assert!(status.message().contains("its header lacks the column 'staff'"), "{}", status.message());
        // What came before the column was there is restated and taken back as ever.
        let again = kernel.send(&foshan, &Sent::new("halls.visit.440600.20260102.csv", "id,came,count,staff\nv1,2026-01-02 10:00:00,5,李\n")).await.unwrap();
        assert_eq!((again.rows_taken, again.rows_restated), (1, 1));
        assert_eq!(kernel.retract(&foshan, &newer).await.unwrap().rows_removed, 1);
        assert_eq!(kernel.table(&foshan, sql).await, ["v1|5|李"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_from_before_a_new_column_return_when_what_replaced_them_is_taken_back() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.send(&foshan, &Sent::new("boss.enrolment.440600.202601.txt.gz", &enrolment("e1", 1, "p1", "1"))).await.unwrap();
    let (document, revision) = kernel.dataset_contract("enrolment").await;
    kernel
        .put_dataset(&format!("{}\n  - {{name: remark, type: text, nullable: true, class: internal, meaning: m}}\n", document.trim_end()), revision)
        .await
        .unwrap();
    let newer = Sent::new("boss.enrolment.440600.202602.txt.gz", &enrolment("e1", 1, "p2", "1"));
    kernel.send(&foshan, &newer).await.unwrap();
    assert_eq!(kernel.retract(&foshan, &newer).await.unwrap().rows_restored, 1);
    assert_eq!(kernel.table(&foshan, "select enrolment_id, package_id, revision, remark from enrolment").await, ["e1|p1|3|null"]);
}

fn sample(feed: &str, name: &str, sample: Vec<u8>) -> TryFeedRequest {
    TryFeedRequest { feed: feed.to_owned(), file_name: name.to_owned(), sample: sample.into(), ..TryFeedRequest::default() }
}

fn shown(answer: &TryFeedResponse) -> Vec<String> {
    let reader = arrow_ipc::reader::StreamReader::try_new(&answer.ipc[..], None).unwrap();
    Answer { snapshot_id: 0, schema: reader.schema(), batches: reader.map(Result::unwrap).collect() }.lines()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_is_tried_on_a_sample_and_nothing_is_written() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let snapshot = kernel.send(&foshan, &numbers(9)).await.unwrap().snapshot_id;
    let name = "misc.usage.440600.20260102.txt.gz";
    let rows = [usage(number(1), "a", "20260102", 1), usage(number(99), "a", "20260102", 2), usage(number(2), "a", "20260230", 3)].concat();
    let answer = kernel.try_feed(sample("misc.usage", name, gzip(rows.as_bytes()))).await.unwrap();
    assert_eq!((answer.records, answer.rows_good), (3, 1));
    assert_eq!(shown(&answer), ["440600|1|a|2026-01-02|misc.usage|1|1|0|0|150|1|0"]);
    let bad: Vec<_> = answer.bad.iter().map(|row| (row.line, row.column.as_str(), row.reason.as_str(), row.city.as_str(), row.file_name.as_str())).collect();
    assert_eq!(bad, [(2, "customer_id", "NUMBER_UNKNOWN", "440600", name), (3, "day", "DAY_INVALID", "440600", name)]);

    // The beginning of a longer file: the stream is cut off, and so is the last line that comes out of it.
    let many: String = (0..20_000).map(|row| usage(number(1 + row % 9), &format!("p{}", row * 7_919 % 20_011), "20260102", row)).collect();
    let mut beginning = gzip(many.as_bytes());
    beginning.truncate(beginning.len() / 2);
    assert!(!answer.is_cut);
    // A megabyte of gzip may hold a gigabyte.
    let line = usage(number(1), "p", "20260102", 1);
    let large = kernel.try_feed(sample("misc.usage", name, gzip(line.repeat((65 << 20) / line.len()).as_bytes()))).await.unwrap();
    assert_eq!((large.is_cut, large.records), (true, ((64 << 20) / line.len()) as i64));
    let cut = kernel.try_feed(TryFeedRequest { is_beginning: true, ..sample("misc.usage", name, beginning.clone()) }).await.unwrap();
    assert!(cut.rows_good > 1_000 && cut.rows_good == cut.records && cut.bad.is_empty(), "{} of {}: {:?}", cut.rows_good, cut.records, cut.bad.first());
    assert_eq!(shown(&cut).len(), 1_000, "the first of them are shown");
    for (what, request, expected) in [
        ("cut off", sample("misc.usage", name, beginning), "FILE_REFUSED"),
        ("not compressed", sample("misc.usage", name, b"plain".to_vec()), "FILE_REFUSED"),
        ("too large", sample("misc.usage", name, vec![0; (1 << 20) + 1]), "FIELD_INVALID"),
        ("unknown", sample("no.such", name, Vec::new()), "FEED_UNKNOWN"),
        ("both", TryFeedRequest { document: VISIT_FEED.to_owned(), ..sample("misc.usage", name, Vec::new()) }, "FIELD_INVALID"),
        ("wrong", TryFeedRequest { document: "name: x".to_owned(), ..sample("", name, Vec::new()) }, "CONTRACT_INVALID"),
        ("a header too few", sample("ref.city", "ref.city.440000.20260101.csv", b"city,name_zh\n".to_vec()), "FILE_REFUSED"),
    ] {
        assert_eq!(reason(&kernel.try_feed(request).await.unwrap_err()), expected, "{what}");
    }

    // A contract that is being written, by its text; the name does not say the city, so that the call does.
    let (document, _) = kernel.feed_contract("ringback.setting").await;
    let new = document.replace("name: ringback.setting", "name: ringback.new").replace("\"1\": set", "\"set\": set");
    let csv = "setting_no,msisdn,set_time,tone_code,set_scope,set_type\ng1,13900000001,2026-01-02 08:00:00,t1,0,set\n";
    let request = TryFeedRequest { document: new, city: "440600".to_owned(), ..sample("", "today.csv", gb18030(csv)) };
    let answer = kernel.try_feed(request).await.unwrap();
    assert_eq!(shown(&answer), ["440600|g1|1|2026-01-02T00:00:00Z|2026-01-02|t1|all|set"]);

    assert_eq!(kernel.query(&foshan, "select 1").await.unwrap().snapshot_id, snapshot, "no snapshot came of it");
    assert!(kernel.quarantine(&foshan, "misc.usage").await.is_empty() && kernel.statuses(&foshan, "misc.usage").await[0].files == 0);
    assert_eq!(std::fs::read_dir(kernel.settings.dir.join("inbox")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_grows_while_a_file_comes_in_loses_neither_rows_nor_columns() {
    const ROWS: usize = 2_000;
    const COLUMNS: i64 = 12;
    let kernel = Kernel::start_with(|settings| settings.chunk_lines = 50).await;
    let foshan = city_caller("440600");
    kernel.put_dataset(VISIT, 0).await.unwrap();
    kernel.put_feed(VISIT_FEED, 0).await.unwrap();
    let lines: String = (0..ROWS).map(|visit| format!("v{visit},2026-01-02 10:00:00,{}\n", visit % 9)).collect();
    let file = format!("id,came,count\n{lines}");
    let widening = async {
        let mut document = VISIT.to_owned();
        for revision in 1..=COLUMNS {
            document.push_str(&format!("  - {{name: more{revision}, type: text, nullable: true, class: internal, meaning: m}}\n"));
            kernel.put_dataset(&document, revision).await.unwrap();
        }
    };
    let (taken, ()) = tokio::join!(kernel.import(&foshan, "halls.visit", "halls.visit.440600.20260102.csv", file.as_bytes()), widening);
    assert_eq!(taken.unwrap().rows_taken, ROWS as i64);
    let sql = format!("select count(*), count(distinct visit_id), sum(visitors), count(more1), count(more{COLUMNS}) from hall_visit");
    let visitors: usize = (0..ROWS).map(|visit| visit % 9).sum();
    assert_eq!(kernel.table(&foshan, &sql).await, [format!("{ROWS}|{ROWS}|{visitors}|0|0")]);
}
