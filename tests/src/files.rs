use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

use crate::kernel::binary;

/// The root of the checkout.
pub fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The 200 lines of a real access log that the repository carries.
pub fn excerpt() -> PathBuf {
    repository().join("examples/portal-log/access-200.log")
}

/// The plugin portal-traffic.
pub fn portal_traffic() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built(&repository().join("plugins/portal-traffic"), "portal-traffic")).clone()
}

/// The plugin package-monitor.
pub fn package_monitor() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| built(&repository().join("plugins/package-monitor"), "package-monitor")).clone()
}

/// A plugin of `tests/guests`.
pub fn guest(id: &str) -> PathBuf {
    built(&repository().join("tests/guests").join(id), id)
}

/// Builds the plugin in `folder`; cargo makes a repeated build short.
fn built(folder: &Path, id: &str) -> PathBuf {
    // One at a time: parallel builds of one folder would replace each other's file.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new(binary()).args(["plugin", "build"]).arg(folder).output().expect("the binary runs");
    assert!(output.status.success(), "{id} does not build: {}", String::from_utf8_lossy(&output.stderr));
    folder.join(format!("dist/{id}-0.1.0.wasm"))
}
