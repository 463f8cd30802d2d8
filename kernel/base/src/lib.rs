//! What every crate of the kernel shares and that does no I/O: identities, rights, the context of a call, errors, limits, the clock, the bus client.
//!
//! Start from [`CallContext`]: it says who calls, for which cities, with which rights and until when; every service reads it in its first line.
//!
//! Invariants: knows no storage, no SQL, no wasm and no network; rights only ever shrink as a context travels ([`CallContext::narrowed`], [`Rights::intersect`]).

mod bus_client;
mod city;
mod clock;
mod context;
mod fault;
pub mod limits;
mod origin;
mod page;
mod permission;
mod plugin_id;
mod principal;
mod random;
mod rights;
mod scope;

pub use backplane_proto::v1::Reason;
pub use bus_client::{ActingBus, BusClient, BusService};
pub use city::{CITIES, City, CityInfo, CityUnknown};
pub use clock::Clock;
pub use context::{CallContext, Caller, CityRequired, PermissionMissing, PluginActor, TraceId, context_of};
pub use fault::{Code, Fault, status};
pub use origin::{INGESTED_AT, ORIGIN_COLUMNS, SOURCE};
pub use page::{Page, PageTokenInvalid};
pub use permission::{Permission, PermissionInvalid};
pub use plugin_id::{PluginId, PluginIdInvalid};
pub use principal::{Principal, PrincipalId, PrincipalIdInvalid, PrincipalKind};
pub use random::random_bytes;
pub use rights::{DatasetRight, Rights};
pub use scope::Scope;
