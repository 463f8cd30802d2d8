//! Plugins through the doors, with the real portal-traffic.

use std::{path::Path, process::Command};

use backplane_proto::plugin::v1::{DisablePluginRequest, EnablePluginRequest, GetPluginVersionRequest, PluginVersion};
use backplane_tests::{DONGGUAN, FOSHAN, Kernel, binary, excerpt, portal_traffic, python, reason, repository};
use tonic::Code;

pub(crate) const METHOD: &str = "portal_traffic.v1.PortalTraffic/GetSummary";
pub(crate) const PERIOD: &str = r#"{"from": "2015-05-01T00:00:00Z", "to": "2015-06-01T00:00:00Z"}"#;
const ANALYST: &[&str] = &["portal_traffic.read", "warehouse.query", "dataset.read:interaction"];

pub(crate) async fn with_plugin() -> Kernel {
    // Before the kernel starts: a first build takes minutes, in which this thread would not answer the kernel's pings.
    let wasm = std::fs::read(portal_traffic()).unwrap();
    let kernel = Kernel::start().await;
    kernel.cli_ok(&["feed", "import", "portal.access", excerpt().to_str().unwrap(), "--city", FOSHAN]);
    let version = kernel.install(&wasm).await.unwrap();
    kernel.enable(&version, FOSHAN).await.unwrap();
    kernel
}

async fn installed(kernel: &Kernel) -> PluginVersion {
    let request = GetPluginVersionRequest { plugin_id: "portal-traffic".to_owned(), version: String::new() };
    kernel.call.plugins().get_plugin_version(request).await.unwrap().into_inner()
}

/// The same package with another text in its manifest. One of the same length: what stands around it keeps its place.
pub(crate) fn with_manifest(wasm: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "'{from}' and '{to}'");
    let places: Vec<usize> = (0..wasm.len()).filter(|at| wasm[*at..].starts_with(from.as_bytes())).collect();
    assert_eq!(places.len(), 1, "'{from}' stands in the package once");
    let (before, rest) = wasm.split_at(places[0]);
    [before, to.as_bytes(), &rest[from.len()..]].concat()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn a_plugin_answers_in_the_city_where_it_is_enabled_and_nowhere_else() {
    let kernel = with_plugin().await;
    let foshan = kernel.account("foshan", ANALYST, &[FOSHAN]).await;
    let summary = json(&kernel.cli_ok(&["plugin", "call", METHOD, PERIOD, "--token", &foshan]));
    assert!(summary["requests"].as_str().unwrap().parse::<i64>().unwrap() > 0, "{summary}");

    let dongguan = kernel.account("dongguan", ANALYST, &[DONGGUAN]).await;
    let refusal = kernel.cli_err(&["plugin", "call", METHOD, PERIOD, "--token", &dongguan]);
    assert!(refusal.contains("PLUGIN_NOT_ENABLED"), "{refusal}");
    kernel.enable(&installed(&kernel).await, DONGGUAN).await.unwrap();
    let summary = json(&kernel.cli_ok(&["plugin", "call", METHOD, PERIOD, "--token", &dongguan]));
    assert_eq!(summary["requests"], "0", "Dongguan has its own rows, and there are none");

    let refusal = kernel.cli_err(&["plugin", "call", METHOD, PERIOD]);
    assert!(refusal.contains("CITY_REQUIRED"), "the administrator has many cities: {refusal}");
}

#[tokio::test]
async fn the_rights_of_a_call_are_those_of_caller_and_plugin_together() {
    let kernel = with_plugin().await;
    let without_plugin = kernel.account("reader", &["warehouse.query", "dataset.read:interaction"], &[FOSHAN]).await;
    let refusal = kernel.cli_err(&["plugin", "call", METHOD, PERIOD, "--token", &without_plugin]);
    assert!(refusal.contains("PERMISSION_MISSING") && refusal.contains("portal_traffic.read"), "{refusal}");
    let without_data = kernel.account("blind", &["portal_traffic.read"], &[FOSHAN]).await;
    let refusal = kernel.cli_err(&["plugin", "call", METHOD, PERIOD, "--token", &without_data]);
    assert!(refusal.contains("PERMISSION_MISSING") && refusal.contains("warehouse.query") && refusal.contains("portal-traffic"), "{refusal}");
}

