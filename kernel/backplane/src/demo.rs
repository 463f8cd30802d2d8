//! A kernel with the sample province, a real access log and the first plugin, for a newcomer to call. Everything goes through the doors, as a stranger's client would do it.

mod commands;
mod province;
mod setup;
mod split;

use std::{
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    kernel::{Kernel, KernelSettings},
    logging,
    output::say,
    plugin,
    serve::stop_signal,
};
use province::Province;
use setup::Setup;

#[derive(Args)]
pub(crate) struct DemoArguments {
    /// Where the demo keeps everything; a rerun reuses what is there
    #[arg(long, default_value = ".backplane/demo")]
    dir: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Access log in combined format
    #[arg(long, default_value = "examples/portal-log/access-200.log")]
    log: PathBuf,
    /// Customers of the sample province
    #[arg(long, default_value_t = 20_000)]
    customers: u32,
    /// The same seed makes the same province
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the plugin portal-traffic
    #[arg(long, default_value = "plugins/portal-traffic")]
    plugin: PathBuf,
    /// Run the commands that are printed, compare what they answer, and exit
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(arguments: DemoArguments) -> anyhow::Result<()> {
    std::fs::create_dir_all(&arguments.dir).with_context(|| format!("cannot make the folder {}", arguments.dir.display()))?;
    logging::start(&arguments.dir.join("audit.log"), "warn")?;
    let stopped = stop_signal()?;
    say("1/5 building the plugin portal-traffic");
    let wasm = plugin::build(&arguments.plugin)?;

    say(format!("2/5 writing what six platforms of a province of {} customers would send", arguments.customers));
    let province = province::write(&arguments.dir, arguments.customers, arguments.seed)?;

    say("3/5 opening the kernel");
    // Before the kernel opens, so that a port that is taken costs nothing.
    let listener = TcpListener::bind(arguments.listen).await.with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let kernel = Kernel::open(&KernelSettings::in_dir(arguments.dir.join("kernel"))).await?;
    let address = format!("http://{}", listener.local_addr()?);
    let administrator = match &kernel.first_token {
        Some(token) => token.clone(),
        None => kernel.administrator_token().await?,
    };
    let setup = Setup::load(&arguments.dir, &address, administrator)?;
    let (stop, stop_received) = oneshot::channel::<()>();
    let serving = tokio::spawn(kernel.serve(listener, async move { drop(stop_received.await) }, Duration::from_secs(10)));

    let outcome = play(&arguments, setup, &wasm, &province, stopped).await;
    drop(stop);
    serving.await?;
    outcome
}

async fn play(arguments: &DemoArguments, mut setup: Setup, wasm: &Path, province: &Province, stopped: impl Future<Output = ()>) -> anyhow::Result<()> {
    say(format!("4/5 importing the province's files and {}", arguments.log.display()));
    setup.import(&province.files, &arguments.log).await?;
    say("5/5 installing and enabling portal-traffic in Foshan and Dongguan, and issuing tokens");
    setup.enable_plugin(wasm).await?;
    setup.issue_tokens().await?;
    let commands = commands::commands(&setup, province).await?;
    if arguments.check {
        return commands::check(&commands);
    }
    commands::print(&commands, &setup);
    stopped.await;
    say("stopping: running calls end first");
    Ok(())
}
