//! Who calls and whether they may: tokens, principals, roles, and the table of access options.
//!
//! Start from [`Auth::authenticate`] (a bearer token becomes a caller with rights) and [`AccessTable::admit`] (a caller and a method become a context or a refusal).
//!
//! Invariants: there is no second list of rights beside the access options of the contracts and the one list of foreign methods in `foreign.rs`; a secret
//! is never stored, only its hash; knows no transport and no service.

mod access;
mod access_table;
mod admit;
mod authenticate;
mod error;
mod first_start;
mod foreign;
mod service;

pub use access::{AccessInvalid, Effect, MethodAccess, Owner, ScopeRule, read_access};
pub use access_table::AccessTable;
pub use admit::{Admitted, Refused};
pub use authenticate::{Auth, Authenticated};
pub use error::AuthError;
pub use first_start::FIRST_TOKEN_DAYS;
