use std::{path::PathBuf, process::Command};

/// A Python with the packages of `python/requirements.txt`: independent clients. `make test` makes it.
pub fn python() -> Command {
    of_folder("python")
}

/// One with the packages of `bench/requirements.txt`, the peers. `make bench` makes it.
pub fn bench_python() -> Command {
    of_folder("bench-python")
}

fn of_folder(folder: &str) -> Command {
    let target = PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../target").into()));
    let python = target.join(folder).join("bin/python");
    assert!(python.exists(), "{} is missing: run 'make test' or 'make bench', which make it", python.display());
    Command::new(python)
}
