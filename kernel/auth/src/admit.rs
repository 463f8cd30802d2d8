use std::sync::Arc;

use kernel_base::{CallContext, Caller, City, Code, Fault, PermissionMissing, Reason, Scope};

use crate::{
    AccessTable, MethodAccess, ScopeRule,
    access_table::{ByCity, Found},
};

/// A call that may go on.
pub struct Admitted {
    pub access: Arc<MethodAccess>,
    /// Narrowed to the city of the call when it has one.
    pub context: CallContext,
}

impl AccessTable {
    /// Decides whether the caller may call `path`, and in which city. `context.city` is the city that the caller asked for, if any.
    ///
    /// # Errors
    /// A [`Refused`] that names what is missing.
    pub fn admit(&self, path: &str, context: &CallContext) -> Result<Admitted, Refused> {
        let (access, city) = self.resolve(path, context)?;
        let context = match city {
            Some(city) => context.narrowed(city),
            None => context.clone(),
        };
        match access.scope {
            ScopeRule::Anonymous => {}
            _ if context.caller == Caller::Anonymous => return Err(Refused::TokenMissing),
            ScopeRule::SelfOnly => {}
            ScopeRule::City => require(&access, &context, city)?,
            ScopeRule::Province => require(&access, &context, Some(City::PROVINCE))?,
        }
        let context = held_to_permission(&access, context);
        Ok(Admitted { access, context })
    }

    /// The method's option and the city of the call. A plugin's method always gets a city, since it chooses the deployment.
    fn resolve(&self, path: &str, context: &CallContext) -> Result<(Arc<MethodAccess>, Option<City>), Refused> {
        let by_city = match self.find(path) {
            Found::Native(access) => return Ok((access, context.city)),
            // Where plugins are enabled is none of a stranger's business.
            Found::Plugin(by_city) if context.caller == Caller::Anonymous && by_city.values().all(|access| access.scope != ScopeRule::Anonymous) => {
                return Err(Refused::TokenMissing);
            }
            Found::Plugin(by_city) => by_city,
            Found::Nothing => return Err(Refused::MethodUnknown { path: path.chars().take(200).collect() }),
        };
        let city = match context.city.or_else(|| whole_scope(context).only_city()) {
            Some(city) => city,
            None if by_city.contains_key(&City::PROVINCE) => City::PROVINCE,
            None => return Err(Refused::CityRequired { cities: enabled_in(&by_city) }),
        };
        match by_city.get(&city).or_else(|| by_city.get(&City::PROVINCE)) {
            Some(access) => Ok((Arc::clone(access), Some(city))),
            None => Err(Refused::NotEnabled { path: path.to_owned(), city, cities: enabled_in(&by_city) }),
        }
    }

    /// Whether the caller may call a method somewhere: what reflection shows.
    pub fn may_call(access: &MethodAccess, context: &CallContext) -> bool {
        match (&access.permission, access.scope) {
            (_, ScopeRule::Anonymous | ScopeRule::SelfOnly) | (None, _) => true,
            (Some(permission), ScopeRule::City) => !context.rights.scope_of(permission, None).is_nowhere(),
            (Some(permission), ScopeRule::Province) => context.rights.scope_of(permission, None).is_province(),
        }
    }
}

fn require(access: &MethodAccess, context: &CallContext, city: Option<City>) -> Result<(), PermissionMissing> {
    let Some(permission) = &access.permission else {
        return Ok(());
    };
    match city {
        Some(city) => context.require(permission, None, city),
        None if !context.rights.scope_of(permission, None).is_nowhere() => Ok(()),
        None => Err(PermissionMissing {
            caller: context.caller_id().to_owned(),
            permission: permission.clone(),
            place: Scope::NOWHERE,
            actor: context.actor.clone(),
        }),
    }
}

/// A call without a city reaches as far as the method's own permission does: leaving the city out must not open cities that naming them would not.
fn held_to_permission(access: &MethodAccess, mut context: CallContext) -> CallContext {
    if let (Some(permission), ScopeRule::City, None) = (&access.permission, access.scope, context.city) {
        let reach = context.rights.scope_of(permission, None);
        if !reach.is_province() {
            context.rights = Arc::new(context.rights.narrowed(&reach));
        }
    }
    context
}

fn whole_scope(context: &CallContext) -> Scope {
    context.rights.grants().iter().fold(Scope::NOWHERE, |all, (_, scope)| all.union(scope))
}

fn enabled_in(by_city: &ByCity) -> Scope {
    // As a list: the province's own deployment must not hide the others.
    Scope::Cities(by_city.keys().copied().collect())
}

/// The call may not go on.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("this method needs a token: send the metadata 'authorization: Bearer …'; 'backplane token issue' makes one")]
    TokenMissing,
    #[error("there is no method {path}: check the spelling, and ask reflection or 'backplane plugin list' for what is there")]
    MethodUnknown { path: String },
    #[error("this method belongs to a plugin and the caller has several cities: send the metadata 'backplane-city' with one of {cities}")]
    CityRequired { cities: Scope },
    #[error("{path} is not enabled in {city}, only in {cities}: call it there, or have it enabled with 'backplane plugin enable'")]
    NotEnabled { path: String, city: City, cities: Scope },
    #[error(transparent)]
    PermissionMissing(#[from] PermissionMissing),
}

impl Fault for Refused {
    fn code(&self) -> Code {
        match self {
            Refused::TokenMissing => Code::Unauthenticated,
            Refused::MethodUnknown { .. } | Refused::NotEnabled { .. } => Code::Unimplemented,
            Refused::CityRequired { .. } => Code::InvalidArgument,
            Refused::PermissionMissing(missing) => missing.code(),
        }
    }

    fn reason(&self) -> Reason {
        match self {
            Refused::TokenMissing => Reason::TokenMissing,
            Refused::MethodUnknown { .. } => Reason::MethodUnknown,
            Refused::CityRequired { .. } => Reason::CityRequired,
            Refused::NotEnabled { .. } => Reason::PluginNotEnabled,
            Refused::PermissionMissing(missing) => missing.reason(),
        }
    }

    fn place(&self) -> Vec<(&'static str, String)> {
        match self {
            Refused::TokenMissing => Vec::new(),
            Refused::MethodUnknown { path } => vec![("method", path.clone())],
            Refused::CityRequired { cities } => vec![("cities", cities.to_string())],
            Refused::NotEnabled { path, city, .. } => vec![("method", path.clone()), ("city", city.to_string())],
            Refused::PermissionMissing(missing) => missing.place(),
        }
    }
}
