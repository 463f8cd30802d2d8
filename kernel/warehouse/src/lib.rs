//! The shared data warehouse: datasets with contracts, one way in, one guarded way out.
//!
//! Start from [`Warehouse`]: the binary opens it, mounts its three services on the bus and closes it.
//!
//! Invariants: the one crate that names DataFusion, and within it only `lake` names DuckLake. Nothing writes but `append`, and every commit is one snapshot of
//! rows, quarantine and batch record. No query session holds a table that is not guarded. Who may call is decided by the bus; which dataset, column and row
//! here, from the rights in the call's context. Bytes from outside never panic and never grow a queue without bound.

mod distinct_counts;
mod engine;
mod error;
mod settings;
mod warehouse;

// What a dataset is, and values on their way to a column.
mod contract;
mod contracts;
mod day;
mod put_dataset;
mod rows;
mod timestamp;

// The tables, the one way in, and the files that come that way.
mod append;
mod feed;
mod ingest_service;
mod lake;

// The guarded way out.
mod datasets;
mod flight_service;
mod guard;
mod query;
mod warehouse_service;

pub use error::WarehouseError;
pub use feed::DropFolder;
pub use settings::{QueryLimits, WarehouseSettings};
pub use warehouse::Warehouse;
