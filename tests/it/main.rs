//! One file a subject; `../src` is the harness. One binary, so that the clients are linked once.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod architecture;
mod auth;
mod crash;
mod doors;
mod feeds;
mod hostile;
mod plugins;
mod reflection;
mod relay;
mod warehouse;
