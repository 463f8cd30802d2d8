//! Generates the kernel's messages and clients once; plugins refer to them.

fn main() -> Result<(), backplane_build::BuildError> {
    backplane_build::compile_contracts()
}
