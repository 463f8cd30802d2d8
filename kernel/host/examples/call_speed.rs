//! What a warm call through the host costs above the same call on bare wasmtime: `cargo run -p kernel-host --example call_speed`.
//! Both run the same component, side by side in one process; each line is the best and the median of many short rounds.
#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub, dead_code, reason = "a measurement, which shares its guests with the tests")]

#[path = "../tests/host/guests.rs"]
mod guests;
#[path = "../tests/host/world.rs"]
mod world;

use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{Component, HasSelf, Linker},
};

wasmtime::component::bindgen!({ world: "plugin", path: "../../proto/wit", imports: { default: async }, exports: { default: async } });

struct Bare;

impl backplane::plugin::bus::Host for Bare {
    async fn call(&mut self, _: String, _: Vec<u8>, request: Vec<u8>) -> Result<Vec<u8>, backplane::plugin::bus::Status> {
        Ok(request)
    }
    async fn open(
        &mut self,
        _: String,
        _: Vec<u8>,
        _: Vec<u8>,
    ) -> Result<wasmtime::component::Resource<backplane::plugin::bus::Reader>, backplane::plugin::bus::Status> {
        Err(backplane::plugin::bus::Status { code: 12, message: String::new(), details: Vec::new() })
    }
}

impl backplane::plugin::bus::HostReader for Bare {
    async fn next(&mut self, _: wasmtime::component::Resource<backplane::plugin::bus::Reader>) -> Result<Option<Vec<u8>>, backplane::plugin::bus::Status> {
        Ok(None)
    }
    async fn drop(&mut self, _: wasmtime::component::Resource<backplane::plugin::bus::Reader>) -> wasmtime::Result<()> {
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let world = world::World::with_demo("").await;
    let context = world::foshan();
    let (mut store, plugin) = bare().await;
    let context_bytes = [7; 120];
    println!("{:>9}   {:>21}   {:>21}   {:>21}", "bytes", "wasmtime best/median", "host best/median", "difference");
    for size in [100_usize, 10_000, 100_000, 1_000_000] {
        let request = message(size);
        let calls = u32::try_from(1_000_000 / (size + 2_000)).unwrap().max(2);
        let (mut raw, mut hosted) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let started = Instant::now();
            for _ in 0..calls {
                plugin.call_handle(&mut store, "/demo.v1.Demo/Do", &context_bytes, &request).await.unwrap().unwrap();
            }
            raw.push(started.elapsed() / calls);
            let started = Instant::now();
            for _ in 0..calls {
                world.host.call(&context, "/demo.v1.Demo/Do", request.clone()).await.unwrap();
            }
            hosted.push(started.elapsed() / calls);
        }
        let ((raw_best, raw_median), (best, median)) = (best_and_median(raw), best_and_median(hosted));
        let apart = |host: Duration, raw: Duration| (host.as_secs_f64() - raw.as_secs_f64()) * 1e6;
        println!(
            "{size:>9}   {raw_best:>9.2?} / {raw_median:>9.2?}   {best:>9.2?} / {median:>9.2?}   {:>+7.2} / {:>+7.2} µs",
            apart(best, raw_best),
            apart(median, raw_median)
        );
    }
}

/// Rounds take about a millisecond, so that on a busy machine many of them are not interrupted; the two sides take turns.
const ROUNDS: usize = 400;

fn best_and_median(mut rounds: Vec<Duration>) -> (Duration, Duration) {
    rounds.sort();
    (rounds[0], rounds[rounds.len() / 2])
}

/// A message whose field 2 is a text, so that the whole has about `size` bytes.
fn message(size: usize) -> Bytes {
    let mut bytes = vec![0x12];
    let mut length = size - 4;
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.resize(bytes.len() + size - 4, b'a');
    bytes.into()
}

async fn bare() -> (Store<Bare>, Plugin) {
    let mut config = Config::new();
    config.concurrency_support(false).epoch_interruption(true).allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::new()));
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, guests::behaviours()).unwrap();
    let mut linker = Linker::new(&engine);
    Plugin::add_to_linker::<Bare, HasSelf<Bare>>(&mut linker, |bare| bare).unwrap();
    let mut store = Store::new(&engine, Bare);
    store.set_epoch_deadline(u64::MAX / 2);
    let plugin = Plugin::instantiate_async(&mut store, &component, &linker).await.unwrap();
    (store, plugin)
}
