use std::collections::BTreeMap;

use backplane_proto::{
    plugin::v1::{GetPluginVersionRequest, ListPluginsRequest},
    v1::Reason,
};
use kernel_host::package::Beside;
use tonic::Code::{self, InvalidArgument};

use crate::{
    guests::{access, behaviours, component, jobs, manifest, package_of, package_with, package_with_datasets, proto},
    world::{FOSHAN, World, assert_fails, place},
};

#[tokio::test]
async fn installing_shows_what_is_asked_and_repeating_it_changes_nothing() {
    let world = World::new().await;
    let wasm =
        package_of(&behaviours(), "demo", "0.1.0", "calls = [\"/backplane.warehouse.v1.Warehouse/DescribeDataset\"]\n[[reads]]\ndataset = \"interaction\"");
    let version = world.install(wasm.clone()).await.unwrap();
    assert_eq!(version.capabilities, ["call:/backplane.warehouse.v1.Warehouse/DescribeDataset", "dataset.read:interaction"]);
    assert_eq!((version.title_zh.as_str(), version.services.as_slice()), ("示例", ["demo.v1.Demo".to_owned()].as_slice()));
    assert_eq!(version.digest.len(), 64);
    assert_eq!(world.install(wasm).await.unwrap(), version);
}

#[tokio::test]
async fn a_version_number_is_never_used_for_other_bytes() {
    let world = World::new().await;
    world.install(package_of(&behaviours(), "demo", "0.1.0", "")).await.unwrap();
    let other = package_of(&behaviours(), "demo", "0.1.0", "[limits]\nmemory_mib = 32");
    assert_fails(world.install(other).await, Code::AlreadyExists, Reason::PluginVersionExists, "new version number");
}

#[tokio::test]
async fn what_is_no_component_is_refused() {
    let world = World::new().await;
    assert_fails(world.install(b"GIF89a".to_vec()).await, InvalidArgument, Reason::PluginNotAComponent, "backplane plugin build");
    assert_fails(world.install(Vec::new()).await, InvalidArgument, Reason::PluginNotAComponent, "backplane plugin build");
    assert_fails(world.install(wat::parse_str("(module)").unwrap()).await, InvalidArgument, Reason::PluginNotAComponent, "core module");
    let mut cut = package_of(&behaviours(), "demo", "0.1.0", "");
    cut.truncate(cut.len() / 2);
    assert_fails(world.install(cut).await, InvalidArgument, Reason::PluginNotAComponent, "");
}

#[tokio::test]
async fn a_component_without_a_manifest_is_refused() {
    let world = World::new().await;
    let bare = wat::parse_str(behaviours()).unwrap();
    assert_fails(world.install(bare).await, InvalidArgument, Reason::PluginManifestInvalid, "backplane:manifest");
}

#[tokio::test]
async fn another_world_is_refused() {
    let world = World::new().await;
    let empty = package_of("(component)", "demo", "0.1.0", "");
    assert_fails(world.install(empty).await, InvalidArgument, Reason::PluginWorldUnsupported, "'handle'");
    let other_types = r#"(component
      (core module $m (func (export "handle")))
      (core instance $i (instantiate $m))
      (func $handle (canon lift (core func $i "handle")))
      (export "handle" (func $handle)))"#;
    assert_fails(world.install(package_of(other_types, "demo", "0.1.0", "")).await, InvalidArgument, Reason::PluginWorldUnsupported, "handle");
    let next_version = behaviours().replace("bus@1.0.0", "bus@2.0.0");
    assert_fails(world.install(package_of(&next_version, "demo", "0.1.0", "")).await, InvalidArgument, Reason::PluginWorldUnsupported, "bus@2.0.0");
}

#[tokio::test]
async fn an_unknown_import_is_named() {
    let world = World::new().await;
    let sockets = behaviours().replacen("(component", "(component (import \"wasi:sockets/tcp@0.2.0\" (instance))", 1);
    let status =
        assert_fails(world.install(package_of(&sockets, "demo", "0.1.0", "")).await, InvalidArgument, Reason::PluginImportUnknown, "wasi:sockets/tcp@0.2.0");
    assert_eq!(place(&status, "import"), "wasi:sockets/tcp@0.2.0");
}

