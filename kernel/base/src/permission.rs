use std::{collections::BTreeSet, fmt, str::FromStr};

/// One right: `name`, `name:resource` or `name:resource(column,column)`. A `*` at the end of the resource matches any ending; the name `*` is everything.
/// The essay of `backplane.auth.v1.Auth` lists the names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    name: String,
    resource: Option<String>,
    columns: Option<BTreeSet<String>>,
}

impl Permission {
    /// The right to everything.
    pub fn everything() -> Permission {
        Permission { name: "*".to_owned(), resource: None, columns: None }
    }

    /// A right without a resource, as access options name it.
    pub fn named(name: &str) -> Permission {
        Permission { name: name.to_owned(), resource: None, columns: None }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn resource(&self) -> Option<&str> {
        self.resource.as_deref()
    }

    /// The columns that the right is limited to; `None` is all of them.
    pub fn columns(&self) -> Option<&BTreeSet<String>> {
        self.columns.as_ref()
    }

    /// Whether this right includes `name` on `resource`. A right without a resource covers every resource of its name.
    pub fn covers(&self, name: &str, resource: Option<&str>) -> bool {
        if self.name == "*" {
            return true;
        }
        self.name == name
            && match (&self.resource, resource) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(pattern), Some(resource)) => matches_pattern(pattern, resource),
            }
    }

    /// What both rights include, if anything.
    pub fn intersect(&self, other: &Permission) -> Option<Permission> {
        if self.name == "*" {
            return Some(other.clone());
        }
        if other.name == "*" {
            return Some(self.clone());
        }
        if self.name != other.name {
            return None;
        }
        let resource = match (&self.resource, &other.resource) {
            (None, resource) | (resource, None) => resource.clone(),
            (Some(a), Some(b)) if matches_pattern(a, b) => Some(b.clone()),
            (Some(a), Some(b)) if matches_pattern(b, a) => Some(a.clone()),
            _ => return None,
        };
        let columns = match (&self.columns, &other.columns) {
            (None, columns) | (columns, None) => columns.clone(),
            (Some(a), Some(b)) => Some(a & b),
        };
        Some(Permission { name: self.name.clone(), resource, columns })
    }
}

/// `pattern` may end in `*`; `resource` may itself be such a pattern, and is then matched as a whole.
fn matches_pattern(pattern: &str, resource: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => resource.starts_with(prefix),
        None => pattern == resource,
    }
}

impl FromStr for Permission {
    type Err = PermissionInvalid;

    fn from_str(text: &str) -> Result<Self, PermissionInvalid> {
        let invalid = || PermissionInvalid { text: text.chars().take(200).collect() };
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        let name_is_good = name == "*"
            || (name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '_')
                && name.starts_with(|c: char| c.is_ascii_lowercase()));
        if !name_is_good || (name == "*" && rest.is_some()) {
            return Err(invalid());
        }
        let Some(rest) = rest else {
            return Ok(Permission::named(name));
        };
        let (resource, columns) = match rest.split_once('(') {
            None => (rest, None),
            Some((resource, list)) => {
                let list = list.strip_suffix(')').ok_or_else(invalid)?;
                (resource, Some(list.split(',').map(|column| column.trim().to_owned()).collect::<BTreeSet<_>>()))
            }
        };
        let word = |text: &str, extra: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c));
        let resource_is_good = word(resource, "._-/*") && !resource[..resource.len() - 1].contains('*');
        let columns_are_good = columns.iter().flatten().all(|column| word(column, "_"));
        if !resource_is_good || !columns_are_good {
            return Err(invalid());
        }
        Ok(Permission { name: name.to_owned(), resource: Some(resource.to_owned()), columns })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(resource) = &self.resource {
            write!(f, ":{resource}")?;
        }
        if let Some(columns) = &self.columns {
            write!(f, "({})", columns.iter().map(String::as_str).collect::<Vec<_>>().join(","))?;
        }
        Ok(())
    }
}

/// The text is not a permission.
#[derive(Debug, thiserror::Error)]
#[error("'{text}' is not a permission: write name, name:resource or name:resource(column,column), for example dataset.read:interaction(at,page)")]
pub struct PermissionInvalid {
    text: String,
}
