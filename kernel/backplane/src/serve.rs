use std::{
    future::Future,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use kernel_auth::FIRST_TOKEN_DAYS;
use kernel_warehouse::DropFolder;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    kernel::{AUDIT_LOG, Kernel, KernelSettings},
    logging,
    output::say,
};

/// Where a kernel is that was given no folder.
pub(crate) const DEFAULT_DIR: &str = ".backplane/kernel";

#[derive(Args)]
pub(crate) struct ServeArguments {
    /// Where the kernel keeps everything
    #[arg(long, env = "BACKPLANE_DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// Address to listen on; port 0 takes a free one. Beyond loopback only when you say so here
    #[arg(long, env = "BACKPLANE_LISTEN", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// Seconds that running calls have to end after a stop signal
    #[arg(long, default_value_t = 30)]
    drain_seconds: u64,
    /// Lines of a feed file that are committed together; fewer make an interrupted import resume closer to where it was
    #[arg(long)]
    import_chunk_lines: Option<NonZeroUsize>,
    /// Megabytes of memory that one query may have; what it holds beyond that goes to disk. Two a core run at once
    #[arg(long, env = "BACKPLANE_QUERY_MEMORY_MB")]
    query_memory_mb: Option<NonZeroU32>,
    /// Folder in which platforms leave their files; what was taken moves to its folder taken/, what is refused to refused/
    #[arg(long, env = "BACKPLANE_DROP")]
    drop: Option<PathBuf>,
}

pub(crate) async fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    std::fs::create_dir_all(&arguments.dir).with_context(|| format!("cannot make the folder {}", arguments.dir.display()))?;
    logging::start(&arguments.dir.join(AUDIT_LOG), "info")?;
    let stopped = stop_signal()?;
    // Before the kernel opens: a first start whose port is taken must not make a token that nobody gets to see.
    let listener = TcpListener::bind(arguments.listen).await.with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let kernel = Kernel::open(&KernelSettings {
        dir: arguments.dir,
        import_chunk_lines: arguments.import_chunk_lines.map(NonZeroUsize::get),
        query_memory_mb: arguments.query_memory_mb.map(NonZeroU32::get),
        drop_folder: arguments.drop.map(DropFolder::in_dir),
    })
    .await?;
    let address = listener.local_addr()?;
    if let Some(token) = &kernel.first_token {
        say(format!("This is the first start. The token of 'administrator', good for {FIRST_TOKEN_DAYS} days and shown only now: {token}"));
    }
    say(format!("Backplane is ready on http://{address}"));
    kernel.serve(listener, stopped, Duration::from_secs(arguments.drain_seconds)).await;
    Ok(())
}

/// Resolves when the process is asked to stop: Ctrl-C or SIGTERM. Installed before anything opens, so that no signal is missed.
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
