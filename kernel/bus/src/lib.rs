//! The one router that every call crosses: four doors, one corridor.
//!
//! Start from [`Corridor`]: authorization, deadline, audit and routing, as one cloneable service that in-process callers use as well. [`Doors`] is what stands
//! on the network in front of it: it proves who calls, and turns gRPC, gRPC-Web and Connect JSON into the one form that the corridor takes.
//!
//! Invariants: whether a service is native or a plugin's is known only to the corridor, where it routes; no method is reached without an access option; whatever a caller
//! sends, the answer is a status with a reason, never a broken connection.

mod answer_body;
mod audit;
mod call_permit;
mod connect;
mod connect_error;
mod corridor;
mod deadline;
mod doors;
mod fault;
mod frame;
mod open_answers;
mod reflection;
mod request_limit;
mod serve;
mod trace_header;

pub use corridor::Corridor;
pub use doors::{DoorLimits, Doors};
pub use fault::BusFault;
pub use frame::{frame, unframe};
pub use reflection::Reflection;