#[tokio::test]
async fn enabling_grants_exactly_what_is_asked() {
    let kernel = with_plugin().await;
    let request = |granted: Vec<String>, configuration: &str| EnablePluginRequest {
        plugin_id: "portal-traffic".to_owned(),
        version: String::new(),
        city: DONGGUAN.to_owned(),
        granted,
        configuration_json: configuration.to_owned(),
    };
    let status = kernel.call.plugins().enable_plugin(request(vec![], "")).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "CAPABILITY_NOT_GRANTED"));
    assert!(status.message().contains("dataset.read:interaction"), "{}", status.message());
    let asked = installed(&kernel).await.capabilities;
    let status = kernel.call.plugins().enable_plugin(request(asked, r#"{"nonsense": 1}"#)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "CONFIGURATION_INVALID"), "{status:?}");

    let shown = kernel.cli(&["plugin", "enable", "portal-traffic", "--in", DONGGUAN]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("call:/backplane.warehouse.v1.Warehouse/Query"));
    assert!(!shown.status.success(), "nobody said yes");
}

#[tokio::test]
async fn a_disabled_plugin_is_gone_and_a_restart_keeps_the_others() {
    let kernel = with_plugin().await.kill_and_restart().await;
    kernel.cli_ok(&["plugin", "call", METHOD, PERIOD, "--city", FOSHAN]);
    let disable = DisablePluginRequest { plugin_id: "portal-traffic".to_owned(), city: FOSHAN.to_owned() };
    assert!(kernel.call.plugins().disable_plugin(disable.clone()).await.unwrap().into_inner().disabled);
    assert!(!kernel.call.plugins().disable_plugin(disable).await.unwrap().into_inner().disabled);
    let refusal = kernel.cli_err(&["plugin", "call", METHOD, PERIOD, "--city", FOSHAN]);
    assert!(refusal.contains("METHOD_UNKNOWN") || refusal.contains("PLUGIN_NOT_ENABLED"), "{refusal}");
    assert!(kernel.cli_ok(&["plugin", "list"]).contains("portal-traffic"));
}

#[tokio::test]
async fn files_that_are_no_plugins_are_refused_and_say_what_to_do() {
    let good = std::fs::read(portal_traffic()).unwrap();
    let kernel = Kernel::start().await;
    let cases: [(&str, Vec<u8>, &str); 3] = [
        ("text", b"this is no component".to_vec(), "PLUGIN_NOT_A_COMPONENT"),
        ("a core module", b"\0asm\x01\0\0\0".to_vec(), "PLUGIN_NOT_A_COMPONENT"),
        ("half a file", good[..good.len() / 2].to_vec(), "PLUGIN_"),
    ];
    for (what, wasm, expected) in cases {
        let status = kernel.install(&wasm).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        assert!(reason(&status).starts_with(expected), "{what}: {status:?}");
    }
    let first = kernel.install(&good).await.unwrap();
    assert_eq!(kernel.install(&good).await.unwrap().digest, first.digest, "the same bytes again are the same version");
}

/// A kernel in which the plugin's numbers over a log were found equal to those of a script that shares nothing with it but the definitions in the proto.
async fn compared_over(log: &Path) -> Kernel {
    let wasm = std::fs::read(portal_traffic()).unwrap();
    let kernel = Kernel::start().await;
    kernel.cli_ok(&["feed", "import", "portal.access", log.to_str().unwrap(), "--city", FOSHAN]);
    let version = kernel.install(&wasm).await.unwrap();
    kernel.enable(&version, FOSHAN).await.unwrap();
    let script = repository().join("tests/independent/compare.py");
    let output = python().arg(script).args([kernel.address.as_str(), kernel.token.as_str(), FOSHAN]).arg(log).output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    kernel
}

#[tokio::test]
async fn the_answers_equal_those_of_an_independent_script() {
    let log = std::env::var_os("BACKPLANE_REAL_LOG").map_or_else(excerpt, Into::into);
    compared_over(&log).await;
}

/// The server of the real log wrote no times. This log was made for the test: a page with a long tail, two with one mean, times under a millisecond, known of
/// some requests only, of assets and of what could not be read.
#[tokio::test]
async fn slow_pages_equal_those_of_an_independent_script() {
    let kernel = compared_over(&repository().join("tests/independent/access-times.log")).await;
    let slow = json(&kernel.cli_ok(&["plugin", "call", "portal_traffic.v1.PortalTraffic/ListSlowPages", PERIOD, "--city", FOSHAN]));
    // Of its 69 lines 65 end in a time, and the longest is one of the two of /bill.
    assert_eq!((slow["requests"].as_str(), slow["latencyKnownRequests"].as_str()), (Some("69"), Some("65")), "{slow}");
    assert_eq!((slow["slowPages"][0]["page"].as_str(), slow["slowPages"][0]["meanMs"].as_f64()), (Some("/bill"), Some(31_375.0)), "{slow}");
}

/// A name that was mistyped would otherwise be found by the plugin's first query.
#[tokio::test]
async fn a_dataset_or_column_that_is_not_there_is_refused_with_its_line_when_it_is_enabled() {
    let good = std::fs::read(portal_traffic()).unwrap();
    let kernel = Kernel::start().await;
    // May enable and nothing else: what the plugin reads is none of it.
    let enabler = kernel.account("enabler", &["plugin.enable", "plugin.read"], &[FOSHAN]).await;
    let enable = |version| ["plugin", "enable", "portal-traffic", "--version", version, "--in", FOSHAN, "--yes", "--token", enabler.as_str()];
    let (dataset, column) = (("dataset = \"interaction\"", "dataset = \"interactoin\""), ("\"latency_ms\", ", "\"latency_us\", "));
    let cases = [
        ("0.1.1", dataset, "line 9, column 11", "there is no dataset 'interactoin'"),
        ("0.1.2", column, "line 10, column", "interaction has no column 'latency_us'"),
    ];
    for (version, (from, to), place, said) in cases {
        let numbered = with_manifest(&good, "version = \"0.1.0\"\ncontract", &format!("version = \"{version}\"\ncontract"));
        kernel.install(&with_manifest(&numbered, from, to)).await.unwrap();
        let refusal = kernel.cli_err(&enable(version));
        for part in ["PLUGIN_MANIFEST_INVALID", "plugin.toml", place, said, "backplane dataset put"] {
            assert!(refusal.contains(part), "{part} is not in {refusal}");
        }
    }

    let contract = kernel.cli_ok(&["dataset", "show", "interaction"]).replacen("name: interaction\n", "name: interactoin\n", 1);
    let file = kernel.dir().join("interactoin.yaml");
    std::fs::write(&file, contract).unwrap();
    kernel.cli_ok(&["dataset", "put", file.to_str().unwrap()]);
    kernel.cli_ok(&enable("0.1.1"));
}

/// What README promises a newcomer: a new plugin compiles as it is, and answers in a kernel of its own, also to its scenarios. A dataset that is mistyped then is named.
#[test]
fn a_new_plugin_runs_as_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("my-first");
    let sdk = repository().join("sdk/rust");
    let run = |arguments: &[&str]| {
        let output = Command::new(binary()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["plugin", "new", folder.to_str().unwrap(), "--sdk", sdk.to_str().unwrap()]);
    let file = format!("portal.access={}", excerpt().display());
    let top_pages = ["plugin", "run", folder.to_str().unwrap(), "my_first.v1.MyFirst/ListTopPages", r#"{"pagesMax": 3}"#, "--file", file.as_str()];
    let printed = run(&top_pages);
    let wasm = std::fs::read(folder.join("dist/my-first-0.1.0.wasm")).unwrap();
    for path in [dir.path(), repository().canonicalize().unwrap().as_path()] {
        let path = path.to_str().unwrap().as_bytes();
        assert!(!wasm.windows(path.len()).any(|bytes| bytes == path), "the plugin names no folder of whoever built it");
    }
    let answer = json(&printed[printed.find("\n{").unwrap()..]);
    assert_eq!(answer["pages"].as_array().unwrap().len(), 3, "{answer}");

    a_scenario_that_fails_says_where(&folder);

    let manifest = folder.join("plugin.toml");
    let mistyped = std::fs::read_to_string(&manifest).unwrap().replace("\"interaction\"", "\"interactoin\"");
    std::fs::write(&manifest, mistyped).unwrap();
    let refused = Command::new(binary()).args(top_pages).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("line 10, column 11: reads: there is no dataset 'interactoin'"), "{said}");

    let again = Command::new(binary()).args(["plugin", "new", folder.to_str().unwrap()]).output().unwrap();
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("not empty"));
}

