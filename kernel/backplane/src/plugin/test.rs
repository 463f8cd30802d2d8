//! `plugin test`: what a plugin answers to rows that stand in a file, in a real kernel. One kernel a scenario, so that none sees the rows of another.

mod expected;
mod rows;
mod scenario;
mod step;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use self::scenario::Scenario;
use super::{
    TestArguments, build,
    own_kernel::{install_and_enable, with_own_kernel},
};
use crate::{
    client::Connection,
    output::{explain, say},
};

const FOLDER: &str = "scenarios";

/// Builds the plugin and plays its scenarios, one after another, each in a kernel of its own.
pub(super) async fn run(arguments: TestArguments) -> anyhow::Result<()> {
    let scenarios = read(&arguments)?;
    let wasm = build(&arguments.folder)?;
    let mut failed = Vec::new();
    for scenario in &scenarios {
        say(format!("{}: {}", scenario.name, scenario.about));
        let outcome = with_own_kernel(scenario.city, async |connection| play(scenario, connection, &wasm).await).await;
        if let Err(error) = outcome {
            say(format!("  FAILED {}", explain(&error).replace('\n', "\n  ")));
            failed.push(scenario.name.as_str());
        }
    }
    ensure!(failed.is_empty(), "{} of {} scenarios failed: {}", failed.len(), scenarios.len(), failed.join(", "));
    say(format!("scenarios passed: {}", scenarios.len()));
    Ok(())
}

/// The scenarios that are asked for, by name.
fn read(arguments: &TestArguments) -> anyhow::Result<Vec<Scenario>> {
    let folder = arguments.folder.join(FOLDER);
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("{} cannot be read: a scenario is a folder in it with a scenario.yaml", folder.display()))?;
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    let scenarios: Vec<Scenario> = folders.iter().map(|folder| Scenario::read(folder)).collect::<anyhow::Result<_>>()?;
    let Some(name) = &arguments.scenario else {
        ensure!(!scenarios.is_empty(), "{} has no scenario: make a folder in it with a scenario.yaml", folder.display());
        return Ok(scenarios);
    };
    let names: Vec<String> = scenarios.iter().map(|scenario| scenario.name.clone()).collect();
    match scenarios.into_iter().find(|scenario| scenario.name == *name) {
        Some(scenario) => Ok(vec![scenario]),
        None => bail!("there is no scenario '{name}': there are {}", names.join(", ")),
    }
}

/// The scenario's rows, then its steps; ends with the first that is not as expected, since the next would build on it.
async fn play(scenario: &Scenario, connection: &Connection, wasm: &Path) -> anyhow::Result<()> {
    let plugin_id = install_and_enable(connection, wasm, scenario.city, &scenario.configuration_json()).await?;
    for (number, step) in (1..).zip(scenario.rows()?.iter().chain(&scenario.steps)) {
        let doing = || format!("step {number}, {step}");
        say(format!("  {}", step.take(number, scenario, connection, &plugin_id).await.with_context(doing)?));
    }
    Ok(())
}
