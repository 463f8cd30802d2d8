//! One file a subject; `../src` is the harness. One binary, so that the clients are linked once.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod doors;
mod reflection;
mod feeds;
mod warehouse;
mod plugins;
mod crash;
