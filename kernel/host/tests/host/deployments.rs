use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use backplane_proto::{
    guest::v1 as guest,
    plugin::v1::{EnablePluginRequest, PluginVersion, plugins_client::PluginsClient},
    v1::Reason,
    warehouse::v1::DatasetContract,
};
use bytes::Bytes;
use prost_reflect::prost::Message;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::{
    guests::{CALL_OUT, CONTEXT, ECHO, access, behaviours, manifest, package_of, package_with, proto},
    world::{DONGGUAN, FOSHAN, GATE_PERMITS, PROVINCE, World, assert_fails, caller, foshan, place},
};

fn request(city: &str, granted: &[&str], configuration_json: &str) -> EnablePluginRequest {
    EnablePluginRequest {
        plugin_id: "demo".to_owned(),
        version: String::new(),
        city: city.to_owned(),
        granted: granted.iter().map(|text| (*text).to_owned()).collect(),
        configuration_json: configuration_json.to_owned(),
    }
}

/// 48 calls inside of the deployment, waiting for the warehouse, whose gate is held.
async fn calls_that_wait(world: &Arc<World>) -> Vec<JoinHandle<Result<Bytes, Status>>> {
    let call = |_| {
        let world = Arc::clone(world);
        tokio::spawn(async move { world.demo(&foshan(), CALL_OUT).await })
    };
    let calls = (0..48).map(call).collect();
    world.warehouse_is_asked(48).await;
    calls
}

#[tokio::test]
async fn a_version_is_swapped_under_running_calls_without_losing_one() {
    let rest = "calls = [\"/backplane.warehouse.v1.Warehouse/DescribeDataset\"]\n[limits]\nconcurrency = 48";
    let world = Arc::new(World::with_demo(rest).await);
    let next = world.install(package_of(&behaviours(), "demo", "0.2.0", rest)).await.unwrap();
    let gate = Arc::clone(&world.warehouse.gate);
    let held_up = gate.acquire_many(GATE_PERMITS).await.unwrap();
    let calls = calls_that_wait(&world).await;
    let deployment = world.enable(&next, FOSHAN).await;
    assert_eq!((deployment.version.as_str(), deployment.revision), ("0.2.0", 2));
    let context = guest::CallContext::decode(world.demo(&foshan(), CONTEXT).await.unwrap()).unwrap();
    assert_eq!((context.version.as_str(), context.configuration_revision), ("0.2.0", 2));
    drop(held_up);
    for call in calls {
        assert!(!call.await.unwrap().unwrap().is_empty());
    }
    let versions: Vec<_> = world.warehouse.asked.lock().unwrap().iter().map(|context| context.actor.clone().unwrap().version).collect();
    assert_eq!((versions.len(), versions.iter().filter(|version| *version == "0.1.0").count() == 48), (48, true));
}

