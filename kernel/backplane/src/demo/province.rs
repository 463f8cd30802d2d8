use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use sample_province::{Options, generate};
use serde::{Deserialize, Serialize};

use crate::output::say;

/// What a folder's province was made from.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Made {
    customers: u32,
    seed: u64,
}

/// Writes the files of the sample province below the folder, once; gives where they are.
///
/// # Errors
/// When an earlier run made another province there, or the disk does not take it.
pub(super) fn write(dir: &Path, customers: u32, seed: u64) -> anyhow::Result<PathBuf> {
    let (out, note, asked) = (dir.join("province"), dir.join("province.json"), Made { customers, seed });
    if let Ok(text) = std::fs::read(&note) {
        let made: Made = serde_json::from_slice(&text).with_context(|| format!("{} cannot be read", note.display()))?;
        if made != asked {
            bail!("{} has a province of {} customers and seed {}: remove the folder, or ask for that one", dir.display(), made.customers, made.seed);
        }
        return Ok(out);
    }
    // Of a run that was cut off.
    if out.exists() {
        std::fs::remove_dir_all(&out).with_context(|| format!("cannot clear {}", out.display()))?;
    }
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} cities, {eta} left, {msg}")?);
    let mut show = |progress: sample_province::Progress| {
        bar.set_length(progress.cities as u64);
        bar.set_position(progress.cities_done as u64);
        bar.set_message(format!("{} rows", progress.rows));
    };
    let summary = generate(&Options { customers, seed, ..Options::default() }, &out, &mut show)?;
    bar.finish_and_clear();
    say(format!("    {} rows, {} MB in {} files", summary.rows, summary.bytes / 1_000_000, summary.files.len()));
    std::fs::write(&note, serde_json::to_vec(&asked)?)?;
    Ok(out)
}
