use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use kernel_base::PluginId;

use crate::output::say;

/// Every file of a new plugin. `{{id}}`, `{{namespace}}`, `{{service}}`, `{{sdk}}` and `{{channel}}` are filled in, in paths as well.
const FILES: &[(&str, &str)] = &[
    ("plugin.toml", include_str!("new/plugin.toml.txt")),
    ("Cargo.toml", include_str!("new/Cargo.toml.txt")),
    // With the versions that the plugins of Backplane are tested with; cargo writes the plugin itself into it.
    ("Cargo.lock", include_str!("../../../../plugins/Cargo.lock")),
    ("rust-toolchain.toml", include_str!("new/rust-toolchain.toml.txt")),
    ("rustfmt.toml", include_str!("new/rustfmt.toml.txt")),
    (".gitignore", include_str!("new/gitignore.txt")),
    ("build.rs", include_str!("new/build.rs.txt")),
    ("proto/{{namespace}}/v1/{{namespace}}.proto", include_str!("new/service.proto.txt")),
    ("src/lib.rs", include_str!("new/lib.rs.txt")),
    ("src/top_pages.rs", include_str!("new/top_pages.rs.txt")),
    ("scenarios/top-pages/scenario.yaml", include_str!("new/scenario.yaml.txt")),
    ("scenarios/top-pages/rows/interaction.jsonl", include_str!("new/interaction.jsonl.txt")),
];

/// Makes a plugin in `folder`, named after it: one method that reads the dataset `interaction`, with a test and a scenario. `sdk` is the folder `sdk/rust` of a checkout; without
/// it, it is looked for above `folder` and above the current folder.
///
/// # Errors
/// A folder with something in it, a name that cannot be a plugin's, no SDK.
pub(crate) fn new(folder: &Path, sdk: Option<&Path>) -> anyhow::Result<()> {
    let folder = env::current_dir()?.join(folder);
    let id = id_of(&folder)?;
    ensure!(is_free(&folder)?, "{} exists and is not empty: give a folder that does not exist", folder.display());
    let sdk = find_sdk(&folder, sdk)?;
    let values = [
        ("{{id}}", id.to_string()),
        ("{{namespace}}", id.namespace()),
        ("{{service}}", service_of(&id)),
        ("{{sdk}}", toml_text(&path_to(&folder, &sdk))),
        ("{{channel}}", channel(&sdk)),
    ];
    let fill = |text: &str| values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    for (path, text) in FILES {
        let path = folder.join(fill(path));
        let written = fs::create_dir_all(path.parent().unwrap_or(&folder)).and_then(|()| fs::write(&path, fill(text)));
        written.with_context(|| format!("{} cannot be written", path.display()))?;
    }
    say(format!("made {}\nnext: cd {0} && cargo test && backplane plugin test", folder.display()));
    Ok(())
}

fn id_of(folder: &Path) -> anyhow::Result<PluginId> {
    let name = folder.file_name().with_context(|| format!("{} has no name: give the folder of the plugin, for example plugins/my-plugin", folder.display()))?;
    let id: PluginId = name.to_string_lossy().parse()?;
    ensure!(!KEYWORDS.contains(&id.as_str()), "'{id}' is a word of Rust and cannot name the plugin's code: add a word, for example {id}-monitor");
    Ok(id)
}

/// Words that cannot be the name of a module and can be the id of a plugin.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else", "enum", "extern", "false", "final", "fn",
    "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

fn is_free(folder: &Path) -> anyhow::Result<bool> {
    if !folder.exists() {
        return Ok(true);
    }
    Ok(folder.is_dir() && fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?.next().is_none())
}

/// `sdk/rust`, as given or the first found on the way up.
fn find_sdk(folder: &Path, given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        ensure!(given.join("Cargo.toml").is_file(), "{} is no SDK: give the folder sdk/rust of a checkout of Backplane", given.display());
        return given.canonicalize().with_context(|| format!("{} cannot be read", given.display()));
    }
    let current = env::current_dir()?;
    let sdk = folder.ancestors().chain(current.ancestors()).map(|above| above.join("sdk/rust")).find(|sdk| sdk.join("Cargo.toml").is_file());
    match sdk {
        Some(sdk) => Ok(sdk.canonicalize()?),
        None => bail!("no SDK above {} or the current folder: give it with --sdk <checkout of Backplane>/sdk/rust", folder.display()),
    }
}

/// How Cargo.toml names the SDK: relative inside the same checkout, so that the plugin moves with it, else absolute.
fn path_to(folder: &Path, sdk: &Path) -> PathBuf {
    let checkout = sdk.ancestors().nth(2).unwrap_or(sdk);
    match folder.strip_prefix(checkout) {
        Ok(below) => below.iter().map(|_| "..").collect::<PathBuf>().join("sdk/rust"),
        Err(_) => sdk.to_owned(),
    }
}

/// A path inside a TOML string.
fn toml_text(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"")
}

/// The toolchain that the SDK is checked with.
fn channel(sdk: &Path) -> String {
    let toolchain = fs::read_to_string(sdk.join("../../rust-toolchain.toml")).unwrap_or_default();
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")?.trim().strip_prefix('"')?.strip_suffix('"'));
    channel.unwrap_or("stable").to_owned()
}

/// `my-plugin` answers the service `MyPlugin`.
fn service_of(id: &PluginId) -> String {
    let capital = |word: &str| word.chars().take(1).map(|c| c.to_ascii_uppercase()).chain(word.chars().skip(1)).collect::<String>();
    id.as_str().split('-').map(capital).collect()
}
