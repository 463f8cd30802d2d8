//! From what the engine reports to a value that says what the guest did.

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::{
    HostError,
    call_meter::Overdue,
    deployment::Deployment,
    guest_fault::{GuestFailure, GuestFault},
    guest_log::panic_text,
    guest_state::GuestState,
};

// Limit: function names in a message. The innermost ones tell where; more is a wall of runtime internals.
const FRAMES_MAX: usize = 8;

/// The guest trapped, or the engine could not go on with it.
pub(crate) fn of_trap(deployment: &Deployment, state: &GuestState, error: &wasmtime::Error, output: Option<String>) -> HostError {
    let limits = deployment.version.manifest.limits;
    let frames = frames(error);
    let trap = error.downcast_ref::<Trap>();
    let panic = output.as_deref().and_then(panic_text);
    let failure = if trap == Some(&Trap::Interrupt) {
        GuestFailure::TimedOut { timeout_ms: limits.timeout_ms, frames }
    } else if state.memory.refused() {
        GuestFailure::OutOfMemory { memory_mib: limits.memory_mib, cause: panic.unwrap_or_else(|| cause(error, trap)) }
    } else {
        GuestFailure::Trapped { cause: panic.unwrap_or_else(|| cause(error, trap)), frames }
    };
    of(deployment, failure)
}

/// The guest was cut off from outside.
pub(crate) fn of_overdue(deployment: &Deployment, overdue: Overdue) -> HostError {
    match overdue {
        Overdue::Budget => of(deployment, GuestFailure::TimedOut { timeout_ms: deployment.version.manifest.limits.timeout_ms, frames: Vec::new() }),
        Overdue::Deadline => HostError::DeadlinePassed,
    }
}

pub(crate) fn of(deployment: &Deployment, failure: GuestFailure) -> HostError {
    let actor = &deployment.actor;
    HostError::Guest(Box::new(GuestFault { plugin: actor.plugin.to_string(), version: actor.version.clone(), city: actor.city, failure }))
}

fn cause(error: &wasmtime::Error, trap: Option<&Trap>) -> String {
    match (trap, error.downcast_ref::<I32Exit>()) {
        (Some(trap), _) => trap.to_string(),
        (None, Some(I32Exit(status))) => format!("it called exit({status})"),
        (None, None) => error.root_cause().to_string(),
    }
}

fn frames(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let named = backtrace.frames().iter().filter_map(|frame| frame.func_name());
    named.take(FRAMES_MAX).map(|name| demangled(name).to_owned()).collect()
}

/// Rust's names carry a hash that says nothing to a reader.
fn demangled(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.chars().all(|c| c.is_ascii_hexdigit()) => path,
        _ => name,
    }
}
