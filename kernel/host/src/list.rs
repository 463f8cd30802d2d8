use backplane_proto::plugin::v1::{ListPluginsRequest, ListPluginsResponse};
use kernel_base::{CallContext, Page, PageTokenInvalid};
use kernel_storage::PluginVersionRow;

use crate::{Host, HostError, present};

impl Host {
    /// A page of versions by plugin id, newest first, each with its deployments in the caller's cities.
    pub(crate) async fn list(&self, context: &CallContext, request: ListPluginsRequest) -> Result<ListPluginsResponse, HostError> {
        let page = Page::read(request.page_size, &request.page_token)?;
        let after = page.after.as_deref().map_or(Ok(("", 0, "")), read_key)?;
        let rows_max = i64::try_from(page.size + 1).unwrap_or(i64::MAX);
        let mut rows = self.inner.rows.plugin_versions(after, rows_max).await?;
        let next_page_token = page.finish(&mut rows, key);
        let deployments = self.inner.rows.enabled_deployments().await?;
        let versions = rows.iter().map(|row| present::version(row, present::deployments_of(row, &deployments, context))).collect::<Result<_, _>>()?;
        Ok(ListPluginsResponse { versions, next_page_token })
    }
}

/// Where a page ended: neither plugin ids nor instants contain a slash.
fn key(row: &PluginVersionRow) -> String {
    format!("{}/{}/{}", row.plugin_id, row.installed_at, row.version)
}

fn read_key(key: &str) -> Result<(&str, i64, &str), PageTokenInvalid> {
    let mut parts = key.splitn(3, '/');
    let (Some(plugin), Some(installed_at), Some(version)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(PageTokenInvalid);
    };
    Ok((plugin, installed_at.parse().map_err(|_| PageTokenInvalid)?, version))
}