#[tokio::test]
async fn descriptors_must_be_the_plugins_own_and_say_who_may_call() {
    let world = World::new().await;
    let cases = [
        (proto("demo", ""), "does not say who may call it"),
        (proto("demo", &access("other")), "begin it with 'demo.'"),
        (proto("other", &access("demo")), "which is not the plugin's"),
        (proto("demo", &access("demo")).replace("service Demo", "service Other"), "demo.v1.Demo is not among the descriptors"),
        (proto("demo", &access("demo")).replace("returns (Ask)", "returns (stream Ask)"), "page the results"),
        (proto("demo", &access("demo")).replace("permission: \"demo.read\", scope: SCOPE_CITY", "scope: SCOPE_ANONYMOUS"), "without a token"),
    ];
    for (proto, says) in cases {
        let wasm = package_with(&behaviours(), &manifest("demo", "0.1.0", ""), &proto, None);
        assert_fails(world.install(wasm).await, InvalidArgument, Reason::PluginDescriptorsInvalid, says);
    }
    let garbage = {
        let beside = Beside { manifest: &manifest("demo", "0.1.0", ""), descriptors: b"\xff\xff", configuration_schema: None, datasets: &BTreeMap::new() };
        kernel_host::package::assemble(&wat::parse_str(behaviours()).unwrap(), beside).unwrap()
    };
    assert_fails(world.install(garbage).await, InvalidArgument, Reason::PluginDescriptorsInvalid, "FileDescriptorSet");
}

#[tokio::test]
async fn a_version_that_misreads_the_enabled_one_is_refused() {
    let world = World::with_demo("").await;
    let install = async |proto: String| world.install(package_with(&behaviours(), &manifest("demo", "0.2.0", ""), &proto, None)).await;
    let good = proto("demo", &access("demo"));
    let retyped = install(good.replace("string text = 2", "bytes text = 2")).await;
    assert_fails(retyped, InvalidArgument, Reason::PluginDescriptorsInvalid, "'string text' in version 0.1.0");
    let exchanged = install(good.replace("rpc Do(Ask)", "rpc Do(Other)") + "message Other {}").await;
    assert_fails(exchanged, InvalidArgument, Reason::PluginDescriptorsInvalid, "add a method instead");
    install(good.replace("string text = 2;", "string text = 2; string more = 3;")).await.unwrap();
}

#[tokio::test]
async fn a_configuration_schema_that_is_none_is_refused() {
    let world = World::new().await;
    for schema in ["{", r#"{"type": 7}"#, r#"{"$ref": "https://example.com/schema.json"}"#] {
        let wasm = package_with(&behaviours(), &manifest("demo", "0.1.0", ""), &proto("demo", &access("demo")), Some(schema));
        assert_fails(world.install(wasm).await, InvalidArgument, Reason::ConfigurationInvalid, "JSON Schema");
    }
}

#[tokio::test]
async fn a_guest_that_traps_loops_or_allocates_at_its_start_is_refused() {
    let world = World::new().await;
    let limits = "[limits]\ntimeout_ms = 100\nmemory_mib = 8";
    let start = |body: &str| component("(call $ok (local.get $r) (local.get $rl))", &format!("(func $boom {body}) (start $boom)"));
    let cases = [
        (start("unreachable"), "unreachable"),
        (start("(loop $forever (br $forever))"), "within 100 ms"),
        (start("(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable"), "8 MiB"),
        (component("unreachable", ""), "unreachable"),
        (component("(loop $forever (br $forever)) unreachable", ""), "within 100 ms"),
    ];
    for (text, says) in cases {
        assert_fails(world.install(package_of(&text, "demo", "0.1.0", limits)).await, InvalidArgument, Reason::PluginSmokeCallFailed, says);
    }
}

