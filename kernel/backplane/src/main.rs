//! The one binary: the kernel, and the command line that talks to one.
//!
//! Start from [`kernel::Kernel`], the only place where every service is named and wired; the other files are one command each and reach a kernel only
//! through its doors, as any client would.

mod backup;
mod client;
mod dataset;
mod demo;
mod feed;
mod kernel;
mod logging;
mod output;
mod plugin;
mod query;
mod role;
mod serve;
mod tables;
mod token;
mod user;

use clap::{Parser, Subcommand};
use tikv_jemallocator::Jemalloc;

/// The system's allocator keeps much of what the threads of an import freed; this one gives it back within seconds.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Backplane: an operations platform for a telecom operator's digital services.
#[derive(Parser)]
#[command(name = "backplane", version, max_term_width = 120)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the kernel in the foreground
    Serve(serve::ServeArguments),
    /// Copy what a kernel keeps, also while it runs
    Backup(backup::BackupArguments),
    /// Make a kernel's folder of a backup
    Restore(backup::RestoreArguments),
    /// Run a kernel with sample data and two plugins, and print commands to type
    Demo(demo::DemoArguments),
    /// Write, install, enable and call plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Import files of the platforms, and look after what could not be read
    #[command(subcommand)]
    Feed(feed::FeedCommand),
    /// Contracts of datasets
    #[command(subcommand)]
    Dataset(dataset::DatasetCommand),
    /// Run one SELECT
    Query(query::QueryArguments),
    /// List the datasets, or describe one
    Tables(tables::TablesArguments),
    /// People and service accounts
    #[command(subcommand)]
    User(user::UserCommand),
    /// Sets of permissions
    #[command(subcommand)]
    Role(role::RoleCommand),
    /// Tokens of people and service accounts
    #[command(subcommand)]
    Token(token::TokenCommand),
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(run(arguments.command)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Backup(arguments) => backup::backup(arguments).await,
        Command::Restore(arguments) => backup::restore(&arguments),
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Plugin(command) => plugin::run(command).await,
        Command::Feed(command) => feed::run(command).await,
        Command::Dataset(command) => dataset::run(command).await,
        Command::Query(arguments) => query::run(arguments).await,
        Command::Tables(arguments) => tables::run(arguments).await,
        Command::User(command) => user::run(command).await,
        Command::Role(command) => role::run(command).await,
        Command::Token(command) => token::run(command).await,
    }
}

#[allow(clippy::print_stderr, reason = "the last word of a command that failed")]
fn fail(error: &anyhow::Error) -> std::process::ExitCode {
    eprintln!("error: {}", output::explain(error));
    std::process::ExitCode::FAILURE
}
