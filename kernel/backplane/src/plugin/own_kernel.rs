use std::{path::Path, time::Duration};

use anyhow::Context;
use kernel_base::City;
use tokio::{net::TcpListener, sync::oneshot};

use super::{enable, install};
use crate::{
    client::Connection,
    kernel::{Kernel, KernelSettings},
    logging,
};

/// Starts a kernel in a folder that ends with it, and lets `work` use it as its administrator in a city.
///
/// # Errors
/// When the kernel cannot start; what `work` fails with.
pub(super) async fn with_own_kernel<T>(city: City, work: impl AsyncFnOnce(&Connection) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let dir = tempfile::tempdir()?;
    logging::start(&dir.path().join("audit.log"), "warn")?;
    let kernel = Kernel::open(&KernelSettings::in_dir(dir.path())).await?;
    let token = kernel.first_token.clone().context("a new kernel gave no token")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let connection =
        Connection { address: format!("http://{}", listener.local_addr()?), token: Some(token), city: Some(city), timeout_seconds: 60, json: false };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(kernel.serve(listener, async move { drop(stopped.await) }, Duration::from_secs(5)));
    let outcome = work(&connection).await;
    drop(stop);
    serving.await?;
    outcome
}

/// Installs a plugin and enables it in a city with all that it asks for; gives its id.
///
/// # Errors
/// When the kernel refuses it.
pub(super) async fn install_and_enable(connection: &Connection, wasm: &Path, city: City, configuration: &str) -> anyhow::Result<String> {
    // Installing is for the whole province, whatever city is called in.
    let version = install(&Connection { city: None, ..connection.clone() }, wasm).await?;
    enable(connection, &version.plugin_id, &version.version, city, &version.capabilities, configuration).await?;
    Ok(version.plugin_id)
}
