use std::{fmt, sync::Arc, time::Instant};

use crate::{City, Code, Fault, PluginId, Principal, Reason, Rights, Scope, random::unlike_others, status};

/// Who calls, for which cities, with which rights and until when. Made at a door from a token; it goes with every request on the bus, and native
/// services find it in the extensions.
#[derive(Debug, Clone)]
pub struct CallContext {
    pub caller: Caller,
    /// The plugin that acts for the caller, when one does. The rights are then already the intersection of both.
    pub actor: Option<PluginActor>,
    pub rights: Arc<Rights>,
    /// The city that the call is narrowed to; `None` is the caller's whole scope.
    pub city: Option<City>,
    pub deadline: Instant,
    pub trace: TraceId,
    /// Plugins whose answers wait for this call, outermost first: the depth limit and the check for cycles read it.
    pub chain: Vec<PluginId>,
}

/// Whether somebody proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    Known(Principal),
    /// No token was sent. Reaches only methods whose scope is ANONYMOUS.
    Anonymous,
}

impl Caller {
    /// The id of the principal, `anonymous` without one.
    pub fn id(&self) -> &str {
        match self {
            Caller::Known(principal) => principal.id.as_str(),
            Caller::Anonymous => "anonymous",
        }
    }
}

/// The deployment that acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PluginActor {
    pub plugin: PluginId,
    pub version: String,
    pub city: City,
}

/// 16 random bytes, in hex in every log line and error of a call; the trace id of W3C Trace Context.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

impl CallContext {
    /// The same call held to one city: rights outside of it are gone.
    pub fn narrowed(&self, city: City) -> CallContext {
        let mut context = self.clone();
        if city != City::PROVINCE {
            context.rights = self.rights.in_city(city);
        }
        context.city = Some(city);
        context
    }

    /// The city of the call, or the only city in which `permission` is held.
    ///
    /// # Errors
    /// CITY_REQUIRED when neither names one.
    pub fn required_city(&self, permission: &str) -> Result<City, CityRequired> {
        self.city.or_else(|| self.rights.scope_of(permission, None).only_city()).ok_or(CityRequired)
    }

    /// The id of the caller, `anonymous` without one.
    pub fn caller_id(&self) -> &str {
        self.caller.id()
    }

    /// Requires a permission on a resource in a city.
    ///
    /// # Errors
    /// PERMISSION_MISSING, naming what is missing and where.
    pub fn require(&self, name: &str, resource: Option<&str>, city: City) -> Result<(), PermissionMissing> {
        if self.rights.holds(name, resource, city) {
            return Ok(());
        }
        let permission = match resource {
            Some(resource) => format!("{name}:{resource}"),
            None => name.to_owned(),
        };
        Err(PermissionMissing { caller: self.caller_id().to_owned(), permission, place: Scope::city(city), actor: self.actor.clone() })
    }
}

/// The context that the bus put into a request.
///
/// # Errors
/// INTERNAL when a service was reached past the bus, which only a wiring mistake can do.
pub fn context_of<T>(request: &tonic::Request<T>) -> Result<CallContext, tonic::Status> {
    request.extensions().get::<CallContext>().cloned().ok_or_else(|| status(&ContextMissing))
}

impl TraceId {
    /// A new one.
    pub fn random() -> TraceId {
        TraceId(unlike_others())
    }

    /// 32 lower-case hex digits.
    pub fn hex(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 32];
        for (digits, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            digits.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
        }
        hex
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A city is needed and the call has none.
#[derive(Debug, thiserror::Error)]
#[error("this call needs a city and the caller has several: send the metadata 'backplane-city' with a code such as 440600")]
pub struct CityRequired;

impl Fault for CityRequired {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }
    fn reason(&self) -> Reason {
        Reason::CityRequired
    }
}

/// The caller, or the plugin that acts for it, lacks a permission.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} lacks the permission '{permission}'{}: ask central operations for a role that contains it ('backplane user grant')",
    match actor { Some(actor) => format!("'{caller}' together with the plugin {} {} that acts for it", actor.plugin, actor.version), None => format!("'{caller}'") },
    if place.is_nowhere() { String::new() } else { format!(" in {place}") }
)]
pub struct PermissionMissing {
    pub caller: String,
    pub permission: String,
    pub place: Scope,
    pub actor: Option<PluginActor>,
}

impl Fault for PermissionMissing {
    fn code(&self) -> Code {
        Code::PermissionDenied
    }
    fn reason(&self) -> Reason {
        Reason::PermissionMissing
    }
    fn place(&self) -> Vec<(&'static str, String)> {
        vec![("permission", self.permission.clone()), ("city", self.place.to_string())]
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the request reached a service without its context")]
struct ContextMissing;

impl Fault for ContextMissing {
    fn code(&self) -> Code {
        Code::Internal
    }
    fn reason(&self) -> Reason {
        Reason::InternalFault
    }
}
