//! One file a subject; `../src` is the harness. One binary, so that the clients are linked once.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod architecture;
mod auth;
mod backup;
mod contracts;
mod crash;
mod doors;
mod feeds;
mod flight_sql;
mod guide;
mod hostile;
mod open_format;
mod package_histories;
mod package_monitor;
mod plugins;
mod power;
mod province;
mod reflection;
mod relay;
mod warehouse;
