//! What a package must satisfy before its code runs for the first time, and before it is enabled. One file per question, each answered without executing
//! anything.

mod calls;
mod compatibility;
mod descriptors;
mod reads;
mod world;

pub(crate) use calls::may_exist;
pub(crate) use compatibility::check_compatible;
pub(crate) use descriptors::check_descriptors;
pub(crate) use reads::{check_columns, dataset_missing};
pub(crate) use world::check_world;
