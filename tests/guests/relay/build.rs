//! Generates the trait and the dispatcher of the service.

fn main() -> Result<(), backplane_build::BuildError> {
    backplane_build::compile(&["proto/relay/v1/relay.proto"])
}
