//! The sample province through the doors: what the kernel counts and sums is what the generator says that it wrote, per file and per feed, city and day.
//!
//! The generator counts each row as it writes it and knows neither contracts nor kernel.

use std::collections::BTreeMap;

use backplane_proto::ingest::v1::ImportResult;
use backplane_tests::{FeedFile, Kernel, Province, import_all};
use sample_province::FileTotal;
use serde_json::Value;

use crate::open_format::duckdb_reads_what_the_kernel_answers;

/// The kernel imports two files at a time; the others' uploads go on meanwhile.
const GROUPS_AT_ONCE: usize = 4;

/// Feeds of datasets in which a row replaces the earlier one with its key.
const LATEST: [(&str, &str); 5] = [
    ("boss.subscriber", "subscriber"),
    ("boss.number", "number_assignment"),
    ("boss.enrolment", "enrolment"),
    ("misc.subscription", "subscription"),
    ("service.ticket", "ticket"),
];

/// A feed whose rows have a day.
struct Dated {
    feed: &'static str,
    dataset: &'static str,
    /// SQL that is true of the feed's rows alone.
    rows: &'static str,
    /// SQL of a row's day.
    day: &'static str,
    /// What the generator sums of them.
    columns: &'static [&'static str],
}

const USE: &[&str] = &["events", "quantity", "seconds", "kb", "fee_fen", "ok_events", "failed_events"];

/// Where two feeds fill a dataset, each is told by what only its rows have: the feed's own name; products of the platform; the status of a request, which a click
/// has not.
const DATED: [Dated; 11] = [
    Dated { feed: "misc.usage", dataset: "usage", rows: "source_feed = 'misc.usage'", day: "day", columns: USE },
    Dated { feed: "base.activity", dataset: "usage", rows: "source_feed = 'base.activity'", day: "day", columns: USE },
    Dated { feed: "boss.charge", dataset: "charge", rows: "true", day: "cast(posted_at + interval '8' hour as date)", columns: &["amount_fen"] },
    Dated {
        feed: "boss.order",
        dataset: "order",
        rows: "product_id is null or product_id not in (select product_id from product where platform = 'ringback')",
        day: "day",
        columns: &[],
    },
    Dated {
        feed: "ringback.order",
        dataset: "order",
        rows: "product_id in (select product_id from product where platform = 'ringback')",
        day: "day",
        columns: &[],
    },
    Dated { feed: "ringback.setting", dataset: "ringback_setting", rows: "true", day: "day", columns: &[] },
    Dated { feed: "base.delivery", dataset: "delivery", rows: "true", day: "day", columns: &[] },
    Dated { feed: "portal.access", dataset: "interaction", rows: "status is not null", day: "day", columns: &["bytes", "latency_ms"] },
    Dated { feed: "portal.click", dataset: "interaction", rows: "status is null", day: "day", columns: &["latency_ms", "dwell_ms"] },
    // Of these a row replaces the earlier one with its key, which keeps its day.
    Dated { feed: "boss.enrolment", dataset: "enrolment", rows: "true", day: "day", columns: &[] },
    Dated { feed: "service.ticket", dataset: "ticket", rows: "true", day: "day", columns: &[] },
];

/// Rows and sums by city and day.
type Days = BTreeMap<(String, String), BTreeMap<&'static str, i64>>;

#[tokio::test]
async fn the_province_comes_to_the_totals_of_its_generator() {
    let province = Province::least();
    let kernel = Kernel::start().await;
    let results = import_what_is_in_time(&kernel, province).await;
    for (total, result) in &results {
        check_file(total, result);
    }
    load_late_file(&kernel, province);
    check_days(&kernel, province);
    check_rows_that_are_replaced(&kernel, province);
    check_completeness(&kernel, province, "202610");
    check_statuses(&kernel, province);
    duckdb_reads_what_the_kernel_answers(&kernel);
}

