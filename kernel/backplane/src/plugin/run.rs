use std::time::Duration;

use anyhow::Context;
use tokio::{net::TcpListener, sync::oneshot};

use super::{RunArguments, build, call, enable, install};
use crate::{
    client::Connection,
    feed,
    kernel::{Kernel, KernelSettings},
    logging,
    output::say,
};

/// Builds the plugin, starts a kernel in a folder that ends with the command, imports the files, enables the plugin with all that it asks for, and calls it.
pub(super) async fn run(arguments: RunArguments) -> anyhow::Result<()> {
    let wasm = build(&arguments.folder)?;
    let dir = tempfile::tempdir()?;
    logging::start(&dir.path().join("audit.log"), "warn")?;
    let kernel = Kernel::open(&KernelSettings::in_dir(dir.path())).await?;
    let token = kernel.first_token.clone().context("a new kernel gave no token")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let connection =
        Connection { address: format!("http://{}", listener.local_addr()?), token: Some(token), city: Some(arguments.city), timeout_seconds: 60, json: false };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(kernel.serve(listener, async move { drop(stopped.await) }, Duration::from_secs(5)));
    let outcome = exercise(&arguments, &connection, &wasm).await;
    drop(stop);
    serving.await?;
    say(outcome?);
    Ok(())
}

async fn exercise(arguments: &RunArguments, connection: &Connection, wasm: &std::path::Path) -> anyhow::Result<String> {
    for file in &arguments.files {
        let (feed, path) = file.split_once('=').with_context(|| format!("'{file}' is not feed=path"))?;
        say(feed::describe(&feed::import(connection, feed, path.as_ref(), "").await?));
    }
    // Installing is for the whole province, whatever city is called in.
    let version = install(&Connection { city: None, ..connection.clone() }, wasm).await?;
    enable(connection, &version.plugin_id, &version.version, arguments.city, &version.capabilities, &arguments.configuration).await?;
    call(connection, &arguments.method, &arguments.request).await
}
