//! The warehouse through its two services, as the bus would call them. One binary, because each links the whole engine.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests, and one tells what it skipped or measured")]

mod append;
mod feeds;
mod isolation;
mod kernel;
mod latest;
mod query;
mod restart;
