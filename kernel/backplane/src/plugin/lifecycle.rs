use std::io::{IsTerminal, Write};

use anyhow::bail;
use backplane_proto::plugin::v1::{
    Deployment, DisablePluginRequest, EnablePluginRequest, GetPluginVersionRequest, ListPluginsRequest, ListPluginsResponse, plugins_client::PluginsClient,
};
use kernel_base::City;

use super::{DisableArguments, EnableArguments};
use crate::{
    client::{Channeled, Connection, PAGE_SIZE, all_pages},
    output::{self, say},
};

pub(crate) async fn plugins(connection: &Connection) -> anyhow::Result<PluginsClient<Channeled>> {
    Ok(PluginsClient::new(connection.open().await?))
}

pub(super) async fn run_enable(arguments: EnableArguments) -> anyhow::Result<()> {
    let mut client = plugins(&arguments.connection).await?;
    let request = GetPluginVersionRequest { plugin_id: arguments.plugin.clone(), version: arguments.version.clone() };
    let version = client.get_plugin_version(request).await?.into_inner();
    let cities: Vec<_> = arguments.cities.iter().map(|city| format!("{city} {}", city.info().name_en)).collect();
    if !arguments.connection.json {
        say(format!("{} {} ({}) asks for, in {}:", version.plugin_id, version.version, version.title_en, cities.join(" and ")));
        version.capabilities.iter().for_each(|capability| say(format!("  {capability}")));
    }
    if !arguments.yes && !confirmed()? {
        bail!("nothing was granted and nothing enabled");
    }
    for city in arguments.cities {
        let deployment = enable(&arguments.connection, &version.plugin_id, &version.version, city, &version.capabilities, &arguments.configuration).await?;
        if arguments.connection.json {
            output::json("backplane.plugin.v1.Deployment", &deployment)?;
        } else {
            say(format!("{} {} is enabled in {city}, revision {}", deployment.plugin_id, deployment.version, deployment.revision));
        }
    }
    Ok(())
}

/// Grants the capabilities and enables the version in one city.
///
/// # Errors
/// When the kernel refuses.
pub(crate) async fn enable(
    connection: &Connection,
    plugin_id: &str,
    version: &str,
    city: City,
    granted: &[String],
    configuration: &str,
) -> anyhow::Result<Deployment> {
    let request = EnablePluginRequest {
        plugin_id: plugin_id.to_owned(),
        version: version.to_owned(),
        city: city.to_string(),
        granted: granted.to_vec(),
        configuration_json: configuration.to_owned(),
    };
    Ok(plugins(connection).await?.enable_plugin(request).await?.into_inner())
}

fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("granting needs a yes: answer at a terminal, or give --yes");
    }
    let mut out = std::io::stdout();
    write!(out, "Grant this and enable it? [y/N] ")?;
    out.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub(super) async fn run_disable(arguments: DisableArguments) -> anyhow::Result<()> {
    let mut client = plugins(&arguments.connection).await?;
    for city in arguments.cities {
        let request = DisablePluginRequest { plugin_id: arguments.plugin.clone(), city: city.to_string() };
        let answer = client.disable_plugin(request).await?.into_inner();
        if arguments.connection.json {
            output::json("backplane.plugin.v1.DisablePluginResponse", &answer)?;
        } else if answer.disabled {
            say(format!("{} is disabled in {city}", arguments.plugin));
        } else {
            say(format!("{} was not enabled in {city}", arguments.plugin));
        }
    }
    Ok(())
}

pub(super) async fn run_list(connection: &Connection) -> anyhow::Result<()> {
    let mut client = plugins(connection).await?;
    let versions = all_pages(async |page_token| {
        let page = client.list_plugins(ListPluginsRequest { page_size: PAGE_SIZE, page_token }).await?.into_inner();
        Ok((page.versions, page.next_page_token))
    })
    .await?;
    if connection.json {
        return output::json("backplane.plugin.v1.ListPluginsResponse", &ListPluginsResponse { versions, next_page_token: String::new() });
    }
    let rows = versions.into_iter().map(|version| {
        let jobs: Vec<_> = version.jobs.into_iter().map(|job| job.name).collect();
        let enabled: Vec<_> = version.deployments.iter().map(|deployment| format!("{} (revision {})", deployment.city, deployment.revision)).collect();
        let installed = output::instant(version.installed_at.as_ref());
        let digest = version.digest.chars().take(12).collect();
        vec![version.plugin_id, version.version, version.title_en, enabled.join("\n"), version.services.join("\n"), jobs.join("\n"), installed, digest]
    });
    output::table(&["plugin", "version", "title", "enabled in", "services", "jobs", "installed", "digest"], rows);
    Ok(())
}
