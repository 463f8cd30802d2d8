//! The warehouse through its two services, as the bus would call them. One binary, because each links the whole engine.
#![allow(clippy::unwrap_used, reason = "tests")]

mod append;
mod feeds;
mod isolation;
mod kernel;
mod latest;
mod query;
mod restart;
