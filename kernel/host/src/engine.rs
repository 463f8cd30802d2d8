use std::{thread, time::Duration};

use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, component::HasSelf, component::Linker};
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::{
    cli::{WasiCli, WasiCliView as _},
    filesystem::{WasiFilesystem, WasiFilesystemView as _},
    p2::{
        add_to_linker_proxy_interfaces_async,
        bindings::{cli, filesystem, random},
    },
    random::WasiRandom,
};

use crate::{HostError, bindings::Plugin, guest_state::GuestState, manifest::MEMORY_MIB_MAX};

/// How often a running guest can be interrupted: the precision of every time limit, and the longest that it keeps a thread from the others.
pub(crate) const TICK: Duration = Duration::from_millis(10);

// Limit: recursion of a guest. Rust code in plugins stays below 100 KiB; a guest that recurses without end traps here.
const WASM_STACK_BYTES: usize = 512 << 10;

// Limit: what one component may be made of. wit-component links a guest from four core modules with one memory.
const CORE_INSTANCES_PER_COMPONENT: u32 = 16;
const MEMORIES_PER_COMPONENT: u32 = 2;
const TABLES_PER_COMPONENT: u32 = 4;
// Limit: functions that a guest may take the address of; a large Rust guest has about 5,000.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// The wasm engine with everything that a plugin can import.
#[derive(Clone)]
pub(crate) struct WasmEngine {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<GuestState>,
}

impl WasmEngine {
    /// Makes the engine and starts its clock, which ends when the last clone of the engine is dropped.
    pub(crate) fn start(instances_max: u32) -> Result<WasmEngine, HostError> {
        let engine = Engine::new(&config(instances_max)).map_err(|error| HostError::engine(&error))?;
        let linker = link(&engine).map_err(|error| HostError::engine(&error))?;
        tick(&engine)?;
        Ok(WasmEngine { engine, linker })
    }
}

fn config(instances_max: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances_max)
        .total_core_instances(instances_max * CORE_INSTANCES_PER_COMPONENT)
        .total_memories(instances_max * MEMORIES_PER_COMPONENT)
        .total_tables(instances_max * TABLES_PER_COMPONENT)
        .total_stacks(instances_max)
        .max_core_instances_per_component(CORE_INSTANCES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(memory_bytes_max());
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // Off, since it would send every synchronous call through an event loop: 0.5 µs would become 1.9.
        .concurrency_support(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .parallel_compilation(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

fn memory_bytes_max() -> usize {
    usize::try_from(MEMORY_MIB_MAX).unwrap_or(0) << 20
}

/// Every interface that a plugin may import, with nothing behind the ones that a std guest imports without using: no files, environment or arguments.
/// Sockets are missing on purpose: the world outside is reached through native services.
fn link(engine: &Engine) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker: Linker<GuestState> = Linker::new(engine);
    let l = &mut linker;
    add_to_linker_proxy_interfaces_async(l)?;
    cli::environment::add_to_linker::<GuestState, WasiCli>(l, GuestState::cli)?;
    cli::exit::add_to_linker::<GuestState, WasiCli>(l, GuestState::cli)?;
    cli::terminal_input::add_to_linker::<GuestState, WasiCli>(l, GuestState::cli)?;
    cli::terminal_output::add_to_linker::<GuestState, WasiCli>(l, GuestState::cli)?;
    cli::terminal_stdin::add_to_linker::<GuestState, WasiCli>(l, GuestState::cli)?;
    cli::terminal_stdout::add_to_linker::<GuestState, WasiCli>(l, GuestState::cli)?;
    cli::terminal_stderr::add_to_linker::<GuestState, WasiCli>(l, GuestState::cli)?;
    filesystem::preopens::add_to_linker::<GuestState, WasiFilesystem>(l, GuestState::filesystem)?;
    filesystem::types::add_to_linker::<GuestState, WasiFilesystem>(l, GuestState::filesystem)?;
    random::insecure::add_to_linker::<GuestState, WasiRandom>(l, |state| state.ctx().ctx.random())?;
    random::insecure_seed::add_to_linker::<GuestState, WasiRandom>(l, |state| state.ctx().ctx.random())?;
    Plugin::add_to_linker::<GuestState, HasSelf<GuestState>>(l, |state| state)?;
    Ok(linker)
}

/// The interfaces of [`link`] by their names without versions, for the check at install.
pub(crate) const WASI_INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Moves the engine's epoch on from a thread of its own: a runtime whose workers all run guests could not.
fn tick(engine: &Engine) -> Result<(), HostError> {
    let engine = engine.weak();
    let run = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    let started = thread::Builder::new().name("plugin-epoch".to_owned()).spawn(run);
    started.map(drop).map_err(|source| HostError::File { doing: "start the thread", path: "plugin-epoch".to_owned(), source })
}
