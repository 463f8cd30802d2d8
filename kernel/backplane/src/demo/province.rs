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

/// Where the files of the sample province are.
pub(super) struct Province {
    pub(super) files: PathBuf,
    /// What comes late, for the newcomer to load.
    pub(super) late: PathBuf,
}

impl Province {
    /// Feed and period of the file that comes late.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn late_file(&self) -> anyhow::Result<(String, String)> {
        let first = |folder: &Path| -> anyhow::Result<PathBuf> {
            let lacking = || format!("{} lacks the file that comes late: remove the demo's folder and start again", folder.display());
            Ok(std::fs::read_dir(folder).with_context(lacking)?.next().with_context(lacking)??.path())
        };
        let of_feed = first(&self.late)?;
        let (feed, file) = (of_feed.file_name().and_then(|name| name.to_str()), first(&of_feed)?);
        let feed = feed.context("a folder of a feed has its name")?.to_owned();
        // `<feed>.<city>.<period>.<ending>`, and perhaps `.ctl`.
        let rest = file.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(&format!("{feed}.")));
        let period = rest.and_then(|rest| rest.split('.').nth(1)).with_context(|| format!("{} is not named as a feed's file", file.display()))?;
        Ok((feed, period.to_owned()))
    }

    /// The month of that file, "2026-10". It is another city's: Foshan's and Dongguan's months are whole.
    ///
    /// # Errors
    /// As [`late_file`](Self::late_file).
    pub(super) fn valued_month(&self) -> anyhow::Result<String> {
        let (_, period) = self.late_file()?;
        let (year, month) = period.get(..6).and_then(|month| month.split_at_checked(4)).with_context(|| format!("{period} is no day"))?;
        Ok(format!("{year}-{month}"))
    }
}

/// Writes the files of the sample province below the folder, once; gives where they are.
///
/// # Errors
/// When an earlier run made another province there, or the disk does not take it.
pub(super) fn write(dir: &Path, customers: u32, seed: u64) -> anyhow::Result<Province> {
    let province = Province { files: dir.join("province"), late: dir.join("late") };
    let (out, note, asked) = (&province.files, dir.join("province.json"), Made { customers, seed });
    if let Ok(text) = std::fs::read(&note) {
        let made: Made = serde_json::from_slice(&text).with_context(|| format!("{} cannot be read", note.display()))?;
        if made != asked {
            bail!("{} has a province of {} customers and seed {}: remove the folder, or ask for that one", dir.display(), made.customers, made.seed);
        }
        return Ok(province);
    }
    // Of a run that was cut off.
    for folder in [out, &province.late].into_iter().filter(|folder| folder.exists()) {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{wide_bar} {pos}/{len} cities, {eta} left, {msg}")?);
    let mut show = |progress: sample_province::Progress| {
        bar.set_length(progress.cities as u64);
        bar.set_position(progress.cities_done as u64);
        bar.set_message(format!("{} rows", progress.rows));
    };
    let summary = generate(&Options { customers, seed, ..Options::default() }, out, &mut show)?;
    std::fs::rename(out.join("late"), &province.late).context("cannot set aside what comes late")?;
    bar.finish_and_clear();
    say(format!("    {} rows, {} MB in {} files", summary.rows, summary.bytes / 1_000_000, summary.files.len()));
    std::fs::write(&note, serde_json::to_vec(&asked)?)?;
    Ok(province)
}
