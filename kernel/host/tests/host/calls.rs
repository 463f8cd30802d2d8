use std::time::{Duration, Instant};

use backplane_proto::{guest::v1 as guest, v1::Reason};
use bytes::Bytes;
use kernel_base::{City, limits::CALL_DEPTH_MAX};
use kernel_host::HostLimits;
use prost_reflect::prost::Message;
use tonic::Code;

use crate::{
    guests::{self, ALLOCATE, BAD_CODE, CONTEXT, COUNT, ECHO, GARBAGE, LOOP, RECURSE, REFUSE, TRAP, WORK, package_of},
    world::{DONGGUAN, FOSHAN, World, assert_fails, caller, foshan, place},
};

#[tokio::test]
async fn a_call_is_answered_from_a_warm_instance() {
    let world = World::with_demo("").await;
    assert_eq!(world.demo(&foshan(), ECHO).await.unwrap(), guests::request(ECHO));
    for calls in 2..=5 {
        assert_eq!(world.demo(&foshan(), COUNT).await.unwrap(), Bytes::from(vec![8, calls]));
    }
}

#[tokio::test]
async fn an_instance_that_waited_too_long_is_dropped() {
    let world = World::with_limits(HostLimits { idle_time: Duration::from_millis(20), ..HostLimits::default() }).await;
    let version = world.install(package_of(&guests::behaviours(), "demo", "0.1.0", "")).await.unwrap();
    world.enable(&version, FOSHAN).await;
    assert_eq!(world.demo(&foshan(), COUNT).await.unwrap(), Bytes::from_static(&[8, 1]));
    let dropped = async {
        while world.host.idle_instances() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), dropped).await.unwrap();
    assert_eq!(world.demo(&foshan(), COUNT).await.unwrap(), Bytes::from_static(&[8, 1]), "a fresh instance");
}

#[tokio::test]
async fn large_messages_pass_in_both_directions() {
    let world = World::with_demo("").await;
    let mut large = vec![0x12, 0x80, 0x80, 0x40];
    large.resize(4 + (1 << 20), b'a');
    let answer = world.host.call(foshan(), "/demo.v1.Demo/Do", large.clone().into()).await.unwrap();
    assert_eq!(answer, large);
}

#[tokio::test]
async fn the_guest_learns_who_calls_and_where() {
    let world = World::with_demo("").await;
    let context = guest::CallContext::decode(world.demo(&foshan(), CONTEXT).await.unwrap()).unwrap();
    assert_eq!((context.plugin_id.as_str(), context.version.as_str(), context.city.as_str()), ("demo", "0.1.0", FOSHAN));
    assert_eq!(context.caller.unwrap().principal_id, "mei");
    assert_eq!((context.configuration_json.as_str(), context.configuration_revision), ("{}", 1));
    assert_eq!(context.trace_id, "07".repeat(16));
}

#[tokio::test]
async fn a_trap_is_an_error_of_that_call_alone() {
    let world = World::with_demo("").await;
    world.demo(&foshan(), ECHO).await.unwrap();
    let status = assert_fails(world.demo(&foshan(), TRAP).await, Code::Internal, Reason::PluginTrapped, "unreachable");
    assert_eq!((place(&status, "plugin"), place(&status, "version"), place(&status, "city")), ("demo".to_owned(), "0.1.0".to_owned(), FOSHAN.to_owned()));
    assert!(status.message().contains("in handle"), "{}", status.message());
    assert_eq!(world.demo(&foshan(), COUNT).await.unwrap(), Bytes::from_static(&[8, 1]));
}

#[tokio::test]
async fn endless_recursion_is_a_trap() {
    let world = World::with_demo("").await;
    assert_fails(world.demo(&foshan(), RECURSE).await, Code::Internal, Reason::PluginTrapped, "stack");
    world.demo(&foshan(), ECHO).await.unwrap();
}

#[tokio::test]
async fn an_endless_loop_ends_at_its_limit_while_others_are_served() {
    let world = World::with_demo("[limits]\ntimeout_ms = 300").await;
    let neighbour = world.install(package_of(&guests::behaviours(), "neighbour", "0.1.0", "")).await.unwrap();
    world.enable(&neighbour, FOSHAN).await;
    let started = Instant::now();
    let context = foshan();
    let looping = world.demo(&context, LOOP);
    // One thread serves both: the loop must let go of it.
    let others = async {
        let mut answered = 0;
        while started.elapsed() < Duration::from_millis(200) {
            world.host.call(foshan(), "/neighbour.v1.Demo/Do", guests::request(ECHO).into()).await.unwrap();
            answered += 1;
            tokio::task::yield_now().await;
        }
        answered
    };
    let (looped, answered) = tokio::join!(looping, others);
    let status = assert_fails(looped, Code::DeadlineExceeded, Reason::PluginTimedOut, "within 300 ms");
    assert!(status.message().contains("in handle"), "{}", status.message());
    assert!(answered > 5, "only {answered} calls of the neighbour were answered");
    assert!(started.elapsed() < Duration::from_millis(600), "{:?}", started.elapsed());
    world.demo(&foshan(), ECHO).await.unwrap();
}

