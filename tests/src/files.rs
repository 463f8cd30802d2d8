use std::{path::PathBuf, process::Command, sync::OnceLock};

use crate::kernel::binary;

/// The root of the checkout.
pub fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The 200 lines of a real access log that the repository carries.
pub fn excerpt() -> PathBuf {
    repository().join("examples/portal-log/access-200.log")
}

/// The plugin portal-traffic, built once per test process; cargo makes a repeated build short.
pub fn portal_traffic() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let folder = repository().join("plugins/portal-traffic");
            let output = Command::new(binary()).args(["plugin", "build"]).arg(&folder).output().expect("the binary runs");
            assert!(output.status.success(), "portal-traffic does not build: {}", String::from_utf8_lossy(&output.stderr));
            folder.join("dist/portal-traffic-0.1.0.wasm")
        })
        .clone()
}
