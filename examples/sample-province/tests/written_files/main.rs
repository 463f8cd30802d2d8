//! The files of a small province, read again by means that the generator does not have: what they hold must be what it says they hold.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test that cannot read what was written has failed")]

mod province;

mod answer_key;
mod files;
mod totals;
