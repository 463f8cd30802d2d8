use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kernel_auth::{Effect, MethodAccess};
use kernel_base::{CallContext, Caller, City, PluginActor, TraceId};
use tonic::{Code, Status};
use tonic_types::StatusExt;

// Limit: bytes of a path in the log. A method's path is shorter; a stranger's may be anything that headers have room for.
const PATH_BYTES_MAX: usize = 200;

/// A path as far as the log keeps it.
pub(crate) fn shortened(path: &str) -> &str {
    path.get(..PATH_BYTES_MAX).unwrap_or(path)
}

/// One call, as the audit log and the call log will tell it. Written when the answer has ended, dropped calls included.
pub(crate) struct CallRecord {
    started: Instant,
    caller: Caller,
    actor: Option<PluginActor>,
    city: Option<City>,
    pub(crate) trace: TraceId,
    called: Called,
    finished: bool,
}

/// What was called.
enum Called {
    Method(Arc<MethodAccess>),
    /// Refused before its method was known.
    Path(String),
}

impl CallRecord {
    /// The record of a call that goes on.
    pub(crate) fn admitted(access: &Arc<MethodAccess>, context: &CallContext) -> CallRecord {
        CallRecord::start(Called::Method(Arc::clone(access)), context)
    }

    /// The record of a call that was refused before its method was known.
    pub(crate) fn refused(path: &str, context: &CallContext) -> CallRecord {
        CallRecord::start(Called::Path(shortened(path).to_owned()), context)
    }

    fn start(called: Called, context: &CallContext) -> CallRecord {
        CallRecord {
            started: Instant::now(),
            caller: context.caller.clone(),
            actor: context.actor.clone(),
            city: context.city,
            trace: context.trace,
            called,
            finished: false,
        }
    }

    fn path(&self) -> &str {
        match &self.called {
            Called::Method(access) => &access.path,
            Called::Path(path) => path,
        }
    }

    fn access(&self) -> Option<&MethodAccess> {
        match &self.called {
            Called::Method(access) => Some(access),
            Called::Path(_) => None,
        }
    }

    /// Writes the line. Denied calls always leave one, others when their option says so.
    pub(crate) fn finish(mut self, code: Code, reason: Option<&str>) {
        self.write(code, reason);
    }

    fn write(&mut self, code: Code, reason: Option<&str>) {
        self.finished = true;
        let elapsed = self.started.elapsed();
        let denied = matches!(code, Code::PermissionDenied | Code::Unauthenticated);
        if denied || self.access().is_some_and(|access| access.audited) {
            self.write_audit(code, reason, elapsed);
        }
        tracing::debug!(method = self.path(), caller = self.caller.id(), trace = %self.trace, code = ?code, elapsed_micros = elapsed.as_micros() as u64, "call");
    }

    fn write_audit(&self, code: Code, reason: Option<&str>, elapsed: Duration) {
        let effect = match self.access().map(|access| access.effect) {
            Some(Effect::Read) => "read",
            Some(Effect::Write) => "write",
            None => "none",
        };
        tracing::info!(
            target: "audit",
            caller = self.caller.id(),
            actor = self.actor.as_ref().map(|actor| format!("{}@{}", actor.plugin, actor.version)).unwrap_or_default(),
            method = self.path(),
            effect,
            city = self.city.map(|city| city.to_string()).unwrap_or_default(),
            code = ?code,
            reason = reason.unwrap_or(""),
            elapsed_micros = elapsed.as_micros() as u64,
            trace = %self.trace,
            "call"
        );
    }
}

impl Drop for CallRecord {
    /// The caller went away while its call ran: the work may be done all the same, so it leaves its line.
    fn drop(&mut self) {
        if !self.finished {
            self.write(Code::Cancelled, None);
        }
    }
}

/// The stable reason inside a status, if it carries one.
pub(crate) fn reason_of(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}
