//! The service that `make bench` answers natively, from the same proto that the benchmark's plugin is built from.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=guests/bench/proto");
    let mut compiler = protox::Compiler::new(["guests/bench/proto", "../proto"])?;
    compiler.include_imports(true).open_file("bench/v1/bench.proto")?;
    tonic_prost_build::configure().bytes(".").extern_path(".backplane.v1", "::backplane_proto::v1").compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
