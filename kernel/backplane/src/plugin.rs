mod build;
mod call;
mod install;
mod job;
mod lifecycle;
mod new;
mod own_kernel;
mod run;
mod test;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kernel_base::City;

pub(crate) use build::build;
pub(crate) use call::call;
pub(crate) use install::install;
pub(crate) use job::run_job;
pub(crate) use lifecycle::{enable, plugins};

use crate::{client::Connection, output::say};

#[derive(Subcommand)]
pub(crate) enum PluginCommand {
    /// Make the folder of a new plugin that compiles and passes its test
    New(NewArguments),
    /// Compile a plugin into one self-contained .wasm file
    Build(BuildArguments),
    /// Give a .wasm file to the kernel, which verifies it and grants nothing
    Install(InstallArguments),
    /// Show what a version asks for, grant it, and enable the version in a city
    Enable(EnableArguments),
    /// End a plugin's deployment in a city
    Disable(DisableArguments),
    /// List versions and where they are enabled
    List(Connection),
    /// Call a method, such as: plugin call portal_traffic.v1.PortalTraffic/GetSummary '{"from": "2015-05-17T00:00:00Z", "to": "2015-05-21T00:00:00Z"}'
    Call(CallArguments),
    /// Run a job of an enabled plugin now, such as: plugin job package-monitor value-months '{"from": "2026-03"}' --in 441900
    Job(JobArguments),
    /// Build a plugin and call it in a kernel of its own, on files that you name
    Run(RunArguments),
    /// Build a plugin and play the scenarios in its folder, each in a kernel of its own
    Test(TestArguments),
}

#[derive(Args)]
pub(crate) struct NewArguments {
    folder: PathBuf,
    /// The folder sdk/rust of a checkout; found by walking up, when absent
    #[arg(long)]
    sdk: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct BuildArguments {
    #[arg(default_value = ".")]
    folder: PathBuf,
}

#[derive(Args)]
pub(crate) struct InstallArguments {
    /// A file made by `plugin build`
    file: PathBuf,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct EnableArguments {
    plugin: String,
    /// The one installed last, when absent
    #[arg(long, default_value = "")]
    version: String,
    /// Where to enable it; 440000 is the province
    #[arg(long = "in", required = true, value_delimiter = ',')]
    cities: Vec<City>,
    /// JSON object that fits the plugin's schema; absent keeps what it was last enabled with, {} takes the defaults
    #[arg(long, default_value = "")]
    configuration: String,
    /// Grant what is asked without being asked
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct DisableArguments {
    plugin: String,
    #[arg(long = "in", required = true, value_delimiter = ',')]
    cities: Vec<City>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct CallArguments {
    /// package.Service/Method
    method: String,
    /// The request as JSON
    #[arg(default_value = "{}")]
    request: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct JobArguments {
    plugin: String,
    /// As 'plugin list' shows them
    job: String,
    /// What the job is to do, as JSON
    #[arg(default_value = "{}")]
    parameters: String,
    /// Where to run it: for the rows of each of these cities
    #[arg(long = "in", required = true, value_delimiter = ',')]
    cities: Vec<City>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
pub(crate) struct RunArguments {
    /// Folder of the plugin
    folder: PathBuf,
    /// package.Service/Method
    method: String,
    /// The request as JSON
    #[arg(default_value = "{}")]
    request: String,
    /// A file to import first, as feed=path; may be given several times
    #[arg(long = "file")]
    files: Vec<String>,
    /// City to import into and to call in
    #[arg(long, default_value = "440600")]
    city: City,
    /// JSON object that fits the plugin's schema
    #[arg(long, default_value = "")]
    configuration: String,
}

#[derive(Args)]
pub(crate) struct TestArguments {
    /// Folder of the plugin
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Play this one only: its folder's name
    #[arg(long)]
    scenario: Option<String>,
}

pub(crate) async fn run(command: PluginCommand) -> anyhow::Result<()> {
    match command {
        PluginCommand::New(arguments) => new::new(&arguments.folder, arguments.sdk.as_deref()),
        PluginCommand::Build(arguments) => {
            let file = build(&arguments.folder)?;
            say(format!("next: backplane plugin install {}", file.display()));
            Ok(())
        }
        PluginCommand::Install(arguments) => install::run(arguments).await,
        PluginCommand::Enable(arguments) => lifecycle::run_enable(arguments).await,
        PluginCommand::Disable(arguments) => lifecycle::run_disable(arguments).await,
        PluginCommand::List(connection) => lifecycle::run_list(&connection).await,
        PluginCommand::Call(arguments) => {
            say(call(&arguments.connection, &arguments.method, &arguments.request).await?);
            Ok(())
        }
        PluginCommand::Job(arguments) => job::run(arguments).await,
        PluginCommand::Run(arguments) => run::run(arguments).await,
        PluginCommand::Test(arguments) => test::run(arguments).await,
    }
}
