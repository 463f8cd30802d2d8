//! Generates the trait, the dispatcher and the client of the plugin's service.

fn main() -> Result<(), backplane_build::BuildError> {
    backplane_build::compile(&["proto/package_monitor/v1/package_monitor.proto"])
}
