//! Loaded into a process by `LD_PRELOAD`: records what it does to the files of a folder, in the order in which it is done, and has the disk fail when it is told to.
//!
//! - `RECORDED_DISK_ROOT`: the folder, empty when the process starts.
//! - `RECORDED_DISK_RECORD`: the file that gets the operations, outside of the folder.
//! - `RECORDED_DISK_FAULT`: a file; while it says `full 7`, nothing more can be written below the folder after seven operations, while it says `sync 7`, no sync succeeds
//!   after as many, and once it says `stop` the process ends before its next operation, with all that it did in the record.
//!
//! [`calls`] has what stands for the functions of the C library, [`recorder`] what is known of files and how the disk does.
//!
//! An operation is in the record when its call returns. Syncs are recorded and not done. What is mapped into memory is not seen: SQLite's `-shm` files, which it makes anew.
//! A signal handler that writes may wait for ever for what it interrupted: such a process is ended by `stop` or `SIGKILL`.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "stands in for functions of the C library")]

mod calls;
mod recorder;
