//! Keeps the folders of whoever builds out of a plugin: they stand in panic texts, and would give the same source another digest in each checkout.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::TARGET;

/// Tells rustc to write every path that depends on the machine under a name that does not.
///
/// # Errors
/// When cargo cannot read the plugin's workspace.
pub(super) fn remap(cargo: &mut Command, cargo_toml: &Path, target: Option<PathBuf>) -> anyhow::Result<()> {
    let flags: Vec<String> = places(cargo_toml, target)?.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())).collect();
    match flags_of_environment() {
        // Cargo looks at one source of flags only, and the environment comes first.
        Some(given) => {
            cargo.env("CARGO_ENCODED_RUSTFLAGS", [given, flags].concat().join("\u{1f}"));
        }
        None => {
            let list = serde_json::to_string(&flags)?;
            cargo.args(["--config", &format!("target.{TARGET}.rustflags={list}")]);
        }
    }
    Ok(())
}

fn flags_of_environment() -> Option<Vec<String>> {
    let split = |flags: String, separator: char| flags.split(separator).filter(|flag| !flag.is_empty()).map(str::to_owned).collect();
    let encoded = env::var("CARGO_ENCODED_RUSTFLAGS").ok().map(|flags| split(flags, '\u{1f}'));
    encoded.or_else(|| env::var("RUSTFLAGS").ok().map(|flags| split(flags, ' ')))
}

/// Folders and the names that they get. Of several that match, rustc takes the last: the narrower ones come later.
fn places(cargo_toml: &Path, target: Option<PathBuf>) -> anyhow::Result<Vec<(PathBuf, String)>> {
    let metadata = metadata(cargo_toml)?;
    let local = metadata.packages.into_iter().filter(|package| package.source.is_none());
    // Paths of the workspace itself are relative. Flags that named it would have every dependency compiled anew for each plugin that shares a target folder.
    let beside = local.filter(|package| !package.manifest_path.starts_with(&metadata.workspace_root));
    let folders = beside.filter_map(|package| Some((package.manifest_path.parent()?.to_owned(), format!("/{}", package.name))));
    let folders: Vec<(PathBuf, String)> = folders.collect();
    // One folder that holds them all gives the users of one SDK the same flags, and dependencies that are compiled once for them.
    let mut places = match common_folder(folders.iter().map(|(folder, _)| folder.as_path())) {
        Some(checkout) => vec![(checkout, "/source".to_owned())],
        None => folders,
    };
    places.push((target.unwrap_or(metadata.target_directory), "/target".to_owned()));
    if let Some(home) = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo"))) {
        places.push((home, "/cargo".to_owned()));
    }
    Ok(places)
}

/// The deepest folder above all of them, unless that is the root of the machine or nearly so.
fn common_folder<'a>(mut folders: impl Iterator<Item = &'a Path>) -> Option<PathBuf> {
    let first = folders.next()?.to_owned();
    let common = folders.fold(first, |common, folder| {
        let shared = common.components().zip(folder.components()).take_while(|(ours, theirs)| ours == theirs);
        shared.map(|(component, _)| component).collect()
    });
    (common.components().count() > 2).then_some(common)
}

fn metadata(cargo_toml: &Path) -> anyhow::Result<Metadata> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(cargo_toml)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be run: install Rust from https://rustup.rs and open a new shell")?;
    ensure!(output.status.success(), "cargo cannot read {}: correct what it says above and build again", cargo_toml.display());
    serde_json::from_slice(&output.stdout).context("cargo metadata gave something else than its format 1")
}

/// What `cargo metadata` says that matters here.
#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
    workspace_root: PathBuf,
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    /// `None` for a package of this machine's own files.
    source: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_of_a_checkout_share_its_folder_and_strangers_share_none() {
        let common = |folders: &[&str]| common_folder(folders.iter().map(Path::new));
        assert_eq!(common(&["/home/mei/backplane/sdk/rust", "/home/mei/backplane/plugins/one"]), Some("/home/mei/backplane".into()));
        assert_eq!(common(&["/home/mei/one"]), Some("/home/mei/one".into()));
        assert_eq!(common(&["/home/mei/one", "/srv/sdk"]), None);
        assert_eq!(common(&["/home/mei/one", "/home/wu/sdk"]), None);
    }
}
