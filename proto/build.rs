//! Compiles `backplane/**.proto` with protox (no protoc needed) into message types, tonic clients and servers, and one encoded descriptor set.

use std::{env, fs, path::PathBuf};

include!("files.rs");

const FLIGHT: &str = "arrow/flight/protocol/flight.proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true);
    for (path, _) in FILES {
        println!("cargo::rerun-if-changed={path}");
        compiler.open_file(path)?;
    }
    tonic_prost_build::configure().bytes(".").compile_fds(compiler.file_descriptor_set())?;

    // Of Flight the messages and the service are those of a crate, so that nothing is generated.
    println!("cargo::rerun-if-changed={FLIGHT}");
    compiler.open_file(FLIGHT)?;
    // The encoded set keeps the extension `backplane.v1.access`, which prost_types would drop; comments are left out, they triple its size.
    compiler.include_source_info(false);
    let out = PathBuf::from(env::var("OUT_DIR")?).join("backplane.bin");
    fs::write(out, compiler.encode_file_descriptor_set())?;
    Ok(())
}
