//! Generates the trait, the dispatcher and the client of the plugin's service, and the type of its configuration.

fn main() -> Result<(), backplane_build::BuildError> {
    backplane_build::configuration()?;
    backplane_build::compile(&["proto/package_monitor/v1/package_monitor.proto"])
}
