//! What a process did to the files of a folder, and what a power cut would have left of it.
//!
//! `recorded-disk-preload`, loaded into a process by `LD_PRELOAD`, writes a record of [`Operation`]s; [`Disk`] plays a part of it and writes out the folder as a disk may
//! have it that lost, of what was not synced, as much as [`Loss`] says.

mod disk;
mod operation;

pub use disk::{Disk, Loss};
pub use operation::{Operation, OperationKind, operations};
