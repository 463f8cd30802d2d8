use backplane_proto::{v1::Reason, warehouse::v1::Dataset};
use prost_reflect::prost::Message;
use tonic::Code;

use crate::{
    guests::{CALL_OUT, CALL_SELF},
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
