//! A plugin call in this process, against the same component called by wasmtime with nothing around it.

use backplane_proto::guest::v1 as guest;
use backplane_tests::FOSHAN;
use bytes::Bytes;
use kernel_base::CallContext;
use prost::Message;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, Store,
    component::{Component, HasSelf, Linker, ResourceTable, bindgen},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    bench_v1::Payload,
    platform::Platform,
    timing::{each, micros, side_by_side},
};

bindgen!({ world: "plugin", path: "../proto/wit", imports: { default: async }, exports: { default: async } });

const PATH: &str = "/bench.v1.Bench/Echo";

pub(crate) async fn run(platform: &Platform) {
    println!("\nplugin call in process, echo (target: at most 1 µs above raw wasmtime at 100 B)");
    println!("{:>9}  {:>12}  {:>12}  {:>8}", "bytes", "backplane µs", "wasmtime µs", "ratio");
    let mut raw = Raw::start(platform).await;
    for (size, times) in [(100, 1_000), (100_000, 100), (1_000_000, 10)] {
        let request = Bytes::from(Payload { data: vec![7; size].into() }.encode_to_vec());
        let ours = async || each(times, async || drop(platform.host.call(platform.context.clone(), PATH, request.clone()).await.unwrap())).await;
        let peer = async || each(times, async || raw.call(&request).await).await;
        let (ours, peer) = side_by_side(ours, peer).await;
        println!("{size:>9}  {:>12.2}  {:>12.2}  {:>8.2}", micros(ours), micros(peer), micros(ours) / micros(peer));
    }
}

/// The component in a bare store: no limiter, no epochs, no pool of instances. The guest reads a context of the same size, since its SDK decodes it.
struct Raw {
    store: Store<Bare>,
    plugin: Plugin,
    context: Vec<u8>,
}

struct Bare {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Bare {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

use backplane::plugin::bus::{self, Reader};

impl bus::Host for Bare {
    async fn call(&mut self, _: String, _: Vec<u8>, _: Vec<u8>) -> Result<Vec<u8>, Status> {
        Err(Status { code: 12, message: String::new(), details: Vec::new() })
    }
    async fn open(&mut self, _: String, _: Vec<u8>, _: Vec<u8>) -> Result<wasmtime::component::Resource<Reader>, Status> {
        Err(Status { code: 12, message: String::new(), details: Vec::new() })
    }
}

impl bus::HostReader for Bare {
    async fn next(&mut self, _: wasmtime::component::Resource<Reader>) -> Result<Option<Vec<u8>>, Status> {
        Ok(None)
    }
    async fn drop(&mut self, _: wasmtime::component::Resource<Reader>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl Raw {
    async fn start(platform: &Platform) -> Raw {
        let mut config = Config::new();
        config.wasm_component_model(true);
        // The allocator that the host uses as well: without it wasmtime maps and unmaps memory where the host does not.
        config.allocation_strategy(InstanceAllocationStrategy::pooling());
        let engine = Engine::new(&config).unwrap();
        let component = Component::from_file(&engine, &platform.wasm).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |bare: &mut Bare| bare).unwrap();
        let mut store = Store::new(&engine, Bare { wasi: WasiCtx::builder().build(), table: ResourceTable::new() });
        let plugin = Plugin::instantiate_async(&mut store, &component, &linker).await.unwrap();
        Raw { store, plugin, context: guest_context(&platform.context) }
    }

    async fn call(&mut self, request: &[u8]) {
        self.plugin.call_handle(&mut self.store, PATH, &self.context, request).await.unwrap().unwrap();
    }
}

fn guest_context(context: &CallContext) -> Vec<u8> {
    let message = guest::CallContext {
        plugin_id: "bench".to_owned(),
        version: "0.1.0".to_owned(),
        city: FOSHAN.to_owned(),
        caller: Some(guest::Caller { principal_id: context.caller_id().to_owned(), kind: "person".to_owned() }),
        deadline_micros: 1_800_000_000_000_000,
        trace_id: context.trace.to_string(),
        configuration_json: "{}".to_owned(),
        configuration_revision: 1,
    };
    message.encode_to_vec()
}
