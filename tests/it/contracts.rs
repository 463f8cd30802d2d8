//! Contracts of feeds and datasets through the command line: read, tried, put in force while the kernel runs, refused with the place of the mistake.

use backplane_tests::{FOSHAN, Kernel, portal_traffic};
use serde_json::Value;

const DATASET: &str = "name: complaint_count
purpose: Complaints of a day, for the test.
owner: tests
mode: append
visibility: city
key: [product_id, day]
columns:
  - {name: city, type: text, nullable: false, class: public, meaning: \"City\"}
  - {name: product_id, type: text, nullable: false, class: internal, meaning: \"Product\"}
  - {name: day, type: day, nullable: false, class: internal, meaning: \"Shanghai day\"}
  - {name: complaints, type: integer, nullable: false, class: internal, meaning: \"How many\"}
";

const FEED: &str = "name: test.count
platform: test
dataset: complaint_count
file_name: \"test.count.{city}.{period}.txt\"
format: separated
separator: \"|\"
fields: [product, day, many]
bad_rows_permille_max: 500
columns:
  - {column: product_id, from: product, rule: text}
  - {column: day, from: day, rule: compact_day}
  - {column: complaints, from: many, rule: integer}
";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn file(kernel: &Kernel, name: &str, text: &str) -> String {
    let path = kernel.dir().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_dataset_and_its_feed_are_added_while_the_kernel_runs() {
    let kernel = Kernel::start().await;
    let sample = file(&kernel, "test.count.440600.20261001.txt", "P1|20261001|3\nP2|20261001|many\nP3|20261001|4\n");
    let (dataset, feed) = (file(&kernel, "dataset.yaml", DATASET), file(&kernel, "feed.yaml", FEED));
    let refusal = kernel.cli_err(&["feed", "put", &feed]);
    assert!(refusal.contains("complaint_count") && refusal.contains("line 3"), "{refusal}");

    assert!(kernel.cli_ok(&["dataset", "put", &dataset]).contains("revision 1"));
    assert_eq!(kernel.cli_ok(&["dataset", "show", "complaint_count"]).trim_end(), DATASET.trim_end());

    // Tried before it is in force, from its file; nothing is written.
    let tried = kernel.cli_ok(&["feed", "try", &feed, &sample]);
    assert!(tried.contains("3 records: 2 good, 1 bad") && tried.contains("P3") && tried.contains("complaints"), "{tried}");
    assert!(!kernel.cli_ok(&["feed", "list"]).contains("test.count"));
    assert_eq!(kernel.call.number("select count(*) from complaint_count").await.unwrap(), 0);

    assert!(kernel.cli_ok(&["feed", "put", &feed]).contains("revision 1"));
    assert_eq!(kernel.cli_ok(&["feed", "show", "test.count"]).trim_end(), FEED.trim_end());
    let listed = json(&kernel.cli_ok(&["feed", "list", "--json"]));
    let mine = listed["feeds"].as_array().unwrap().iter().find(|feed| feed["name"] == "test.count").unwrap();
    assert_eq!((mine["dataset"].as_str(), mine["revision"].as_str()), (Some("complaint_count"), Some("1")));
    let tried = json(&kernel.cli_ok(&["feed", "try", "test.count", &sample, "--json"]));
    assert_eq!((tried["records"].as_str(), tried["rowsGood"].as_str()), (Some("3"), Some("2")));
    assert_eq!((tried["bad"][0]["line"].as_str(), tried["bad"][0]["column"].as_str()), (Some("2"), Some("complaints")), "{tried}");

    kernel.cli_ok(&["feed", "import", "test.count", &sample]);
    assert_eq!(kernel.call.number("select cast(sum(complaints) as bigint) from complaint_count").await.unwrap(), 7);

    // A nullable column at the end is another revision; the feed goes on.
    let wider = format!("{DATASET}  - {{name: severe, type: integer, nullable: true, class: internal, meaning: \"Of them, severe\"}}\n");
    assert!(kernel.cli_ok(&["dataset", "put", &file(&kernel, "wider.yaml", &wider)]).contains("revision 2"));
    let second = file(&kernel, "test.count.440600.20261002.txt", "P1|20261002|5\n");
    kernel.cli_ok(&["feed", "import", "test.count", &second]);
    assert_eq!(kernel.call.number("select count(*) from complaint_count where severe is null").await.unwrap(), 3);
    let kernel = kernel.kill_and_restart().await;
    assert!(kernel.cli_ok(&["dataset", "show", "complaint_count"]).contains("severe"));
    assert_eq!(kernel.call.number("select cast(sum(complaints) as bigint) from complaint_count").await.unwrap(), 12);
}

#[tokio::test]
async fn a_wrong_contract_is_refused_with_line_and_column_and_changes_nothing() {
    let kernel = Kernel::start().await;
    let dataset = file(&kernel, "dataset.yaml", DATASET);
    for (wrong, place) in [
        (DATASET.replace("type: day", "type: date"), "line 10"),
        (DATASET.replace("mode: append", "mode: sometimes"), "line 4"),
        (DATASET.replace("key: [product_id, day]", "key: [product_id, hour]"), "line 6"),
    ] {
        let refusal = kernel.cli_err(&["dataset", "put", &file(&kernel, "wrong.yaml", &wrong)]);
        assert!(refusal.contains("CONTRACT_INVALID") && refusal.contains(place), "{refusal}");
    }
    kernel.cli_ok(&["dataset", "put", &dataset]);
    let narrower = DATASET.replace("  - {name: complaints, type: integer, nullable: false, class: internal, meaning: \"How many\"}\n", "");
    let refusal = kernel.cli_err(&["dataset", "put", &file(&kernel, "narrower.yaml", &narrower)]);
    assert!(refusal.contains("complaints"), "{refusal}");

    for (wrong, place) in [
        (FEED.replace("rule: compact_day", "rule: gregorian"), "line 11"),
        (FEED.replace("from: many", "from: how_many"), "line 12"),
        (FEED.replace("format: separated", "format: spoken"), "line 5"),
    ] {
        let wrong = file(&kernel, "wrong.yaml", &wrong);
        let refusal = kernel.cli_err(&["feed", "put", &wrong]);
        assert!(refusal.contains("CONTRACT_INVALID") && refusal.contains(place), "{refusal}");
        let sample = file(&kernel, "test.count.440600.20261001.txt", "P1|20261001|3\n");
        let refusal = kernel.cli_err(&["feed", "try", &wrong, &sample]);
        assert!(refusal.contains(place), "{refusal}");
    }
    assert!(!kernel.cli_ok(&["feed", "list"]).contains("test.count"));
    assert_eq!(kernel.cli_ok(&["dataset", "show", "complaint_count"]).trim_end(), DATASET.trim_end());

    for (arguments, said) in [
        (&["feed", "show", "test.nothing"][..], "test.nothing"),
        (&["feed", "show", "misc"], "misc"),
        (&["dataset", "show", "nothing"], "nothing"),
        (&["feed", "put", "/nowhere/feed.yaml"], "/nowhere/feed.yaml"),
        (&["dataset", "put", "/nowhere/dataset.yaml"], "/nowhere/dataset.yaml"),
        (&["feed", "try", "misc.usage", "/nowhere/sample.gz"], "/nowhere/sample.gz"),
        (&["feed", "try", "/nowhere/feed.yaml", &dataset], "/nowhere/feed.yaml"),
    ] {
        let refusal = kernel.cli_err(arguments);
        assert!(refusal.contains(said), "{arguments:?}: {refusal}");
    }
}

#[tokio::test]
async fn contracts_are_the_provinces_to_put() {
    let kernel = Kernel::start().await;
    let token = kernel.account("foshan", &["ingest.contracts", "ingest.read"], &[FOSHAN]).await;
    let feed = file(&kernel, "feed.yaml", FEED);
    let refusal = kernel.cli_err(&["feed", "put", &feed, "--token", &token]);
    assert!(refusal.contains("PERMISSION_MISSING") && refusal.contains("ingest.contracts"), "{refusal}");
    assert!(kernel.cli_ok(&["feed", "list", "--token", &token]).contains("misc.usage"));
}

#[tokio::test]
async fn a_breaking_change_names_the_feeds_and_plugins_that_rely_on_the_dataset() {
    let wasm = std::fs::read(portal_traffic()).unwrap();
    let kernel = Kernel::start().await;
    let version = kernel.install(&wasm).await.unwrap();
    let contract = kernel.cli_ok(&["dataset", "show", "interaction"]);
    let narrower: Vec<&str> = contract.lines().filter(|line| !line.contains("{name: page,")).collect();
    let narrower = file(&kernel, "narrower.yaml", &narrower.join("\n"));
    let refusal = kernel.cli_err(&["dataset", "put", &narrower]);
    assert!(refusal.contains("CONTRACT_BREAKS") && refusal.contains("the column 'page' is gone"), "{refusal}");
    assert!(refusal.contains("feeds that write it: portal.access, portal.click; plugins that read it: none"), "{refusal}");

    kernel.enable(&version, FOSHAN).await.unwrap();
    let refusal = kernel.cli_err(&["dataset", "put", &narrower]);
    assert!(refusal.contains(&format!("plugins that read it: portal-traffic {}", version.version)), "{refusal}");
    // Who may not see plugins learns that there may be some, and which right is missing.
    let token = kernel.account("contracts", &["warehouse.contracts"], &["440000"]).await;
    let refusal = kernel.cli_err(&["dataset", "put", &narrower, "--token", &token]);
    assert!(refusal.contains("plugins that read it: could not be asked") && refusal.contains("plugin.read"), "{refusal}");
}