fn test_plugin(folder: &Path, options: &[&str]) -> (bool, String, String) {
    let output = Command::new(binary()).args(["plugin", "test", folder.to_str().unwrap()]).args(options).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// The scenarios of the plugins here: what their services promise, in files that a reader can follow.
#[test]
fn the_scenarios_of_the_plugins_pass() {
    for (plugin, scenarios) in [("package-monitor", 3), ("portal-traffic", 1)] {
        let (passed, printed, said) = test_plugin(&repository().join("plugins").join(plugin), &[]);
        assert!(passed && printed.ends_with(&format!("scenarios passed: {scenarios}\n")), "{printed}{said}");
    }
}

/// A scenario that is not as expected says where and goes on with the next; one that is written wrongly is refused before anything is built.
fn a_scenario_that_fails_says_where(folder: &Path) {
    let write = |scenario: &str, file: &str, text: &str| {
        let path = folder.join("scenarios").join(scenario).join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let top_pages = "{method: my_first.v1.MyFirst/ListTopPages";
    let scenario = |steps: &str| format!("about: what it shows\ncity: \"440600\"\nsteps:\n{steps}");
    let rows = std::fs::read_to_string(folder.join("scenarios/top-pages/rows/interaction.jsonl")).unwrap();
    write("other-views", "rows/interaction.jsonl", &rows);
    write("other-views", "scenario.yaml", &scenario(&format!("  - call: {top_pages}}}\n    expect: {{pages: [{{views: 3}}, {{}}]}}\n")));
    write("answers", "scenario.yaml", &scenario(&format!("  - call: {top_pages}}}\n    refused: FIELD_INVALID\n")));
    write("refused", "scenario.yaml", &scenario(&format!("  - call: {top_pages}, request: {{pagesMax: 101}}}}\n    expect: {{}}\n")));
    write("wrong-sql", "scenario.yaml", &scenario("  - query: {sql: SELECT nothing FROM interaction}\n    expect: []\n"));
    write("wrong-row", "rows/interaction.jsonl", "{\"page\": \"/\"}\n{\"pages\": 1}\n");
    write("wrong-row", "scenario.yaml", &scenario("  - query: {sql: SELECT page FROM interaction}\n    expect: []\n"));
    let (passed, printed, said) = test_plugin(folder, &[]);
    assert!(!passed && said.contains("5 of 6 scenarios failed: answers, other-views, refused, wrong-row, wrong-sql"), "{printed}{said}");
    for line in [
        "step 1, call my_first.v1.MyFirst/ListTopPages: expected a refusal for FIELD_INVALID, and it answered {",
        "step 2, call my_first.v1.MyFirst/ListTopPages: pages[0].views: expected 3, and there is \"2\"",
        "step 1, call my_first.v1.MyFirst/ListTopPages: it was refused: pages_max must be 1 to 100, or 0 for 10",
        "interaction.jsonl, line 2: row 1, column 'pages': the dataset 'interaction' has no such column; it has city, event_id",
        "it was refused: the SQL is wrong: No field named nothing",
    ] {
        assert!(printed.contains(line), "{line} is not in {printed}");
    }
    let (passed, printed, _) = test_plugin(folder, &["--scenario", "top-pages"]);
    assert!(passed && printed.ends_with("scenarios passed: 1\n"), "{printed}");
    let (_, _, said) = test_plugin(folder, &["--scenario", "top"]);
    assert!(said.contains("there is no scenario 'top': there are answers, other-views"), "{said}");

    for (steps, expected) in [
        ("  - query: {sql: SELECT 1}\n", "a step has 'expect' with what the answer has, or 'refused' with a reason, and not both"),
        ("  - {query: {sql: SELECT 1}, expect: [], refused: SQL_INVALID}\n", "and not both"),
        ("  - {query: {sql: SELECT 1}, refused: \"\"}\n", "or 'refused' with a reason"),
        ("  - expect: []\n", "a step is one of append, import, call, job and query"),
        ("  - {append: {dataset: interaction, file: a.jsonl}, expect: []}\n", "append and import expect nothing"),
        ("  - {query: {sgl: SELECT 1}, expect: []}\n", "sgl"),
        ("  []\n", "has no steps"),
    ] {
        write("answers", "scenario.yaml", &scenario(steps));
        let (passed, printed, said) = test_plugin(folder, &[]);
        assert!(!passed && printed.is_empty() && said.contains("answers/scenario.yaml") && said.contains(expected), "{expected}: {printed}{said}");
    }
}
