use std::{fs::File, io::IsTerminal, path::Path, sync::Arc};

use anyhow::Context;
use tracing_subscriber::{EnvFilter, Layer, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The log goes to standard error, what `BACKPLANE_LOG` lets through; the audit log is a file of JSON lines that is only ever added to.
///
/// # Errors
/// When the audit log cannot be opened.
pub(crate) fn start(audit_log: &Path, default_filter: &str) -> anyhow::Result<()> {
    let audit = File::options().create(true).append(true).open(audit_log).with_context(|| format!("cannot open the audit log {}", audit_log.display()))?;
    let filter = EnvFilter::try_from_env("BACKPLANE_LOG").unwrap_or_else(|_| EnvFilter::new(default_filter));
    let log = fmt::layer()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter(filter)
        .with_filter(filter_fn(|event| event.target() != "audit"));
    let audit = fmt::layer().json().flatten_event(true).with_writer(Arc::new(audit)).with_filter(filter_fn(|event| event.target() == "audit"));
    // A second start in one process keeps the first: the demo starts kernels in turn.
    let _ = tracing_subscriber::registry().with(log).with(audit).try_init();
    Ok(())
}
