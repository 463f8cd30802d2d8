//! Compiles a plugin's protos, from its `build.rs`:
//!
//! ```no_run
//! fn main() -> Result<(), backplane_build::BuildError> {
//!     backplane_build::compile(&["proto/portal_traffic/v1/portal_traffic.proto"])
//! }
//! ```
//!
//! and in the plugin `mod proto { include!(concat!(env!("OUT_DIR"), "/proto.rs")); }`. For each service there is then a trait to implement (`PortalTraffic`), a
//! dispatcher for `backplane_sdk::export!` (`PortalTrafficServer`) and a client over the connector (`PortalTrafficClient`).
//!
//! [`configuration`] makes the type of the plugin's configuration from its schema in the same way, and [`datasets`] those of the rows of its own datasets from their contracts.
//!
//! Start from [`compile`]. The kernel's contracts are embedded, so a plugin imports `backplane/v1/access.proto` without having it on disk. Invariants: needs
//! neither protoc nor tonic; what the kernel would refuse at install (streaming methods, methods without an access option) fails the build.

// Reading and compiling protos.
mod contracts;
mod sources;

// What a service must look like.
mod check;

// Writing Rust.
mod generate;
mod service;

// The calls, and how they fail.
mod compile;
mod configuration;
mod datasets;
mod error;

pub use compile::{compile, compile_contracts, descriptor_set};
pub use configuration::{configuration, configuration_types};
pub use datasets::{dataset_rows, datasets};
pub use error::BuildError;
