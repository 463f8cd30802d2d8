use std::{fmt, str::FromStr, sync::Arc};

/// Names a principal for ever: 1 to 64 of `a–z 0–9 . - _`; a plugin's deployment is `plugin/<plugin>/<city>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalId(Arc<str>);

impl PrincipalId {
    /// The account that a plugin's deployment acts with when it has no caller.
    pub fn of_deployment(plugin: &crate::PluginId, city: crate::City) -> PrincipalId {
        PrincipalId(format!("plugin/{plugin}/{city}").into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PrincipalId {
    type Err = PrincipalIdInvalid;

    fn from_str(text: &str) -> Result<Self, PrincipalIdInvalid> {
        let good = (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c));
        if good { Ok(PrincipalId(text.into())) } else { Err(PrincipalIdInvalid { text: text.chars().take(80).collect() }) }
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text cannot name a principal.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' cannot be the id of a principal: use 1 to 64 of a-z, 0-9, '.', '-' and '_'")]
pub struct PrincipalIdInvalid {
    text: String,
}

/// What stands behind a principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    Person,
    Service,
    Plugin,
}

impl PrincipalKind {
    pub fn as_str(self) -> &'static str {
        match self {
            PrincipalKind::Person => "person",
            PrincipalKind::Service => "service",
            PrincipalKind::Plugin => "plugin",
        }
    }
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    pub id: PrincipalId,
    pub kind: PrincipalKind,
}
