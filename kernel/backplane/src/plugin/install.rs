use std::path::Path;

use anyhow::Context;
use backplane_proto::plugin::v1::{InstallPluginRequest, PluginVersion};
use futures::stream;

use super::{InstallArguments, plugins};
use crate::{
    client::Connection,
    output::{self, say},
};

// Limit: bytes of one piece; the contract allows 1 MiB.
const CHUNK_BYTES: usize = 512 << 10;

pub(super) async fn run(arguments: InstallArguments) -> anyhow::Result<()> {
    let version = install(&arguments.connection, &arguments.file).await?;
    if arguments.connection.json {
        return output::json("backplane.plugin.v1.PluginVersion", &version);
    }
    say(format!("{} {} is installed, digest {}", version.plugin_id, version.version, version.digest));
    say("It asks for:");
    version.capabilities.iter().for_each(|capability| say(format!("  {capability}")));
    say(format!("next: backplane plugin enable {} --in <city>", version.plugin_id));
    Ok(())
}

/// Sends a file to the kernel.
///
/// # Errors
/// When it cannot be read, or the kernel refuses it.
pub(crate) async fn install(connection: &Connection, file: &Path) -> anyhow::Result<PluginVersion> {
    let wasm = std::fs::read(file).with_context(|| format!("cannot read {}: 'backplane plugin build' makes it", file.display()))?;
    let pieces: Vec<_> = wasm.chunks(CHUNK_BYTES).map(|chunk| InstallPluginRequest { chunk: bytes::Bytes::copy_from_slice(chunk) }).collect();
    // Compiling may take longer than a question.
    let connection = Connection { timeout_seconds: connection.timeout_seconds.max(120), ..connection.clone() };
    Ok(plugins(&connection).await?.install_plugin(stream::iter(pieces)).await?.into_inner())
}
