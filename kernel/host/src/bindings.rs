//! What wasmtime generates from the connector, `proto/wit/plugin.wit`.

wasmtime::component::bindgen!({
    world: "plugin",
    path: "../../proto/wit",
    imports: { default: async },
    exports: { default: async },
    with: { "backplane:plugin/bus.reader": crate::bus_import::Reader },
});
