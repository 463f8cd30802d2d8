use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    BuildError,
    check::check,
    contracts::Contracts,
    generate::{Sdk, generate},
    sources::{descriptors, link},
};

/// Compiles a plugin's protos, given as `proto/<import path>` relative to its Cargo.toml, into `OUT_DIR/proto.rs`: one nested module per proto package.
///
/// # Errors
/// A [`BuildError`] that says what is wrong, with file, line and column where there is one.
#[allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]
pub fn compile(protos: &[&str]) -> Result<(), BuildError> {
    println!("cargo::rerun-if-changed=proto");
    let include = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("proto");
    let imports = protos.iter().map(|path| import(path)).collect::<Result<Vec<_>, _>>()?;
    let compiler = link(Some(&include), imports)?;
    check(&compiler)?;
    write("proto.rs", &generate(descriptors(&compiler), Sdk::Dependency)?)
}

/// Compiles the kernel's contracts for `backplane-sdk` itself: messages and clients.
///
/// # Errors
/// As [`compile`].
pub fn compile_contracts() -> Result<(), BuildError> {
    let compiler = link(None, Contracts::paths())?;
    write("proto.rs", &generate(descriptors(&compiler), Sdk::Itself)?)
}

/// The encoded `google.protobuf.FileDescriptorSet` of every proto below `<plugin>/proto`, with imports and with the access options, as it is embedded in the plugin.
///
/// # Errors
/// As [`compile`].
pub fn descriptor_set(plugin: &Path) -> Result<Vec<u8>, BuildError> {
    let include = plugin.join("proto");
    let mut imports = Vec::new();
    collect(&include, &include, &mut imports)?;
    imports.sort();
    let mut compiler = link(Some(&include), imports.iter().map(String::as_str))?;
    check(&compiler)?;
    // Comments triple the size and nothing reads them at run time.
    compiler.include_source_info(false);
    Ok(compiler.encode_file_descriptor_set())
}

fn import(path: &str) -> Result<&str, BuildError> {
    path.strip_prefix("proto/").ok_or_else(|| BuildError::OutsideProto { path: path.to_owned() })
}

fn collect(include: &Path, folder: &Path, imports: &mut Vec<String>) -> Result<(), BuildError> {
    let failed = |source| BuildError::File { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            collect(include, &path, imports)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            let parts = path.strip_prefix(include).unwrap_or(&path).iter().map(|part| part.to_string_lossy());
            imports.push(parts.collect::<Vec<_>>().join("/"));
        }
    }
    Ok(())
}

/// Writes a generated file where the plugin includes it from.
pub(crate) fn write(name: &str, code: &str) -> Result<(), BuildError> {
    let path = PathBuf::from(variable("OUT_DIR")?).join(name);
    fs::write(&path, code).map_err(|source| BuildError::File { path, source })
}

pub(crate) fn variable(name: &'static str) -> Result<String, BuildError> {
    env::var(name).map_err(|_| BuildError::NoBuildScript { name })
}
