//! The host through its own doors: packages built from component text, the Plugins service, calls over the bus.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod admission;
mod calls;
mod deployments;
mod guests;
mod installs;
mod jobs;
mod manifests;
mod outgoing;
mod world;
