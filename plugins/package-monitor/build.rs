//! Generates the trait, the dispatcher and the client of the plugin's service, the type of its configuration, and those of the rows of its datasets.

fn main() -> Result<(), backplane_build::BuildError> {
    backplane_build::configuration()?;
    backplane_build::datasets()?;
    backplane_build::compile(&["proto/package_monitor/v1/package_monitor.proto"])
}
