//! The service that `make bench` answers natively, from the same proto that the benchmark's plugin is built from, and the client of package-monitor.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folders = ["guests/bench/proto", "../plugins/package-monitor/proto"];
    folders.iter().for_each(|folder| println!("cargo::rerun-if-changed={folder}"));
    let mut compiler = protox::Compiler::new(folders.into_iter().chain(["../proto"]))?;
    compiler.include_imports(true).open_files(["bench/v1/bench.proto", "package_monitor/v1/package_monitor.proto"])?;
    tonic_prost_build::configure().bytes(".").extern_path(".backplane.v1", "::backplane_proto::v1").compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
