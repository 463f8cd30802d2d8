//! A kernel with the sample province, a real access log and two plugins, for a newcomer to call. Everything goes through the doors, as a stranger's client would do it.

mod commands;
mod findings;
mod province;
mod setup;
mod split;

use std::{future::Future, net::SocketAddr, path::PathBuf, time::Duration};

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
use findings::Findings;
use province::Province;
use setup::Setup;

/// The plugins of the demo, by their folders.
const PLUGINS: [&str; 2] = ["portal-traffic", "package-monitor"];

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
    /// Folder of the plugins portal-traffic and package-monitor
    #[arg(long, default_value = "plugins")]
    plugins: PathBuf,
    /// Run the commands that are printed, compare what they answer, and exit
    #[arg(long)]
    check: bool,
}

pub(crate) async fn run(arguments: DemoArguments) -> anyhow::Result<()> {
    std::fs::create_dir_all(&arguments.dir).with_context(|| format!("cannot make the folder {}", arguments.dir.display()))?;
    logging::start(&arguments.dir.join("audit.log"), "warn")?;
    let stopped = stop_signal()?;
    say("1/6 building the plugins portal-traffic and package-monitor");
    let wasms = PLUGINS.iter().map(|name| plugin::build(&arguments.plugins.join(name))).collect::<anyhow::Result<Vec<_>>>()?;

    say(format!("2/6 writing what six platforms of a province of {} customers would send", arguments.customers));
    let province = province::write(&arguments.dir, arguments.customers, arguments.seed)?;

    say("3/6 opening the kernel");
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

    let outcome = play(&arguments, setup, &wasms, &province, stopped).await;
    drop(stop);
    serving.await?;
    outcome
}

async fn play(arguments: &DemoArguments, mut setup: Setup, wasms: &[PathBuf], province: &Province, stopped: impl Future<Output = ()>) -> anyhow::Result<()> {
    say(format!("4/6 importing the province's files and {}", arguments.log.display()));
    setup.import(&province.files, &arguments.log).await?;
    say("5/6 installing the plugins, enabling them in Foshan and Dongguan, and issuing tokens");
    for wasm in wasms {
        setup.enable_plugin(wasm).await?;
    }
    setup.issue_tokens().await?;
    say("6/6 valuing the marketing packages of Foshan and Dongguan, month by month");
    setup.value_months().await?;
    let findings = Findings::ask(&setup, &province.valued_month()?).await?;
    let commands = commands::commands(&setup, province, &findings).await?;
    if arguments.check {
        return commands::check(&commands);
    }
    commands::print(&commands, &setup);
    findings.print();
    say("\nCtrl-C stops.");
    stopped.await;
    say("stopping: running calls end first");
    Ok(())
}