/// Numbers first, as the platforms are asked to; the months of a feed in a city in their order.
async fn import_what_is_in_time<'a>(kernel: &Kernel, province: &'a Province) -> Vec<(&'a FileTotal, ImportResult)> {
    let mut groups: BTreeMap<_, Vec<FeedFile>> = BTreeMap::new();
    let mut totals = BTreeMap::new();
    for total in province.summary.files.iter().filter(|total| !total.file.starts_with("late/")) {
        let file = province.file(total);
        totals.insert(file.path.clone(), total);
        groups.entry((total.feed != "boss.number", total.feed, &total.city)).or_default().push(file);
    }
    let mut results = Vec::new();
    let groups = groups.into_values().collect();
    import_all(&kernel.call, groups, GROUPS_AT_ONCE, |file, result| {
        results.push((totals[&file.path], result));
        true
    })
    .await
    .unwrap();
    results
}

fn check_file(total: &FileTotal, result: &ImportResult) {
    // What comes twice says the same: a row that replaces changes nothing then, and one that stays is left out.
    let replaces = LATEST.iter().any(|(feed, _)| *feed == total.feed);
    let (unchanged, duplicate) = if replaces { (total.rows_duplicate, 0) } else { (0, total.rows_duplicate) };
    let expected = [total.rows_good, unchanged, duplicate, total.rows_corrupt + total.rows_unknown_number].map(u64::cast_signed);
    assert_eq!([result.rows_taken, result.rows_unchanged, result.rows_duplicate, result.rows_quarantined], expected, "{}: {result:?}", total.file);
    assert!(total.rows() == 0 || !result.duplicate_file, "{}: {result:?}", total.file);
}

fn json(kernel: &Kernel, arguments: &[&str]) -> Value {
    serde_json::from_str(&kernel.cli_ok(&[arguments, &["--json"]].concat())).unwrap()
}

fn number(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default()
}

/// Rows as the command line prints them.
fn query(kernel: &Kernel, sql: &str) -> Vec<Value> {
    let answer: Value = serde_json::from_str(&kernel.cli_ok(&["query", sql, "--format", "json"])).unwrap();
    answer["rows"].as_array().unwrap().clone()
}

/// A month lacks the day whose file is late, until it has come.
fn load_late_file(kernel: &Kernel, province: &Province) {
    let late = province.summary.files.iter().find(|total| total.file.starts_with("late/")).unwrap();
    let row = completeness(kernel, &late.period[..6]).into_iter().find(|row| row["feed"] == late.feed && row["city"] == late.city.as_str()).unwrap();
    assert_eq!((row["complete"].as_bool(), row["missing"].as_array().unwrap().as_slice()), (Some(false), &[Value::from(late.period.as_str())][..]), "{row}");
    let folder = province.path().join("late").display().to_string();
    let loaded = kernel.cli_ok(&["feed", "load", &folder]);
    assert!(loaded.contains(late.feed) && loaded.contains(&late.rows_good.to_string()), "{loaded}");
    // Once more it is known by its digest.
    let before = count(kernel, "usage");
    kernel.cli_ok(&["feed", "load", &folder]);
    assert_eq!(count(kernel, "usage"), before);
}

fn completeness(kernel: &Kernel, month: &str) -> Vec<Value> {
    json(kernel, &["feed", "completeness", month])["rows"].as_array().unwrap().clone()
}

/// Every file of the month is in, the empty ones of quiet months too; where a row names a number that nobody has the month is not complete.
fn check_completeness(kernel: &Kernel, province: &Province, month: &str) {
    let rows = completeness(kernel, month);
    assert!(rows.len() >= 21 * 14, "{} rows", rows.len());
    for row in rows {
        let of_month = province.summary.files.iter().filter(|total| row["feed"] == total.feed && row["city"] == total.city.as_str());
        let waiting: u64 = of_month.filter(|total| total.period.starts_with(month)).map(|total| total.rows_unknown_number).sum();
        assert_eq!(row["missing"].as_array().unwrap().len(), 0, "{row}");
        assert_eq!(number(&row["rowsWaiting"]), waiting.cast_signed(), "{row}");
        assert_eq!(row["complete"], waiting == 0, "{row}");
    }
}

