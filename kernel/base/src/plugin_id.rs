use std::{fmt, str::FromStr, sync::Arc};

/// Names a plugin: 2 to 40 of `a–z 0–9 -`, starting with a letter. In proto packages, permissions and SQL the hyphens are underscores.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginId(Arc<str>);

impl PluginId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as it begins the plugin's permissions and proto packages: `portal_traffic`.
    pub fn namespace(&self) -> String {
        self.0.replace('-', "_")
    }
}

impl FromStr for PluginId {
    type Err = PluginIdInvalid;

    fn from_str(text: &str) -> Result<Self, PluginIdInvalid> {
        let good = (2..=40).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        // `backplane` would let a plugin claim the kernel's own proto packages and permissions.
        if good && text != "backplane" { Ok(PluginId(text.into())) } else { Err(PluginIdInvalid { text: text.chars().take(80).collect() }) }
    }
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot name a plugin.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' cannot be the id of a plugin: use 2 to 40 of a-z, 0-9 and '-', starting with a letter, for example portal-traffic")]
pub struct PluginIdInvalid {
    text: String,
}
