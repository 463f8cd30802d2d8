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
