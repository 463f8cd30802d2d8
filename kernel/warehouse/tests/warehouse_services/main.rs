//! The warehouse through its two services, as the bus would call them. One binary, because each links the whole engine.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests, and one tells what it skipped or measured")]

mod aggregates;
mod append;
mod append_stream;
mod changes;
mod completeness;
mod contracts;
mod control;
mod differential;
mod drop_folder;
mod faults;
mod feeds;
mod folders;
mod isolation;
mod json_rows;
mod kept_plans;
mod kernel;
mod latest;
mod merging;
mod numbers;
mod parts;
mod platform;
mod query;
mod restart;
mod retract;
mod slices;
mod splits;
