use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use kernel_base::City;
use serde::Deserialize;
use serde_json::Value;

use super::step::Step;

/// The file of a scenario in its folder.
const FILE: &str = "scenario.yaml";
/// The folder in it with the rows that are there before the first step, a file a dataset.
const ROWS: &str = "rows";
const ROWS_END: &str = "jsonl";

/// What is there, what is done, and what is expected.
pub(super) struct Scenario {
    /// Its folder's name.
    pub(super) name: String,
    pub(super) about: String,
    /// Where the plugin is enabled, and where everything happens that names no other city.
    pub(super) city: City,
    pub(super) steps: Vec<Step>,
    folder: PathBuf,
    configuration: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// What it shows, in a sentence.
    about: String,
    city: String,
    configuration: Option<Value>,
    steps: Vec<Step>,
}

impl Scenario {
    pub(super) fn read(folder: &Path) -> anyhow::Result<Scenario> {
        let file = folder.join(FILE);
        let text = std::fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        let document: Document = serde_saphyr::from_str(&text).with_context(|| format!("{} is no scenario", file.display()))?;
        let city = document.city.parse().with_context(|| format!("{}: city", file.display()))?;
        ensure!(!document.steps.is_empty(), "{} has no steps: nothing would be tested", file.display());
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Scenario { name, about: document.about, city, steps: document.steps, folder: folder.to_owned(), configuration: document.configuration })
    }

    /// As EnablePlugin takes it.
    pub(super) fn configuration_json(&self) -> String {
        self.configuration.as_ref().map(Value::to_string).unwrap_or_default()
    }

    /// The rows that are there before the first step: `rows/<dataset>.jsonl`.
    pub(super) fn rows(&self) -> anyhow::Result<Vec<Step>> {
        let folder = self.folder.join(ROWS);
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let entries = std::fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        files.sort();
        let step = |file: PathBuf| {
            let is_rows = file.extension().is_some_and(|end| end == ROWS_END);
            ensure!(is_rows, "{} is none of the rows: they are JSON objects, one a line, in files named <dataset>.{ROWS_END}", file.display());
            let dataset = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Ok(Step::append(dataset, Path::new(ROWS).join(file.file_name().unwrap_or_default())))
        };
        files.into_iter().map(step).collect()
    }

    /// A file that the scenario names.
    pub(super) fn path(&self, file: &Path) -> PathBuf {
        self.folder.join(file)
    }
}
