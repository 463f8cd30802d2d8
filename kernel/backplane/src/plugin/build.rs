mod paths;

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use kernel_host::{
    Manifest,
    package::{self, Beside},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::output::say;

const TARGET: &str = "wasm32-wasip2";

/// Compiles the plugin in `folder` and puts component, manifest, descriptors and configuration schema into `dist/<id>-<version>.wasm`, whose path it returns.
///
/// # Errors
/// What is missing or wrong, with file, line and column where there is one. What the compiler says goes to standard error as it comes.
pub(crate) fn build(folder: &Path) -> anyhow::Result<PathBuf> {
    let manifest_path = folder.join("plugin.toml");
    let manifest_toml = fs::read_to_string(&manifest_path)
        .with_context(|| format!("{} cannot be read: give the folder of a plugin, or make one with `backplane plugin new`", manifest_path.display()))?;
    // Cheap checks come before the compiler.
    let manifest = Manifest::parse(&manifest_toml).with_context(|| format!("in {}", manifest_path.display()))?;
    let descriptors = backplane_build::descriptor_set(folder).with_context(|| format!("the protos of {}", manifest.id))?;
    let schema = configuration_schema(folder)?;
    let datasets = contracts(folder, &manifest)?;

    install_target(folder)?;
    let component = fs::read(compile(folder)?)?;
    let beside = Beside { manifest: &manifest_toml, descriptors: &descriptors, configuration_schema: schema.as_deref(), datasets: &datasets };
    let wasm = package::assemble(&component, beside)?;
    let file = write(folder, &format!("{}-{}.wasm", manifest.id, manifest.version), &wasm)?;
    let digest: String = Sha256::digest(&wasm).iter().map(|byte| format!("{byte:02x}")).collect();
    say(format!("built {}: {} kB, sha256 {digest}", file.display(), wasm.len().div_ceil(1_000)));
    Ok(file)
}

fn configuration_schema(folder: &Path) -> anyhow::Result<Option<String>> {
    let path = folder.join("configuration.schema.json");
    if !path.exists() {
        return Ok(None);
    }
    fs::read_to_string(&path).map(Some).with_context(|| format!("{} cannot be read", path.display()))
}

/// The contract of each dataset that the plugin writes, from `datasets/<plugin>.<dataset>.yaml`.
fn contracts(folder: &Path, manifest: &Manifest) -> anyhow::Result<BTreeMap<String, String>> {
    let read = |dataset: &String| {
        let path = folder.join("datasets").join(format!("{dataset}.yaml"));
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{} cannot be read: plugin.toml writes {dataset}, and its contract stands there", path.display()))?;
        Ok((dataset.clone(), text))
    };
    manifest.writes.iter().map(|write| read(&write.dataset)).collect()
}

/// Installs the wasm target for the toolchain that the folder uses, unless it is there.
fn install_target(folder: &Path) -> anyhow::Result<()> {
    let rustc = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).current_dir(folder).stderr(Stdio::inherit()).output();
    let rustc = rustc.context("rustc cannot be run: install Rust from https://rustup.rs and open a new shell")?;
    if Path::new(String::from_utf8_lossy(&rustc.stdout).trim()).is_dir() {
        return Ok(());
    }
    say(format!("installing the target {TARGET}"));
    let added = Command::new("rustup").args(["target", "add", TARGET]).current_dir(folder).status();
    let added = added.with_context(|| {
        format!(
            "the Rust target {TARGET} is missing and rustup is not there to add it: install Rust from https://rustup.rs, or {TARGET} by the way your Rust came"
        )
    })?;
    ensure!(added.success(), "`rustup target add {TARGET}` failed: see above, correct it and build again");
    Ok(())
}

/// Runs cargo and returns the component that it wrote.
fn compile(folder: &Path) -> anyhow::Result<PathBuf> {
    let cargo_toml =
        fs::canonicalize(folder.join("Cargo.toml")).with_context(|| format!("{} has no Cargo.toml: give the folder of a plugin", folder.display()))?;
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics", "--manifest-path"]).arg(&cargo_toml);
    // Beside the kernel's own files: one folder would make both wait for each other's lock.
    let target = env::var_os("CARGO_TARGET_DIR").filter(|target| !target.is_empty());
    let target = target.map(|target| Ok::<_, io::Error>(env::current_dir()?.join(target).join("plugins"))).transpose()?;
    if let Some(target) = &target {
        cargo.env("CARGO_TARGET_DIR", target);
    }
    paths::remap(&mut cargo, &cargo_toml, target)?;
    let output =
        cargo.current_dir(folder).stderr(Stdio::inherit()).output().context("cargo cannot be run: install Rust from https://rustup.rs and open a new shell")?;
    ensure!(output.status.success(), "the plugin does not compile: correct what the compiler says above and build again");
    let messages = String::from_utf8_lossy(&output.stdout);
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let mut components = artifacts.filter(|artifact| artifact.manifest_path == cargo_toml).flat_map(|artifact| artifact.filenames);
    match components.find(|path| path.extension().is_some_and(|extension| extension == "wasm")) {
        Some(component) => Ok(component),
        None => bail!("cargo built no component: add crate-type = [\"cdylib\"] to [lib] in {}", cargo_toml.display()),
    }
}

/// The line of cargo's output that names the files of a crate.
#[derive(Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    filenames: Vec<PathBuf>,
}

/// A reader never sees half a file.
fn write(folder: &Path, name: &str, wasm: &[u8]) -> anyhow::Result<PathBuf> {
    let dist = folder.join("dist");
    let (file, partial) = (dist.join(name), dist.join(format!("{name}.partial")));
    let written = fs::create_dir_all(&dist).and_then(|()| fs::write(&partial, wasm)).and_then(|()| fs::rename(&partial, &file));
    written.with_context(|| format!("{} cannot be written", file.display()))?;
    Ok(file)
}
