use anyhow::Context;

use super::{
    RunArguments, build, call,
    own_kernel::{install_and_enable, with_own_kernel},
};
use crate::{client::Connection, feed, output::say};

/// Builds the plugin, imports the files into a kernel of its own, enables the plugin with all that it asks for, and calls it.
pub(super) async fn run(arguments: RunArguments) -> anyhow::Result<()> {
    let wasm = build(&arguments.folder)?;
    say(with_own_kernel(arguments.city, async |connection| exercise(&arguments, connection, &wasm).await).await?);
    Ok(())
}

async fn exercise(arguments: &RunArguments, connection: &Connection, wasm: &std::path::Path) -> anyhow::Result<String> {
    for file in &arguments.files {
        let (feed, path) = file.split_once('=').with_context(|| format!("'{file}' is not feed=path"))?;
        say(feed::describe(&feed::import(connection, feed, path.as_ref(), "").await?));
    }
    install_and_enable(connection, wasm, arguments.city, &arguments.configuration).await?;
    call(connection, &arguments.method, &arguments.request).await
}