#[tokio::test]
async fn the_callers_deadline_ends_a_loop_early() {
    let world = World::with_demo("").await;
    let mut context = foshan();
    context.deadline = Instant::now() + Duration::from_millis(100);
    let started = Instant::now();
    assert_fails(world.demo(&context, LOOP).await, Code::DeadlineExceeded, Reason::DeadlinePassed, "deadline");
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn memory_without_end_is_refused_at_the_limit() {
    let world = World::with_demo("[limits]\nmemory_mib = 8").await;
    assert_fails(world.demo(&foshan(), ALLOCATE).await, Code::ResourceExhausted, Reason::PluginOutOfMemory, "8 MiB");
    world.demo(&foshan(), ECHO).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_passed_on_is_named() {
    let world = World::with_demo("").await;
    assert_fails(world.demo(&foshan(), GARBAGE).await, Code::Internal, Reason::PluginAnswerInvalid, "not an encoded protobuf message");
    assert_fails(world.demo(&foshan(), BAD_CODE).await, Code::Internal, Reason::PluginAnswerInvalid, "code 77");
}

#[tokio::test]
async fn the_guests_own_errors_pass_through() {
    let world = World::with_demo("").await;
    let status = world.demo(&foshan(), REFUSE).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "no such page"));
}

#[tokio::test]
async fn a_warm_instance_never_serves_two_different_rights() {
    let rest = "calls = [\"/backplane.warehouse.v1.Warehouse/DescribeDataset\"]\n[[reads]]\ndataset = \"interaction\"";
    let world = World::with_demo(rest).await;
    let version = world.install(package_of(&guests::behaviours(), "demo", "0.2.0", rest)).await.unwrap();
    world.enable(&version, "440000").await;
    let reader = caller("mei", &["demo.read", "dataset.read:interaction"], &[DONGGUAN]);
    let narrower = caller("wu", &["demo.read", "dataset.read:interaction(at)"], &[DONGGUAN]);
    let elsewhere = caller("mei", &["demo.read", "dataset.read:interaction"], &["440100"]);
    let nothing = caller("li", &["demo.read"], &[DONGGUAN]);
    let nothing_elsewhere = caller("li", &["demo.read"], &["440100"]);
    for context in [&reader, &narrower, &elsewhere, &nothing, &nothing_elsewhere] {
        assert_eq!(world.demo(context, COUNT).await.unwrap(), Bytes::from_static(&[8, 1]), "{}", context.rights.fingerprint());
    }
    // The same rights of another person are the same.
    let colleague = caller("zhao", &["demo.read", "dataset.read:*", "feed.import"], &[DONGGUAN]);
    assert_eq!(world.demo(&colleague, COUNT).await.unwrap(), Bytes::from_static(&[8, 2]));
}

#[tokio::test]
async fn more_callers_than_instances_wait_for_their_turn() {
    let world = World::with_demo("[limits]\nconcurrency = 1").await;
    let calls = (0..32).map(|_| async { world.demo(&foshan(), WORK).await });
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_caller_whose_turn_does_not_come_is_told_so() {
    let world = World::with_demo("[limits]\nconcurrency = 1\ntimeout_ms = 1000").await;
    let (context, mut impatient) = (foshan(), foshan());
    impatient.deadline = Instant::now() + Duration::from_millis(100);
    let (looped, refused) = tokio::join!(world.demo(&context, LOOP), world.demo(&impatient, ECHO));
    assert!(looped.is_err());
    assert_fails(refused, Code::ResourceExhausted, Reason::PluginSaturated, "busy");
    world.demo(&foshan(), ECHO).await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_given_up_costs_only_its_instance() {
    let world = World::with_demo("[limits]\nconcurrency = 1").await;
    let context = foshan();
    assert!(tokio::time::timeout(Duration::from_millis(50), world.demo(&context, LOOP)).await.is_err());
    assert_eq!(world.demo(&foshan(), COUNT).await.unwrap(), Bytes::from_static(&[8, 1]));
}

#[tokio::test]
async fn depth_and_cycles_are_refused() {
    let world = World::with_demo("").await;
    let mut context = foshan();
    context.chain = vec!["other".parse().unwrap(), "demo".parse().unwrap()];
    assert_fails(world.demo(&context, ECHO).await, Code::FailedPrecondition, Reason::CallCycle, "other > demo");
    context.chain = (0..CALL_DEPTH_MAX).map(|depth| format!("plugin-{depth}").parse().unwrap()).collect();
    assert_fails(world.demo(&context, ECHO).await, Code::FailedPrecondition, Reason::CallDepthExceeded, "5th");
}

#[tokio::test]
async fn a_city_without_a_deployment_is_refused_and_the_province_serves_the_rest() {
    let world = World::with_demo("").await;
    let dongguan = caller("wu", &["demo.read"], &[DONGGUAN]);
    assert_fails(world.demo(&dongguan, ECHO).await, Code::Unimplemented, Reason::PluginNotEnabled, DONGGUAN);
    let version = world.install(package_of(&guests::behaviours(), "demo", "0.2.0", "")).await.unwrap();
    world.enable(&version, &City::PROVINCE.to_string()).await;
    let version_in = async |context| guest::CallContext::decode(world.demo(&context, CONTEXT).await.unwrap()).unwrap().version;
    assert_eq!(version_in(dongguan).await, "0.2.0");
    assert_eq!(version_in(foshan()).await, "0.1.0");
}

#[tokio::test]
async fn the_fallback_answers_grpc() {
    let world = World::with_demo("").await;
    let mut client = tonic::client::Grpc::new(world.bus.acting(foshan()));
    let codec = || tonic_prost::ProstCodec::<guest::Caller, guest::Caller>::default();
    // Field 1 is a text here and a number there: an echo does not mind.
    let ask = guest::Caller { principal_id: "x".repeat(300), kind: String::new() };
    let path = || "/demo.v1.Demo/Do".parse().unwrap();
    client.ready().await.unwrap();
    let answer = client.unary(tonic::Request::new(ask.clone()), path(), codec()).await.unwrap().into_inner();
    assert_eq!(answer, ask);
    let unknown = client.unary(tonic::Request::new(ask), "/demo.v1.Demo/Undo".parse().unwrap(), codec()).await;
    assert_fails(unknown, Code::Unimplemented, Reason::PluginNotEnabled, "/demo.v1.Demo/Undo");
}
