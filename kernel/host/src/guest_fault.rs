use std::fmt;

use kernel_base::{City, Code, Reason};

/// A call that the guest spoiled: a value with plugin, version and city, never a panic of the host.
#[derive(Debug, thiserror::Error)]
#[error("plugin {plugin} {version} in {city} {failure}")]
pub struct GuestFault {
    pub plugin: String,
    pub version: String,
    pub city: City,
    pub failure: GuestFailure,
}

/// What the guest did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestFailure {
    /// `cause`: the guest's own panic text when it wrote one, else the trap's name. `frames`: function names, innermost first.
    Trapped {
        cause: String,
        frames: Vec<String>,
    },
    /// Computed, slept or waited longer than `timeout_ms`.
    TimedOut {
        timeout_ms: u64,
        frames: Vec<String>,
    },
    OutOfMemory {
        memory_mib: u32,
        cause: String,
    },
    AnswerInvalid {
        problem: String,
    },
}

impl GuestFault {
    pub(crate) fn code(&self) -> Code {
        match self.failure {
            GuestFailure::Trapped { .. } | GuestFailure::AnswerInvalid { .. } => Code::Internal,
            GuestFailure::TimedOut { .. } => Code::DeadlineExceeded,
            GuestFailure::OutOfMemory { .. } => Code::ResourceExhausted,
        }
    }

    pub(crate) fn reason(&self) -> Reason {
        match self.failure {
            GuestFailure::Trapped { .. } => Reason::PluginTrapped,
            GuestFailure::TimedOut { .. } => Reason::PluginTimedOut,
            GuestFailure::OutOfMemory { .. } => Reason::PluginOutOfMemory,
            GuestFailure::AnswerInvalid { .. } => Reason::PluginAnswerInvalid,
        }
    }

    pub(crate) fn place(&self) -> Vec<(&'static str, String)> {
        vec![("plugin", self.plugin.clone()), ("version", self.version.clone()), ("city", self.city.to_string())]
    }
}

impl fmt::Display for GuestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GuestFailure::Trapped { cause, frames } => {
                write!(f, "failed: {cause}{}: send its author this text and the trace id, which the kernel's log has too", In(frames))
            }
            GuestFailure::TimedOut { timeout_ms, frames } => {
                write!(f, "did not answer within {timeout_ms} ms{}: ask for less, or raise limits.timeout_ms in plugin.toml", In(frames))
            }
            GuestFailure::OutOfMemory { memory_mib, cause } => {
                write!(f, "needed more than its {memory_mib} MiB ({cause}): ask for less, or raise limits.memory_mib in plugin.toml")
            }
            GuestFailure::AnswerInvalid { problem } => {
                write!(f, "gave an answer that cannot be passed on: {problem}: its author has to answer the message that its proto names, or an error")
            }
        }
    }
}

/// Where it happened, innermost first; nothing without names.
struct In<'a>(&'a [String]);

impl fmt::Display for In<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, " (in {})", self.0.join(" < "))
    }
}
