//! Plugins through the doors, with the real portal-traffic.

use std::process::Command;

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

/// The numbers of the plugin against a script that shares nothing with it but the definitions in the proto.
#[tokio::test]
async fn the_answers_equal_those_of_an_independent_script() {
    let log = std::env::var_os("BACKPLANE_REAL_LOG").map_or_else(excerpt, Into::into);
    let wasm = std::fs::read(portal_traffic()).unwrap();
    let kernel = Kernel::start().await;
    kernel.cli_ok(&["feed", "import", "portal.access", log.to_str().unwrap(), "--city", FOSHAN]);
    let version = kernel.install(&wasm).await.unwrap();
    kernel.enable(&version, FOSHAN).await.unwrap();
    let script = repository().join("tests/independent/compare.py");
    let output = python().arg(script).args([kernel.address.as_str(), kernel.token.as_str(), FOSHAN]).arg(&log).output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}

/// What README promises a newcomer: a new plugin compiles as it is, and answers in a kernel of its own.
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
    let printed = run(&["plugin", "run", folder.to_str().unwrap(), "my_first.v1.MyFirst/ListTopPages", r#"{"pagesMax": 3}"#, "--file", &file]);
    let answer = json(&printed[printed.find("\n{").unwrap()..]);
    assert_eq!(answer["pages"].as_array().unwrap().len(), 3, "{answer}");

    let again = Command::new(binary()).args(["plugin", "new", folder.to_str().unwrap()]).output().unwrap();
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("not empty"));
}
