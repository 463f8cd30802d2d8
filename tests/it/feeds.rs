//! Feeds through the command line: import, duplicate, quarantine, replay, status.

use backplane_tests::{DONGGUAN, FOSHAN, Kernel, excerpt};

const GOOD: &str = r#"203.0.113.7 - - [17/May/2015:10:05:03 +0000] "GET /index.html?a=1 HTTP/1.1" 200 1234 "-" "Mozilla/5.0 (X11; Linux x86_64)""#;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

fn file(kernel: &Kernel, name: &str, text: &str) -> String {
    let path = kernel.dir().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_file_is_taken_once_and_recognised_by_its_digest() {
    let kernel = Kernel::start().await;
    let log = excerpt().display().to_string();
    let first = json(&kernel.cli_ok(&["feed", "import", "portal.access", &log, "--city", FOSHAN, "--json"]));
    let taken: i64 = first["rowsTaken"].as_str().unwrap().parse().unwrap();
    let quarantined: i64 = first["rowsQuarantined"].as_str().unwrap().parse().unwrap();
    assert_eq!(taken + quarantined, 200);
    assert_eq!(first["duplicateFile"], false);

    let renamed = kernel.dir().join("portal.access.440600.again.log");
    std::fs::copy(excerpt(), &renamed).unwrap();
    let second = json(&kernel.cli_ok(&["feed", "import", "portal.access", renamed.to_str().unwrap(), "--city", FOSHAN, "--json"]));
    assert_eq!((second["duplicateFile"].as_bool(), &second["rowsTaken"]), (Some(true), &first["rowsTaken"]));
    assert_eq!(kernel.call.number("select count(*) from interaction").await.unwrap(), taken);
    assert_eq!(kernel.call.number("select count(distinct event_id) from interaction").await.unwrap(), taken);
}

#[tokio::test]
async fn a_bad_line_waits_in_quarantine_and_is_replayed_once_corrected() {
    let kernel = Kernel::start().await;
    let bad = GOOD.replace("17/May/2015", "17/Mai/2015");
    let lines: String = std::iter::repeat_n(GOOD, 99).chain([bad.as_str()]).map(|line| format!("{line}\n")).collect();
    let path = file(&kernel, "portal.access.440600.20150517.log", &lines);
    let result = json(&kernel.cli_ok(&["feed", "import", "portal.access", &path, "--city", FOSHAN, "--json"]));
    assert_eq!((result["rowsTaken"].as_str(), result["rowsQuarantined"].as_str()), (Some("99"), Some("1")));

    let waiting = json(&kernel.cli_ok(&["feed", "quarantine", "portal.access", "--json"]));
    let row = &waiting["rows"][0];
    assert_eq!((row["line"].as_str(), row["city"].as_str(), row["rawText"].as_str()), (Some("100"), Some(FOSHAN), Some(bad.as_str())));
    assert!(!row["reason"].as_str().unwrap().is_empty() && !row["column"].as_str().unwrap().is_empty(), "{row}");
    let id = row["quarantineId"].as_str().unwrap();

    // As it is, it stays; corrected, it is taken; again, nothing changes.
    let replayed = json(&kernel.cli_ok(&["feed", "replay", "portal.access", "--id", id, "--json"]));
    assert_eq!((replayed["rowsTaken"].as_str(), replayed["rowsStillBad"].as_str()), (Some("0"), Some("1")));
    let replayed = json(&kernel.cli_ok(&["feed", "replay", "portal.access", "--id", id, "--text", GOOD, "--json"]));
    assert_eq!(replayed["rowsTaken"], "1");
    kernel.cli(&["feed", "replay", "portal.access", "--id", id, "--text", GOOD]);
    assert_eq!(kernel.call.number("select count(*) from interaction").await.unwrap(), 100);
    let waiting = json(&kernel.cli_ok(&["feed", "quarantine", "portal.access", "--json"]));
    assert_eq!(waiting["rows"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn a_foreign_file_stops_and_the_status_says_why() {
    let kernel = Kernel::start().await;
    let path = file(&kernel, "portal.access.440600.20150518.log", &"this is no access log\n".repeat(5_000));
    let refusal = kernel.cli_err(&["feed", "import", "portal.access", &path, "--city", FOSHAN]);
    assert!(refusal.contains("FILE_TOO_BAD"), "{refusal}");
    let status = json(&kernel.cli_ok(&["feed", "status", "portal.access", "--json"]));
    assert!(status["statuses"].as_array().unwrap().iter().any(|row| !row["lastError"].as_str().unwrap().is_empty()), "{status}");
    let refusal = kernel.cli_err(&["feed", "import", "portal.nothing", &path, "--city", FOSHAN]);
    assert!(refusal.contains("FEED_UNKNOWN") && refusal.contains("portal.access"), "{refusal}");
}

#[tokio::test]
async fn cities_are_reference_rows_that_every_city_reads_and_that_change_in_place() {
    let kernel = Kernel::start().await;
    let head = "city,province,name_zh,name_en,latitude,longitude\n";
    let foshan = "440600,440000,佛山市,Foshan,23.0218,113.1214\n";
    let path = file(&kernel, "ref.city.440000.20261101.csv", &format!("{head}{foshan}"));
    kernel.cli_ok(&["feed", "import", "ref.city", &path, "--city", "440000"]);
    let changed = format!("{head}{}441900,440000,东莞市,Dongguan,23.0207,113.7518\n", foshan.replace("Foshan", "FOSHAN"));
    let path = file(&kernel, "ref.city.440000.20261102.csv", &changed);
    let result = json(&kernel.cli_ok(&["feed", "import", "ref.city", &path, "--city", "440000", "--json"]));
    assert_eq!(result["rowsTaken"], "2", "{result}");
    let token = kernel.account("dongguan", &["warehouse.query", "dataset.read:city"], &[DONGGUAN]).await;
    let dongguan = kernel.call.with_token(&token);
    assert_eq!(dongguan.number("select count(*) from city where name_en in ('FOSHAN', 'Dongguan')").await.unwrap(), 2);
    assert_eq!(dongguan.number("select revision from city where city = '440600'").await.unwrap(), 2);
}

#[tokio::test]
async fn importing_needs_the_right_in_the_city_of_the_file() {
    let kernel = Kernel::start().await;
    let token = kernel.account("foshan", &["ingest.import"], &[FOSHAN]).await;
    let path = file(&kernel, "portal.access.441900.20150517.log", &format!("{GOOD}\n"));
    let refusal = kernel.cli_err(&["feed", "import", "portal.access", &path, "--token", &token]);
    assert!(refusal.contains("PERMISSION_MISSING") || refusal.contains("FILE_REFUSED"), "{refusal}");
    assert_eq!(kernel.call.number("select count(*) from interaction").await.unwrap(), 0);
}

const USAGE_HEAD: &str = "name: test.usage\nplatform: test\ndataset: usage\nfile_name: \"test.usage.{city}.{period}.txt\"\n";

/// A feed of the test's own into `usage`, by customer, expected every day.
fn put_daily_feed(kernel: &Kernel) {
    let text = format!(
        "{USAGE_HEAD}format: separated
separator: \"|\"
fields: [customer, product, day, times]
expected: {{every: day, within_hours: 8}}
drops_duplicates: true
bad_rows_permille_max: 500
columns:
  - {{column: customer_id, from: customer, rule: integer}}
  - {{column: product_id, from: product, rule: text}}
  - {{column: day, from: day, rule: compact_day}}
  - {{column: source_feed, rule: constant, value: test.usage}}
  - {{column: events, from: times, rule: integer}}
  - {{column: quantity, from: times, rule: integer}}
  - {{column: seconds, from: times, rule: integer}}
  - {{column: kb, from: times, rule: integer}}
  - {{column: fee_fen, from: times, rule: integer}}
  - {{column: ok_events, from: times, rule: integer}}
  - {{column: failed_events, from: times, rule: integer}}
"
    );
    kernel.cli_ok(&["feed", "put", &file(kernel, "test.usage.yaml", &text)]);
}

const EVENTS: &str = "select cast(coalesce(sum(events), 0) as bigint) from usage";

#[tokio::test]
async fn another_file_of_a_day_restates_it_and_a_file_taken_back_may_come_again() {
    let kernel = Kernel::start().await;
    put_daily_feed(&kernel);
    let name = "test.usage.440600.20261001.txt";
    let first = file(&kernel, name, "1|P1|20261001|2\n1|P1|20261001|2\n2|P1|20261001|3\n");
    let result = json(&kernel.cli_ok(&["feed", "import", "test.usage", &first, "--json"]));
    assert_eq!((result["rowsTaken"].as_str(), result["rowsDuplicate"].as_str(), result["period"].as_str()), (Some("2"), Some("1"), Some("20261001")));
    let second = file(&kernel, name, "1|P1|20261001|7\n");
    let result = json(&kernel.cli_ok(&["feed", "import", "test.usage", &second, "--json"]));
    assert_eq!((result["rowsTaken"].as_str(), result["rowsRestated"].as_str()), (Some("1"), Some("2")));
    assert_eq!(kernel.call.number(EVENTS).await.unwrap(), 7);

    for (arguments, said) in [
        (&["--period", "20261002", "--city", FOSHAN, "--reason", "wrong"][..], "RESOURCE_NOT_FOUND"),
        (&["--period", "20261001", "--city", DONGGUAN, "--reason", "wrong"], "RESOURCE_NOT_FOUND"),
        (&["--period", "October", "--city", FOSHAN, "--reason", "wrong"], "yyyyMMdd"),
        (&["--period", "20261001", "--city", FOSHAN, "--reason", " "], "why the file is taken back"),
        (&["--period", "20261001", "--reason", "wrong"], "CITY_REQUIRED"),
        (&["--city", FOSHAN, "--reason", "wrong"], "--period"),
        (&["--period", "20261001", "--city", FOSHAN], "--reason"),
    ] {
        let refusal = kernel.cli_err(&[&["feed", "retract", "test.usage"], arguments].concat());
        assert!(refusal.contains(said), "{arguments:?}: {refusal}");
    }
    assert_eq!(kernel.call.number(EVENTS).await.unwrap(), 7);

    let retract = ["feed", "retract", "test.usage", "--period", "20261001", "--city", FOSHAN, "--reason", "a test file"];
    let answer = kernel.cli_ok(&retract);
    assert!(answer.contains(name) && answer.contains("1 rows left"), "{answer}");
    assert_eq!(kernel.call.number("select count(*) from usage").await.unwrap(), 0);
    assert!(kernel.cli_err(&retract).contains("RESOURCE_NOT_FOUND"));
    let result = json(&kernel.cli_ok(&["feed", "import", "test.usage", &second, "--json"]));
    assert_eq!((result["rowsTaken"].as_str(), result["duplicateFile"].as_bool()), (Some("1"), Some(false)));
    assert_eq!(kernel.call.number(EVENTS).await.unwrap(), 7);
    let log = std::fs::read_to_string(kernel.dir().join("audit.log")).unwrap();
    assert!(log.contains("RetractFile"), "a retraction is audited");
}

#[tokio::test]
async fn a_month_is_complete_when_every_day_is_in_a_quiet_one_too() {
    let kernel = Kernel::start().await;
    put_daily_feed(&kernel);
    let folder = kernel.dir().join("drop");
    std::fs::create_dir(&folder).unwrap();
    let day = |day: u32, text: &str| std::fs::write(folder.join(format!("test.usage.{FOSHAN}.202609{day:02}.txt")), text).unwrap();
    (1..=28).for_each(|number| day(number, &format!("1|P1|202609{number:02}|1\n")));
    let folder = folder.display().to_string();
    let loaded = kernel.cli_ok(&["feed", "load", &folder]);
    assert!(loaded.contains("test.usage") && loaded.contains("28"), "{loaded}");
    let completeness = || json(&kernel.cli_ok(&["feed", "completeness", "202609", "test.usage", "--json"]))["rows"][0].clone();
    let row = completeness();
    assert_eq!((row["complete"].as_bool(), row["city"].as_str()), (Some(false), Some(FOSHAN)), "{row}");
    assert_eq!(row["missing"].as_array().unwrap(), &["20260929", "20260930"]);
    assert!(kernel.cli_ok(&["feed", "completeness", "202609"]).contains("20260929, 20260930"));

    // Nothing happened on the last two days: their files have the same bytes, none.
    day(29, "");
    day(30, "");
    kernel.cli_ok(&["feed", "load", &folder]);
    let row = completeness();
    assert_eq!((row["complete"].as_bool(), row["missing"].as_array().map(Vec::len)), (Some(true), Some(0)), "{row}");
    let status = json(&kernel.cli_ok(&["feed", "status", "test.usage", "--json"]))["statuses"][0].clone();
    assert_eq!(
        (status["files"].as_str(), status["rowsTaken"].as_str(), status["newestPeriod"].as_str()),
        (Some("30"), Some("28"), Some("20260930")),
        "{status}"
    );
    assert!(kernel.cli_ok(&["feed", "status"]).contains("20260930"));
    for (arguments, said) in [(&["202613"][..], "yyyyMM"), (&["20260901"], "yyyyMM"), (&["202609", "test.nothing"], "FEED_UNKNOWN")] {
        let refusal = kernel.cli_err(&[&["feed", "completeness"], arguments].concat());
        assert!(refusal.contains(said), "{arguments:?}: {refusal}");
    }
    let refusal = kernel.cli_err(&["feed", "load", "/nowhere"]);
    assert!(refusal.contains("/nowhere"), "{refusal}");
    let refusal = kernel.cli_err(&["feed", "status", "test.nothing"]);
    assert!(refusal.contains("FEED_UNKNOWN"), "{refusal}");
}

#[tokio::test]
async fn a_dataset_whose_first_file_is_empty_takes_several_at_once_afterwards() {
    let kernel = Kernel::start().await;
    put_daily_feed(&kernel);
    let folder = kernel.dir().join("drop");
    std::fs::create_dir(&folder).unwrap();
    let empty = file(&kernel, "test.usage.440600.20260901.txt", "");
    kernel.cli_ok(&["feed", "import", "test.usage", &empty]);
    for city in ["440100", "440300", FOSHAN, DONGGUAN] {
        let lines: String = (0..20_000).map(|customer| format!("{customer}|P1|20260902|1\n")).collect();
        std::fs::write(folder.join(format!("test.usage.{city}.20260902.txt")), lines).unwrap();
    }
    kernel.cli_ok(&["feed", "load", folder.to_str().unwrap()]);
    assert_eq!(kernel.call.number(EVENTS).await.unwrap(), 80_000);
}
