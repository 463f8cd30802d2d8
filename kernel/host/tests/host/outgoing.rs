use backplane_proto::{v1::Reason, warehouse::v1::Dataset};
use prost_reflect::prost::Message;
use tonic::Code;

use crate::{
    guests::{
        self, CALL_KEYED, CALL_OUT, CALL_SELF, COUNT, LEAVE_OPEN, OPEN_MANY, READ_STREAM, access, behaviours, component, manifest, package_of, package_with,
        proto,
    },
    world::{FOSHAN, World, assert_fails, caller, foshan},
};

const CALLS: &str = "calls = [\"/backplane.warehouse.v1.Warehouse/DescribeDataset\"]\n[[reads]]\ndataset = \"interaction\"\ncolumns = [\"at\", \"page\"]";

#[tokio::test]
async fn a_call_out_carries_the_rights_of_both() {
    let world = World::with_demo(CALLS).await;
    let context = caller("mei", &["demo.read", "warehouse.query", "dataset.read:interaction(at,agent)", "dataset.read:ticket"], &[FOSHAN]);
    let answer = Dataset::decode(world.demo(&context, CALL_OUT).await.unwrap()).unwrap();
    assert_eq!(answer.name, "interaction");
    let asked = world.warehouse.asked.lock().unwrap().pop().unwrap();
    assert_eq!(asked.caller_id(), "mei");
    assert_eq!(asked.actor.unwrap().plugin.as_str(), "demo");
    assert_eq!(asked.rights.fingerprint(), "dataset.read:interaction(at)@440600;warehouse.query@440600");
    assert_eq!(asked.city.unwrap().to_string(), FOSHAN);
    assert_eq!(asked.chain, ["demo".parse().unwrap()]);
    assert!(asked.deadline <= context.deadline);
}

#[tokio::test]
async fn an_idempotency_key_of_the_guest_crosses_the_bus() {
    let world = World::with_demo(CALLS).await;
    for _ in 0..2 {
        world.demo(&foshan(), CALL_KEYED).await.unwrap();
    }
    let passed = world.passed.lock().unwrap();
    let keys: Vec<_> = passed.iter().filter_map(|(_, headers, _)| headers.get("backplane-idempotency-key")).collect();
    assert_eq!(keys, ["run-7", "run-7"]);
}

#[tokio::test]
async fn a_plugin_has_no_rights_that_its_caller_lacks() {
    let world = World::with_demo(CALLS).await;
    world.demo(&foshan(), CALL_OUT).await.unwrap();
    assert_eq!(world.warehouse.rights_seen(), [String::new()].into());
}

