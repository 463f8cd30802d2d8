//! What a plugin is written with: the guest side of the connector (`proto/wit/plugin.wit`).
//!
//! A plugin compiles its protos in `build.rs` with `backplane_build::compile`, implements the generated trait, and hands it to [`export!`]:
//!
//! ```text
//! mod proto { include!(concat!(env!("OUT_DIR"), "/proto.rs")); }
//! use proto::portal_traffic::v1::{PortalTraffic, PortalTrafficServer};
//!
//! #[derive(Default)]
//! struct Plugin;
//! impl PortalTraffic for Plugin { /* one function a method */ }
//! backplane_sdk::export!(Plugin: PortalTrafficServer);
//! ```
//!
//! Start from [`Context`], which each method is given: who calls, for which city, until when, with which configuration, and the way to the warehouse
//! and to every other service. Plugins are plain synchronous code. Invariants: nothing here opens a socket or a file; every call out goes through
//! [`Kernel`], which is the connector in a component and `testing::FakeKernel` in `cargo test`, so that tests run the same encoding as the kernel does.

// What is exchanged.
pub mod proto;
mod status;

// A call, inward and outward.
mod context;
mod dispatch;
mod export;
mod kernel;
mod reader;

// What plugins do with it.
mod calendar;
mod fen;
pub mod job;
pub mod log;
mod page;
pub mod warehouse;

// The two kernels: the connector and, natively, fakes.
pub mod connector;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use calendar::{CalendarInvalid, Day, Month};
pub use context::Context;
pub use dispatch::{Dispatch, Plugin, Route, answer_unary, handle, method_unknown};
pub use fen::Fen;
pub use kernel::{Kernel, Messages};
pub use page::{Page, Paged};
pub use proto::guest::v1::{CallOptions, Caller};
pub use reader::Reader;
pub use status::{Code, Status, WireStatus};

// Generated code and rows refer to these through the SDK, so that a plugin's versions cannot drift from it.
pub use arrow_array;
pub use arrow_schema;
pub use prost;
pub use prost_types;
pub use serde;
