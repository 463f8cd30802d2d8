use std::{path::PathBuf, process::Command};

/// A Python with the packages of `python/requirements.txt`: an independent gRPC client. `make test` makes it.
pub fn python() -> Command {
    let target = PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../target").into()));
    let python = target.join("python/bin/python");
    assert!(python.exists(), "{} is missing: run 'make python' (or 'make test', which does) first", python.display());
    Command::new(python)
}