#[tokio::test]
async fn calls_that_run_in_a_disabled_deployment_finish() {
    let world = Arc::new(World::with_demo("calls = [\"/backplane.warehouse.v1.Warehouse/DescribeDataset\"]\n[limits]\nconcurrency = 48").await);
    let gate = Arc::clone(&world.warehouse.gate);
    let held_up = gate.acquire_many(GATE_PERMITS).await.unwrap();
    let calls = calls_that_wait(&world).await;
    assert!(world.disable("demo", FOSHAN).await);
    assert_fails(world.demo(&foshan(), ECHO).await, Code::Unimplemented, Reason::PluginNotEnabled, "backplane plugin enable");
    drop(held_up);
    for call in calls {
        assert!(!call.await.unwrap().unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_was_disabled_is_not_called() {
    let world = World::with_demo("").await;
    assert!(world.disable("demo", FOSHAN).await);
    assert!(!world.disable("demo", FOSHAN).await);
    assert_fails(world.demo(&foshan(), ECHO).await, Code::Unimplemented, Reason::PluginNotEnabled, "backplane plugin enable");
}

#[tokio::test]
async fn exactly_what_is_asked_must_be_granted() {
    let world = World::new().await;
    let rest = "calls = [\"/backplane.warehouse.v1.Warehouse/Query\"]\n[[reads]]\ndataset = \"interaction\"\ncolumns = [\"page\", \"at\"]";
    world.install(package_of(&behaviours(), "demo", "0.1.0", rest)).await.unwrap();
    let mut plugins = world.plugins();
    let (call, read) = ("call:/backplane.warehouse.v1.Warehouse/Query", "dataset.read:interaction(page,at)");
    let too_little = plugins.enable_plugin(request(FOSHAN, &[call], "")).await;
    assert_fails(too_little, Code::FailedPrecondition, Reason::CapabilityNotGranted, "dataset.read:interaction(at,page)");
    let too_much = plugins.enable_plugin(request(FOSHAN, &[call, read, "dataset.read:ticket"], "")).await;
    assert_fails(too_much, Code::InvalidArgument, Reason::FieldInvalid, "dataset.read:ticket");
    let deployment = plugins.enable_plugin(request(FOSHAN, &[read, call], "")).await.unwrap().into_inner();
    assert_eq!((deployment.revision, deployment.granted.len(), deployment.enabled_by.as_str()), (1, 2, "root"));
}

#[tokio::test]
async fn enabling_needs_the_right_in_that_city() {
    let world = World::new().await;
    world.install(package_of(&behaviours(), "demo", "0.1.0", "")).await.unwrap();
    let mut foshan_only = PluginsClient::new(world.bus.acting(caller("chen", &["plugin.enable"], &[FOSHAN])));
    for city in [DONGGUAN, PROVINCE] {
        assert_fails(foshan_only.enable_plugin(request(city, &[], "")).await, Code::PermissionDenied, Reason::PermissionMissing, "plugin.enable");
    }
    assert_fails(foshan_only.enable_plugin(request("310000", &[], "")).await, Code::InvalidArgument, Reason::CityUnknown, "310000");
    foshan_only.enable_plugin(request(FOSHAN, &[], "")).await.unwrap();
}

#[tokio::test]
async fn what_a_version_reads_must_be_there_when_it_is_enabled() {
    let world = World::new().await;
    // Somebody who may not read any of it.
    let enable = async |version: &PluginVersion| {
        let request = EnablePluginRequest { version: version.version.clone(), granted: version.capabilities.clone(), ..request(FOSHAN, &[], "") };
        PluginsClient::new(world.bus.acting(caller("chen", &["plugin.enable"], &[FOSHAN]))).enable_plugin(request).await
    };
    let reads_tariff = package_of(&behaviours(), "demo", "0.1.0", "[[reads]]\ndataset = \"tariff\"\ncolumns = [\"fen\"]");
    let of_interaction = |columns: &str| format!("[[reads]]\ndataset = \"interaction\"\ncolumns = [{columns}]");
    let cases = [
        (reads_tariff.clone(), ("7", "11"), "there is no dataset 'tariff'"),
        (package_of(&behaviours(), "demo", "0.2.0", &of_interaction("\"at\", \"pag\"")), ("8", "18"), "interaction has no column 'pag'"),
        (package_of(&behaviours(), "demo", "0.3.0", &of_interaction("\"pin\"")), ("8", "12"), "interaction has no column 'pin' that a plugin can read"),
    ];
    for (wasm, (line, column), says) in cases {
        let version = world.install(wasm).await.unwrap();
        let status = assert_fails(enable(&version).await, Code::InvalidArgument, Reason::PluginManifestInvalid, says);
        assert_eq!((place(&status, "file").as_str(), place(&status, "line").as_str(), place(&status, "column").as_str()), ("plugin.toml", line, column));
    }
    assert_eq!(world.rights_at("/backplane.warehouse.v1.Warehouse/GetDatasetContract"), "warehouse.contracts@440000");

    let document = "name: tariff\ncolumns:\n  - {name: fen, class: public}\n".to_owned();
    world.warehouse.contracts.lock().unwrap().insert("tariff".to_owned(), DatasetContract { document, ..DatasetContract::default() });
    enable(&world.install(reads_tariff).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_wrong_configuration_names_its_field() {
    let world = World::new().await;
    let schema =
        r#"{"type":"object","properties":{"window":{"type":"object","properties":{"hours":{"type":"integer","minimum":1}}}},"additionalProperties":false}"#;
    let wasm = package_with(&behaviours(), &manifest("demo", "0.1.0", ""), &proto("demo", &access("demo")), Some(schema));
    world.install(wasm).await.unwrap();
    let mut plugins = world.plugins();
    for (configuration, field) in [(r#"{"window":{"hours":0}}"#, "/window/hours"), (r#"{"colour":1}"#, "/"), ("[]", "/"), ("{", "/")] {
        let status = assert_fails(
            plugins.enable_plugin(request(FOSHAN, &[], configuration)).await,
            Code::InvalidArgument,
            Reason::ConfigurationInvalid,
            "configuration",
        );
        assert_eq!(place(&status, "field"), field);
    }
    let deployment = plugins.enable_plugin(request(FOSHAN, &[], r#"{ "window": {"hours": 24} }"#)).await.unwrap().into_inner();
    assert_eq!(deployment.configuration_json, r#"{"window":{"hours":24}}"#);
    // A new version without a word about it keeps what was set, also after the plugin was off; other cities have their own.
    assert!(world.disable("demo", FOSHAN).await);
    for (city, given, expected) in [(FOSHAN, "", r#"{"window":{"hours":24}}"#), (DONGGUAN, "", "{}"), (FOSHAN, "{}", "{}"), (FOSHAN, "", "{}")] {
        let deployment = plugins.enable_plugin(request(city, &[], given)).await.unwrap().into_inner();
        assert_eq!(deployment.configuration_json, expected, "{given} in {city}");
    }
    let deployment = plugins.enable_plugin(request(FOSHAN, &[], r#"{"window": {"hours": 12.0}}"#)).await.unwrap().into_inner();
    assert_eq!(deployment.configuration_json, r#"{"window":{"hours":12}}"#, "an integer to the schema, and to the plugin");

    // The next version takes none of it.
    let wasm = package_with(&behaviours(), &manifest("demo", "0.2.0", ""), &proto("demo", &access("demo")), None);
    world.install(wasm).await.unwrap();
    let refused = plugins.enable_plugin(EnablePluginRequest { version: "0.2.0".to_owned(), ..request(FOSHAN, &[], "") }).await;
    assert_fails(refused, Code::InvalidArgument, Reason::ConfigurationInvalid, "what the plugin was last enabled with here: give a configuration, or {}");
    plugins.enable_plugin(EnablePluginRequest { version: "0.2.0".to_owned(), ..request(FOSHAN, &[], "{}") }).await.unwrap();
}

#[tokio::test]
async fn a_restart_keeps_deployments() {
    let world = World::with_demo("").await;
    let restarted = world.restarted().await;
    restarted.demo(&foshan(), ECHO).await.unwrap();
    let again = restarted.restarted().await;
    assert!(again.disable("demo", FOSHAN).await);
    assert_fails(again.restarted().await.demo(&foshan(), ECHO).await, Code::Unimplemented, Reason::PluginNotEnabled, "");
}

#[tokio::test]
async fn an_artifact_is_compiled_once_and_only_for_its_engine() {
    let world = World::with_demo("").await;
    let folder = world.dir().join("artifacts");
    let only = || {
        let artifacts: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(artifacts.len(), 1, "{artifacts:?}");
        artifacts[0].clone()
    };
    let artifact = only();
    let written_at = fs::metadata(&artifact).unwrap().modified().unwrap();
    let world = world.restarted().await;
    world.demo(&foshan(), ECHO).await.unwrap();
    assert_eq!(fs::metadata(only()).unwrap().modified().unwrap(), written_at, "a good one is loaded as it is");
    // As one of another engine would be named: it is left where it is, and nothing is loaded from it.
    let name = artifact.file_name().unwrap().to_string_lossy().into_owned();
    fs::rename(&artifact, artifact.with_file_name(format!("0{name}"))).unwrap();
    let world = world.restarted().await;
    world.demo(&foshan(), ECHO).await.unwrap();
    assert!(artifact.exists(), "compiled again");
}

#[tokio::test]
async fn a_tampered_artifact_is_compiled_again() {
    let world = World::with_demo("").await;
    let artifact = fs::read_dir(world.dir().join("artifacts")).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&artifact).unwrap();
    let mut tampered = good.clone();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 1;
    for bad in [tampered, good[..20].to_vec(), Vec::new()] {
        fs::write(&artifact, bad).unwrap();
        let restarted = world.restarted().await;
        restarted.demo(&foshan(), ECHO).await.unwrap();
        assert_eq!(fs::read(&artifact).unwrap().len(), good.len());
    }
    let mode = fs::metadata(world.dir().join("artifact.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_closed_host_refuses_calls() {
    let world = World::with_demo("").await;
    world.host.close().await;
    assert!(world.demo(&foshan(), ECHO).await.is_err());
}

#[tokio::test]
async fn a_version_that_misreads_one_enabled_in_another_city_is_not_enabled() {
    let world = World::new().await;
    let versions = [("0.1.0", "string text = 2"), ("0.2.0", "bytes text = 2")];
    // Installed while neither is enabled, so that nothing was there to compare with.
    for (version, field) in versions {
        let proto = proto("demo", &access("demo")).replace("string text = 2", field);
        world.install(package_with(&behaviours(), &manifest("demo", version, ""), &proto, None)).await.unwrap();
    }
    let enable = async |version: &str, city| {
        let request = EnablePluginRequest { version: version.to_owned(), ..request(city, &[], "") };
        world.plugins().enable_plugin(request).await
    };
    enable("0.1.0", FOSHAN).await.unwrap();
    let refused = enable("0.2.0", DONGGUAN).await;
    assert_fails(refused, Code::InvalidArgument, Reason::PluginDescriptorsInvalid, "'string text' in version 0.1.0");
    // In the same city it takes the place of the other, and nobody is left who could misread it.
    enable("0.2.0", FOSHAN).await.unwrap();
}
