use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use kernel_base::{BusClient, CallContext, Clock, limits::MESSAGE_BYTES_MAX};
use wasmtime::{Store, UpdateDeadline};

use crate::{
    HostError,
    bindings::{Plugin, backplane::plugin::bus},
    deployment::Deployment,
    effective_rights::EffectiveRights,
    engine::WasmEngine,
    failure, guest_context, guest_log,
    guest_state::{ActiveCall, GuestState},
};

// Limit: an instance that grew beyond this is not kept warm: wasm memory never shrinks, and one large request would slow and fatten every later call.
const WARM_MEMORY_BYTES_MAX: usize = 16 << 20;

// Limit: bytes that one host call may carry out of the guest. Method, context and request of a full message fit.
const HOSTCALL_BYTES_MAX: usize = MESSAGE_BYTES_MAX + (1 << 20);

/// One running store of a deployment. Answers one call at a time, always with the same rights.
pub(crate) struct Instance {
    store: Store<GuestState>,
    plugin: Plugin,
    pub(crate) effective: Arc<EffectiveRights>,
    calls: u32,
    /// The encoded context of the call, kept for its capacity.
    context_bytes: Vec<u8>,
}

/// What the guest gave back.
pub(crate) type GuestAnswer = Result<Vec<u8>, bus::Status>;

impl Instance {
    /// Instantiates the deployment's code, its start functions included, within the limits of a call.
    ///
    /// # Errors
    /// The guest's fault, with its panic text, when a start function fails or runs on.
    pub(crate) async fn start(
        engine: &WasmEngine,
        bus: &BusClient,
        deployment: &Deployment,
        effective: Arc<EffectiveRights>,
        context: &CallContext,
    ) -> Result<Box<Instance>, HostError> {
        let limits = deployment.version.manifest.limits;
        let memory_bytes = usize::try_from(limits.memory_mib).unwrap_or(0) << 20;
        let mut store = Store::new(&engine.engine, GuestState::new(memory_bytes, timeout(deployment), bus.clone(), Arc::clone(&effective)));
        store.limiter(|state| &mut state.memory);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.epoch_deadline_callback(|store| {
            let state = store.data();
            // Each tick lets the other tasks of this thread run.
            Ok(if state.meter.guest_time() >= state.timeout { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
        });
        store.set_epoch_deadline(1);

        let meter = Arc::clone(&store.data().meter);
        meter.restart(Instant::now());
        let started = meter.bounded(pin!(deployment.version.code.instantiate_async(&mut store)), timeout(deployment), context.deadline).await;
        let output = guest_log::log(&store.data().output, deployment, context);
        match started {
            Ok(Ok(plugin)) => Ok(Box::new(Instance { store, plugin, effective, calls: 0, context_bytes: Vec::new() })),
            Ok(Err(error)) => Err(failure::of_trap(deployment, store.data(), &error, output)),
            Err(overdue) => Err(failure::of_overdue(deployment, overdue)),
        }
    }

    /// Answers one call. After an error the instance must be dropped.
    ///
    /// # Errors
    /// The guest's fault. What the guest itself answers as an error is an answer.
    pub(crate) async fn call(
        &mut self,
        deployment: &Arc<Deployment>,
        context: CallContext,
        clock: &Clock,
        method: &str,
        request: &[u8],
    ) -> Result<GuestAnswer, HostError> {
        self.context_bytes.clear();
        self.context_bytes.extend_from_slice(&deployment.context_prefix);
        guest_context::append(&mut self.context_bytes, &context, &self.effective.city_code, clock);
        let deadline = context.deadline;
        self.store.data_mut().call = Some(ActiveCall { deployment: Arc::clone(deployment), context });
        let meter = Arc::clone(&self.store.data().meter);
        meter.restart(Instant::now());
        self.store.set_epoch_deadline(1);
        self.calls += 1;

        let outcome = {
            let call = pin!(self.plugin.call_handle(&mut self.store, method, &self.context_bytes, request));
            meter.bounded(call, timeout(deployment), deadline).await
        };

        let state = self.store.data_mut();
        let call = state.call.take();
        let output = call.and_then(|call| guest_log::log(&state.output, deployment, &call.context));
        match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(failure::of_trap(deployment, state, &error, output)),
            Err(overdue) => Err(failure::of_overdue(deployment, overdue)),
        }
    }

    /// Its linear memory, which never shrinks.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes()
    }

    /// Whether the next call may have this instance.
    pub(crate) fn is_reusable(&self, calls_max: u32) -> bool {
        let state = self.store.data();
        // A stream left open would carry this call's rights into the next.
        self.calls < calls_max && state.readers_open == 0 && !state.memory.refused() && state.memory.bytes() <= WARM_MEMORY_BYTES_MAX
    }
}

fn timeout(deployment: &Deployment) -> Duration {
    Duration::from_millis(deployment.version.manifest.limits.timeout_ms)
}