fn count(kernel: &Kernel, dataset: &str) -> i64 {
    number(&query(kernel, &format!(r#"select count(*) as rows from "{dataset}""#))[0]["rows"])
}

/// Good rows and their sums, per feed, city and day; what comes twice or is in quarantine is in neither.
fn check_days(kernel: &Kernel, province: &Province) {
    for dated in &DATED {
        let (expected, found) = (stated_days(province, dated), counted_days(kernel, dated));
        assert!(!expected.is_empty(), "{}", dated.feed);
        for (place, figures) in &expected {
            assert_eq!(found.get(place), Some(figures), "{} {place:?}", dated.feed);
        }
        assert_eq!(found.len(), expected.len(), "{} has rows of days that no file has", dated.feed);
    }
}

/// As the generator says.
fn stated_days(province: &Province, dated: &Dated) -> Days {
    let mut days = Days::new();
    for total in province.summary.files.iter().filter(|total| total.feed == dated.feed) {
        for (day, of_day) in &total.days {
            let figures = days.entry((total.city.clone(), day.to_string())).or_default();
            *figures.entry("rows").or_default() += (of_day.rows_good - of_day.rows_replacing).cast_signed();
            for column in dated.columns {
                *figures.entry(column).or_default() += of_day.sum(column);
            }
        }
    }
    days
}

/// As the table has them.
fn counted_days(kernel: &Kernel, dated: &Dated) -> Days {
    let Dated { dataset, rows, day, columns, .. } = dated;
    let sums: String = columns.iter().map(|column| format!(", sum({column}) as {column}")).collect();
    let sql =
        format!(r#"select city, cast({day} as varchar) as day, count(*) as rows{sums} from "{dataset}" where {rows} group by city, cast({day} as varchar)"#);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let figures = |row: &Value| ["rows"].iter().chain(*columns).map(|column| (*column, number(&row[*column]))).collect();
    query(kernel, &sql).iter().map(|row| ((text(&row["city"]), text(&row["day"])), figures(row))).collect()
}

/// Of the rows of `latest` datasets those are there that none replaced, and each key once.
fn check_rows_that_are_replaced(kernel: &Kernel, province: &Province) {
    for (feed, dataset) in LATEST {
        let mut expected: BTreeMap<&str, i64> = BTreeMap::new();
        let mut replacing = 0;
        for total in province.summary.files.iter().filter(|total| total.feed == feed && total.rows_good > 0) {
            *expected.entry(&total.city).or_default() += (total.rows_good - total.rows_replacing).cast_signed();
            replacing += total.rows_replacing.cast_signed();
        }
        let rows = query(kernel, &format!("select city, count(*) as rows, sum(revision - 1) as replaced from {dataset} group by city"));
        let found: BTreeMap<&str, i64> = rows.iter().map(|row| (row["city"].as_str().unwrap(), number(&row["rows"]))).collect();
        assert_eq!(found, expected, "{dataset}");
        assert_eq!(rows.iter().map(|row| number(&row["replaced"])).sum::<i64>(), replacing, "{dataset}");
    }
}

/// What the feeds say of themselves, per feed and city.
fn check_statuses(kernel: &Kernel, province: &Province) {
    let mut expected: BTreeMap<(&str, &str), [i64; 4]> = BTreeMap::new();
    for total in &province.summary.files {
        let counts = [1, total.rows_good, total.rows_corrupt + total.rows_unknown_number, total.rows_corrupt + total.rows_unknown_number];
        let sums = expected.entry((total.feed, &total.city)).or_default();
        sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count.cast_signed());
    }
    let statuses = json(kernel, &["feed", "status"]);
    let found: BTreeMap<_, _> = statuses["statuses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            assert_eq!((number(&row["filesUnfinished"]), row["lastError"].as_str()), (0, Some("")), "{row}");
            let counts = ["files", "rowsTaken", "rowsQuarantined", "rowsWaiting"].map(|name| number(&row[name]));
            ((row["feed"].as_str().unwrap(), row["city"].as_str().unwrap()), counts)
        })
        .collect();
    for (place, counts) in &expected {
        assert_eq!(found.get(place), Some(counts), "{place:?}: files, rows taken, quarantined, waiting");
    }
    assert_eq!(found.len(), expected.len());
}
