//! The plugin host: installs components, keeps their deployments, and answers their calls from warm instances.
//!
//! Start from [`Host::call`] (`call.rs`): a path and bytes become an answer of the deployment that serves the city, or an error that names plugin, version
//! and city. [`Host::plugin_methods`] puts it on the bus.
//!
//! Invariants: the one crate that names wasmtime; knows no SQL and no tokens; no message of a plugin is decoded here; nothing that a guest does panics the host,
//! blocks the runtime or outlives its deadline; a warm instance never serves two different rights; a guest reaches nothing but `bus.call` and `bus.open`.

mod error;
mod host;
mod settings;

// What a package is, and what it must satisfy.
mod configuration;
mod manifest;
pub mod package;
mod verify;

// The service backplane.plugin.v1.Plugins, a verb per file.
mod disable;
mod enable;
mod get;
mod install;
mod list;
mod present;
mod run_job;
mod service;

// What stands ready to be called.
mod activate;
mod artifact;
mod deployment;
mod effective_rights;
mod version;

// A call.
mod admission;
mod answer;
mod call;
mod guest_context;
mod idle_instances;
mod instance;
mod routes;
mod unary;

// What a guest sees and what holds it.
mod bindings;
mod bus_import;
mod byte_codec;
mod call_meter;
mod engine;
mod failure;
mod guest_fault;
mod guest_log;
mod guest_state;
mod memory_limit;
mod output;

pub use error::HostError;
pub use guest_fault::{GuestFailure, GuestFault};
pub use host::Host;
pub use manifest::{CONTRACT, Job, Limits, Manifest, Read, Title, Write};
pub use settings::{HostLimits, HostSettings};
