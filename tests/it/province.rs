//! The sample province through the doors: what the kernel counts and sums is what the generator says that it wrote, per feed, city and period.
//!
//! The generator counts each row as it writes it and knows neither contracts nor kernel.

use std::collections::BTreeMap;

use backplane_proto::ingest::v1::ImportResult;
use backplane_tests::{FeedFile, Kernel, Province, import_all};
use sample_province::FileTotal;
use serde_json::Value;

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

/// Datasets in which rows stay, with their feeds, the SQL of a row's file period as a day, and what the generator sums of them.
const APPEND: [(&str, &[&str], &str, &[&str]); 6] = [
    ("usage", &["misc.usage", "base.activity"], "day", &["events", "quantity", "seconds", "kb", "fee_fen", "ok_events", "failed_events"]),
    // A bill is posted in the month after the one whose file it stands in.
    ("charge", &["boss.charge"], "cast(posted_at + interval '8' hour - interval '1' month as date)", &["amount_fen"]),
    ("order", &["boss.order", "ringback.order"], "day", &[]),
    ("ringback_setting", &["ringback.setting"], "day", &[]),
    ("delivery", &["base.delivery"], "day", &[]),
    ("interaction", &["portal.access", "portal.click"], "day", &["bytes", "latency_ms", "dwell_ms"]),
];

#[tokio::test]
async fn the_province_comes_to_the_totals_of_its_generator() {
    let province = Province::least();
    let kernel = Kernel::start().await;
    let results = import_what_is_in_time(&kernel, province).await;
    for (total, result) in &results {
        check_file(total, result);
    }
    load_late_file(&kernel, province);
    check_rows_that_stay(&kernel, province);
    check_rows_that_are_replaced(&kernel, province);
    check_completeness(&kernel, province, "202610");
    check_statuses(&kernel, province);
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
    let stays = APPEND.iter().any(|(_, feeds, ..)| feeds.contains(&total.feed));
    let (unchanged, duplicate) = if stays { (0, total.rows_duplicate) } else { (total.rows_duplicate, 0) };
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

/// Row counts and sums of the append datasets, per city and period; of `usage` per feed as well.
fn check_rows_that_stay(kernel: &Kernel, province: &Province) {
    for (dataset, feeds, day, columns) in APPEND {
        let has_feed = dataset == "usage";
        let sums: String = columns.iter().map(|column| format!(", sum({column}) as {column}")).collect();
        let feed = if has_feed { "source_feed" } else { "'any'" };
        let sql = format!(
            r#"select {feed} as feed, city, cast({day} as varchar) as day, count(*) as rows{sums} from "{dataset}" group by {feed}, city, cast({day} as varchar)"#
        );
        let feed_of = |feed: &'static str| if has_feed { feed } else { "any" };
        let totals: Vec<_> = province.summary.files.iter().filter(|total| feeds.contains(&total.feed)).collect();
        let mut expected: BTreeMap<(String, &str, &str), BTreeMap<&str, i64>> = BTreeMap::new();
        for total in totals.iter().filter(|total| total.rows_good > 0) {
            let figures = expected.entry((feed_of(total.feed).to_owned(), &total.city, &total.period)).or_default();
            *figures.entry("rows").or_default() += total.rows_good.cast_signed();
            for column in columns {
                *figures.entry(column).or_default() += total.sums.get(column).copied().unwrap_or(0);
            }
        }
        let mut found: BTreeMap<(String, &str, &str), BTreeMap<&str, i64>> = BTreeMap::new();
        for row in query(kernel, &sql) {
            let (feed, day) = (row["feed"].as_str().unwrap(), row["day"].as_str().unwrap().replace('-', ""));
            let total = totals.iter().find(|total| feed_of(total.feed) == feed && row["city"] == total.city.as_str() && day.starts_with(&total.period));
            let total = total.unwrap_or_else(|| panic!("{dataset} has rows of no file: {row}"));
            let figures = found.entry((feed.to_owned(), &total.city, &total.period)).or_default();
            for column in ["rows"].iter().chain(columns) {
                *figures.entry(column).or_default() += number(&row[*column]);
            }
        }
        assert!(!expected.is_empty());
        for (place, figures) in &expected {
            assert_eq!(found.get(place), Some(figures), "{dataset} {place:?}");
        }
        assert_eq!(found.len(), expected.len(), "{dataset}");
    }
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
