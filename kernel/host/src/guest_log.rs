use kernel_base::CallContext;
use tracing::{debug, error, info, warn};

use crate::{deployment::Deployment, output::Output};

// Limit: panic text in an error message; a message travels in a header, which other implementations cap at 8 KiB.
const PANIC_CHARS_MAX: usize = 2_000;

/// Writes what the guest printed during a call into the log, a line each, at the level that the SDK's prefix names. Gives the text back for the error message.
pub(crate) fn log(output: &Output, deployment: &Deployment, context: &CallContext) -> Option<String> {
    let text = output.take()?;
    let (plugin, version, trace) = (&deployment.actor.plugin, &deployment.actor.version, context.trace);
    let city = context.city.unwrap_or(deployment.actor.city);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match level(line) {
            (Level::Error, line) => error!(target: "plugin", %plugin, %version, %city, %trace, "{line}"),
            (Level::Warn, line) => warn!(target: "plugin", %plugin, %version, %city, %trace, "{line}"),
            (Level::Info, line) => info!(target: "plugin", %plugin, %version, %city, %trace, "{line}"),
            (Level::Debug, line) => debug!(target: "plugin", %plugin, %version, %city, %trace, "{line}"),
        }
    }
    Some(text)
}

enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

fn level(line: &str) -> (Level, &str) {
    let prefixes = [("[error]", Level::Error), ("[warn]", Level::Warn), ("[info]", Level::Info), ("[debug]", Level::Debug)];
    for (prefix, level) in prefixes {
        if let Some(rest) = line.strip_prefix(prefix) {
            return (level, rest.trim_start());
        }
    }
    (Level::Info, line)
}

/// The guest's own words for why it gave up: Rust's panic with its place, else the last line that it wrote.
pub(crate) fn panic_text(output: &str) -> Option<String> {
    let lines: Vec<&str> = output.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with("note: run with")).collect();
    let from = lines.iter().rposition(|line| line.contains("panicked at")).unwrap_or(lines.len().saturating_sub(1));
    let text = lines.get(from..)?.join(" ");
    (!text.is_empty()).then(|| text.chars().take(PANIC_CHARS_MAX).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_panic_is_found_behind_log_lines() {
        let output = "[info] 3 rows\nthread '<unnamed>' panicked at src/lib.rs:7:9:\nno rows for 440600\nnote: run with `RUST_BACKTRACE=1` …\n";
        assert_eq!(panic_text(output).unwrap(), "thread '<unnamed>' panicked at src/lib.rs:7:9: no rows for 440600");
        assert_eq!(panic_text("memory allocation of 7 bytes failed\n").unwrap(), "memory allocation of 7 bytes failed");
        assert_eq!(panic_text("\n"), None);
    }
}
