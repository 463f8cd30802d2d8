use std::{sync::Arc, time::Duration};

use kernel_base::{BusClient, CallContext};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{call_meter::CallMeter, deployment::Deployment, effective_rights::EffectiveRights, memory_limit::MemoryLimit, output::Output};

/// What stands behind one instance: its view of the system, its limits, and the call that it answers.
pub(crate) struct GuestState {
    wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryLimit,
    pub(crate) output: Output,
    pub(crate) meter: Arc<CallMeter>,
    /// The guest time that a call may take.
    pub(crate) timeout: Duration,
    pub(crate) bus: BusClient,
    /// With which every call of the instance is made.
    pub(crate) effective: Arc<EffectiveRights>,
    /// `None` between calls: nothing of one call is left for the next.
    pub(crate) call: Option<ActiveCall>,
    /// Streams that the guest holds open.
    pub(crate) readers_open: usize,
}

/// The call that an instance answers, and on whose behalf.
pub(crate) struct ActiveCall {
    pub(crate) deployment: Arc<Deployment>,
    pub(crate) context: CallContext,
}

impl GuestState {
    pub(crate) fn new(memory_bytes_max: usize, timeout: Duration, bus: BusClient, effective: Arc<EffectiveRights>) -> GuestState {
        let output = Output::default();
        let wasi = WasiCtx::builder().stdout(output.clone()).stderr(output.clone()).allow_tcp(false).allow_udp(false).build();
        GuestState {
            wasi,
            table: ResourceTable::new(),
            memory: MemoryLimit::new(memory_bytes_max),
            output,
            meter: Arc::new(CallMeter::new()),
            timeout,
            bus,
            effective,
            call: None,
            readers_open: 0,
        }
    }
}

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
