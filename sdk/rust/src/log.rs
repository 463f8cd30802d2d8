//! Log lines: `log::info(format_args!("read {rows} rows"))`. They go to standard error, one line each with its level in front; the kernel stores them with plugin,
//! version, city and trace id. What panics is there as well.
//!
//! ```
//! use backplane_sdk::log;
//!
//! let (rows, late) = (41, 2);
//! log::info(format_args!("read {rows} rows"));
//! if late > 0 {
//!     log::warn(format_args!("{late} of them are late"));
//! }
//! ```

use std::{
    fmt::Display,
    io::{self, Write},
};

/// For whoever looks for a fault in the plugin.
pub fn debug(message: impl Display) {
    write("debug", message);
}

/// What happened.
pub fn info(message: impl Display) {
    write("info", message);
}

/// Something is off and the call goes on.
pub fn warn(message: impl Display) {
    write("warn", message);
}

/// The call fails.
pub fn error(message: impl Display) {
    write("error", message);
}

fn write(level: &str, message: impl Display) {
    let line = line(level, message);
    // A log that cannot be written must not fail the call.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// A message is one line: a caller's text with a line break in it could otherwise forge a line of its own.
fn line(level: &str, message: impl Display) -> String {
    let message = message.to_string().replace('\r', "\\r").replace('\n', "\\n");
    format!("[{level}] {message}\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_message_is_one_line() {
        assert_eq!(super::line("info", "a\nb\r[error] c"), "[info] a\\nb\\r[error] c\n");
    }
}
