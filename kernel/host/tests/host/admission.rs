use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use backplane_proto::v1::Reason;
use tokio::task::JoinHandle;
use tonic::{Code, Status};

use crate::{
    guests::{self, CALL_OUT, ECHO, behaviours, package_of},
    world::{DONGGUAN, FOSHAN, GATE_PERMITS, World, assert_fails, caller, foshan},
};

const CALLS_WAREHOUSE: &str = "calls = [\"/backplane.warehouse.v1.Warehouse/DescribeDataset\"]\n[limits]\nconcurrency = ";

/// Calls of `demo` that have all been begun when they are returned; they wait for the warehouse, or for their turn.
async fn begun(world: &Arc<World>, cities: &[&'static str], calls: usize) -> Vec<JoinHandle<Result<bytes::Bytes, Status>>> {
    let begun = Arc::new(AtomicUsize::new(0));
    let call = |city: &'static str| {
        let (world, begun) = (Arc::clone(world), Arc::clone(&begun));
        tokio::spawn(async move {
            begun.fetch_add(1, Ordering::Relaxed);
            world.demo(&caller("mei", &["demo.read"], &[city]), CALL_OUT).await
        })
    };
    let calls: Vec<_> = (0..calls).flat_map(|_| cities.iter().copied()).map(call).collect();
    while begun.load(Ordering::Relaxed) < calls.len() {
        tokio::task::yield_now().await;
    }
    calls
}

#[tokio::test]
async fn a_plugin_that_blocks_in_two_cities_leaves_a_neighbour_served() {
    let rest = format!("{CALLS_WAREHOUSE}64");
    let world = Arc::new(World::with_demo(&rest).await);
    let demo = world.install(package_of(&behaviours(), "demo", "0.2.0", &rest)).await.unwrap();
    world.enable(&demo, DONGGUAN).await;
    let neighbour = world.install(package_of(&behaviours(), "neighbour", "0.1.0", "")).await.unwrap();
    world.enable(&neighbour, FOSHAN).await;

    let gate = Arc::clone(&world.warehouse.gate);
    let held_up = gate.acquire_many(GATE_PERMITS).await.unwrap();
    // Either city alone may have 64 calls; together they would be all that the host runs.
    let calls = begun(&world, &[FOSHAN, DONGGUAN], 64).await;
    world.warehouse_is_asked(64).await;
    for _ in 0..3 {
        world.host.call(foshan(), "/neighbour.v1.Demo/Do", guests::request(ECHO).into()).await.unwrap();
    }
    assert_eq!(world.warehouse.asked.lock().unwrap().len(), 64, "the share of one plugin");
    drop(held_up);
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_flood_is_refused_once_enough_calls_wait() {
    let world = Arc::new(World::with_demo(&format!("{CALLS_WAREHOUSE}1")).await);
    let gate = Arc::clone(&world.warehouse.gate);
    let held_up = gate.acquire_many(GATE_PERMITS).await.unwrap();
    let calls = begun(&world, &[FOSHAN], 1 + 64).await;
    world.warehouse_is_asked(1).await;
    let refused = world.demo(&foshan(), ECHO).await;
    let status = assert_fails(refused, Code::ResourceExhausted, Reason::PluginSaturated, "64 calls wait for it already");
    assert!(status.message().contains("raise limits.concurrency in plugin.toml"), "{}", status.message());
    drop(held_up);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    world.demo(&foshan(), ECHO).await.unwrap();
}
