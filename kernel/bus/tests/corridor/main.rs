//! Limits, deadlines and the in-process client, against services that answer never, slowly or with everything at once.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "tests")]

mod bus;
mod calls;
mod places;