#[tokio::test]
async fn lists_are_paged_by_plugin_and_newest_first() {
    let world = World::new().await;
    for (id, version) in [("demo", "0.1.0"), ("demo", "0.2.0"), ("alpha", "1.0.0")] {
        let version = world.install(package_of(&behaviours(), id, version, "")).await.unwrap();
        world.enable(&version, FOSHAN).await;
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = world.plugins().list_plugins(ListPluginsRequest { page_size: 1, page_token }).await.unwrap().into_inner();
        seen.extend(page.versions.iter().map(|version| format!("{} {} {}", version.plugin_id, version.version, version.deployments.len())));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["alpha 1.0.0 1", "demo 0.2.0 1", "demo 0.1.0 0"]);
    let last = world.plugins().get_plugin_version(GetPluginVersionRequest { plugin_id: "demo".to_owned(), version: String::new() }).await.unwrap();
    assert_eq!(last.into_inner().version, "0.2.0");
    let unknown = GetPluginVersionRequest { plugin_id: "demo".to_owned(), version: "9.0.0".to_owned() };
    assert_fails(world.plugins().get_plugin_version(unknown).await, Code::NotFound, Reason::ResourceNotFound, "9.0.0");
}

const WRITES: &str = "[[writes]]\ndataset = \"demo.daily\"";

fn with_contract(version: &str, contract: &str) -> Vec<u8> {
    package_with_datasets(&behaviours(), &manifest("demo", version, WRITES), &proto("demo", &access("demo")), None, &[("demo.daily", contract)]).unwrap()
}

#[tokio::test]
async fn the_contracts_of_a_plugins_datasets_come_in_force_with_it() {
    let world = World::new().await;
    let version = world.install(with_contract("0.1.0", "name: demo.daily\npurpose: one")).await.unwrap();
    assert_eq!((version.datasets, version.capabilities), (vec!["demo.daily".to_owned()], vec!["dataset.write:demo.daily".to_owned()]));
    let in_force = || {
        let contracts = world.warehouse.contracts.lock().unwrap();
        contracts.get("demo.daily").map(|contract| (contract.revision, contract.document.clone())).unwrap()
    };
    assert_eq!(in_force().0, 1);
    // As it is, it stays; another one follows it.
    world.install(with_contract("0.2.0", "name: demo.daily\npurpose: one")).await.unwrap();
    assert_eq!(in_force().0, 1);
    world.install(with_contract("0.3.0", "name: demo.daily\npurpose: two")).await.unwrap();
    assert_eq!(in_force(), (2, "name: demo.daily\npurpose: two".to_owned()));
    // What the warehouse refuses is not installed.
    let refused = world.install(with_contract("0.4.0", "name: demo.daily\npurpose: breaks")).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, "the contract breaks"));
    let versions = world.plugins().list_plugins(ListPluginsRequest::default()).await.unwrap().into_inner().versions;
    assert!(versions.iter().all(|version| version.version != "0.4.0"), "{versions:?}");
}

#[tokio::test]
async fn what_is_written_has_a_contract_and_nothing_else_has() {
    let (writing, plain) = (manifest("demo", "0.1.0", WRITES), manifest("demo", "0.1.0", ""));
    let assembled = |manifest: &str, datasets: &[(&str, &str)]| {
        let assembled = package_with_datasets(&behaviours(), manifest, &proto("demo", &access("demo")), None, datasets);
        assembled.map(drop).unwrap_err().to_string()
    };
    let missing = assembled(&writing, &[]);
    assert!(missing.contains("write datasets/demo.daily.yaml"), "{missing}");
    let unasked = assembled(&plain, &[("demo.daily", "name: demo.daily")]);
    assert!(unasked.contains("add [[writes]] with that dataset"), "{unasked}");
}

#[tokio::test]
async fn a_version_says_which_jobs_it_has() {
    let world = World::new().await;
    let version = world.install(package_of(&behaviours(), "demo", "0.1.0", &jobs())).await.unwrap();
    let names: Vec<&str> = version.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["count-up-to-three", "never-comes-to-end", "asking", "t"]);
    assert_eq!((version.jobs[0].title_zh.as_str(), version.jobs[0].title_en.as_str()), ("任务", "Job"));
}

#[tokio::test]
async fn a_contract_of_another_dataset_is_refused() {
    let world = World::new().await;
    for contract in ["name: subscriber\npurpose: one", "{\"name\": \"subscriber\",\n\"purpose\": \"\nname: demo.daily\"}", "purpose: none"] {
        let refused = world.install(with_contract("0.1.0", contract)).await;
        assert_fails(refused, InvalidArgument, Reason::PluginManifestInvalid, "write name: demo.daily");
    }
    assert!(world.warehouse.contracts.lock().unwrap().is_empty());
}