#[tokio::test]
async fn a_method_that_was_not_granted_cannot_be_called() {
    let world = World::with_demo("").await;
    let refused = world.demo(&foshan(), CALL_OUT).await;
    assert_fails(
        refused,
        Code::PermissionDenied,
        Reason::CapabilityNotGranted,
        "add calls = [\"/backplane.warehouse.v1.Warehouse/DescribeDataset\"] to plugin.toml",
    );
    assert!(world.warehouse.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_plugin_that_calls_itself_is_refused() {
    let world = World::with_demo("calls = [\"/demo.v1.Demo/Do\"]").await;
    assert_fails(world.demo(&foshan(), CALL_SELF).await, Code::FailedPrecondition, Reason::CallCycle, "demo");
}

const PEER: &str = "/peer.v1.Demo/Do";

/// `demo`, which calls `peer` when it is told to call itself.
fn calls_peer() -> Vec<u8> {
    package_of(&behaviours().replace("/demo.v1.Demo/Do", PEER), "demo", "0.1.0", &format!("calls = [\"{PEER}\"]"))
}

/// `peer`, which echoes, and whose method asks for this permission.
fn peer(version: &str, permission: &str) -> Vec<u8> {
    let proto = proto("peer", &access("peer").replace("peer.read", permission));
    package_with(&component("(call $ok (local.get $r) (local.get $rl))", ""), &manifest("peer", version, ""), &proto, None)
}

#[tokio::test]
async fn a_plugin_calls_another_plugin() {
    let world = World::new().await;
    for wasm in [calls_peer(), peer("0.1.0", "peer.read")] {
        let version = world.install(wasm).await.unwrap();
        world.enable(&version, FOSHAN).await;
    }
    assert_eq!(world.demo(&foshan(), CALL_SELF).await.unwrap(), guests::request(CALL_SELF));
}

#[tokio::test]
async fn the_permission_of_another_plugins_method_is_the_one_of_the_version_that_is_enabled_now() {
    let world = World::new().await;
    let version = world.install(calls_peer()).await.unwrap();
    world.enable(&version, FOSHAN).await;
    let context = caller("mei", &["demo.read", "peer.read", "peer.look"], &[FOSHAN]);
    assert_fails(world.demo(&context, CALL_SELF).await, Code::Unimplemented, Reason::PluginNotEnabled, PEER);
    assert_eq!(world.rights_at(PEER), "", "nobody knows yet what peer will ask for");

    for (version, permission) in [("0.1.0", "peer.read"), ("0.2.0", "peer.look")] {
        let version = world.install(peer(version, permission)).await.unwrap();
        world.enable(&version, FOSHAN).await;
        world.demo(&context, CALL_SELF).await.unwrap();
        assert_eq!(world.rights_at(PEER), format!("{permission}@{FOSHAN}"));
    }
    world.disable("peer", FOSHAN).await;
    assert_fails(world.demo(&context, CALL_SELF).await, Code::Unimplemented, Reason::PluginNotEnabled, PEER);
    assert_eq!(world.rights_at(PEER), "");
}

#[tokio::test]
async fn a_start_brings_plugins_back_with_their_rights_at_each_other_whatever_their_order() {
    let world = World::new().await;
    // By their ids, demo comes before peer and zeta after it.
    let zeta = package_of(&behaviours().replace("/demo.v1.Demo/Do", PEER), "zeta", "0.1.0", &format!("calls = [\"{PEER}\"]"));
    for wasm in [calls_peer(), peer("0.1.0", "peer.read"), zeta] {
        let version = world.install(wasm).await.unwrap();
        world.enable(&version, FOSHAN).await;
    }
    let world = world.restarted().await;
    let context = caller("mei", &["peer.read"], &[FOSHAN]);
    for path in ["/demo.v1.Demo/Do", "/zeta.v1.Demo/Do"] {
        world.host.call(context.clone(), path, guests::request(CALL_SELF).into()).await.unwrap();
        assert_eq!(world.rights_at(PEER), format!("peer.read@{FOSHAN}"), "{path}");
    }
}

const STREAMS: &str = "calls = [\"/backplane.warehouse.v1.Warehouse/Query\"]";

#[tokio::test]
async fn a_stream_is_read_to_its_end() {
    let world = World::with_demo(STREAMS).await;
    for _ in 0..2 {
        assert_eq!(world.demo(&foshan(), READ_STREAM).await.unwrap().as_ref(), [8, 3]);
    }
    assert_eq!(world.demo(&foshan(), COUNT).await.unwrap().as_ref(), [8, 3], "the instance is warm: it closed what it opened");
}

#[tokio::test]
async fn a_call_holds_eight_streams_open_and_no_more() {
    let world = World::with_demo(STREAMS).await;
    let refused = world.demo(&foshan(), OPEN_MANY).await;
    assert_fails(refused, Code::InvalidArgument, Reason::FieldInvalid, "8 streams are open in this call");
    assert_eq!(world.warehouse.asked.lock().unwrap().len(), 8);
}

#[tokio::test]
async fn an_instance_that_left_a_stream_open_answers_no_other_call() {
    let world = World::with_demo(STREAMS).await;
    world.demo(&foshan(), LEAVE_OPEN).await.unwrap();
    assert_eq!(world.host.idle_instances(), 0);
    assert_eq!(world.demo(&foshan(), COUNT).await.unwrap().as_ref(), [8, 1], "a fresh instance");
}

#[tokio::test]
async fn a_stream_that_was_not_granted_cannot_be_opened() {
    let world = World::with_demo("").await;
    assert_fails(world.demo(&foshan(), READ_STREAM).await, Code::PermissionDenied, Reason::CapabilityNotGranted, "Warehouse/Query");
}
