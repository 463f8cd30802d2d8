//! The end-to-end suite: a real kernel process on port 0 with a folder of its own, called through its doors.
//!
//! Start from [`Kernel`]; each file under `tests/` is one subject. Nothing here reaches into the kernel: what the tests know, a client knows.

mod client;
mod columns;
mod disk;
mod files;
mod import;
mod kernel;
mod province;
mod python;

pub use client::{Call, Called, reason};
pub use columns::Columns;
pub use disk::{DiskFault, Recording};
pub use files::{excerpt, guest, package_monitor, portal_traffic, repository};
pub use import::{FeedFile, import, import_all};
pub use kernel::{DONGGUAN, FOSHAN, Kernel, binary};
pub use province::Province;
pub use python::{bench_python, python};
