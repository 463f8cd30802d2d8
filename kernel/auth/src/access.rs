use backplane_proto::{
    ACCESS_EXTENSION,
    v1::{Access, DataClass, Effect as WireEffect, Scope as WireScope},
};
use kernel_base::PluginId;
use prost_reflect::{DescriptorPool, MethodDescriptor, prost::Message};

/// What the contract says of a method: who may call it, where, and what the call does.
#[derive(Debug, Clone)]
pub struct MethodAccess {
    /// "/package.Service/Method".
    pub path: String,
    /// `None` for SELF and ANONYMOUS.
    pub permission: Option<String>,
    pub scope: ScopeRule,
    pub effect: Effect,
    pub audited: bool,
    pub owner: Owner,
    pub method: MethodDescriptor,
}

/// Where the permission must be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeRule {
    City,
    Province,
    SelfOnly,
    Anonymous,
}

/// What a call does: a READ may be repeated freely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Read,
    Write,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    Native,
    Plugin(PluginId),
}

/// Reads the access options of a service.
///
/// # Errors
/// When the service is not in the pool, or a method's option is absent or incomplete; the message says what to write.
pub fn read_access(pool: &DescriptorPool, service: &str, owner: &Owner) -> Result<Vec<MethodAccess>, AccessInvalid> {
    let descriptor = pool.get_service_by_name(service).ok_or_else(|| AccessInvalid::ServiceMissing { service: service.to_owned() })?;
    descriptor.methods().map(|method| method_access(pool, method, owner)).collect()
}

fn method_access(pool: &DescriptorPool, method: MethodDescriptor, owner: &Owner) -> Result<MethodAccess, AccessInvalid> {
    let name = method.full_name().to_owned();
    let missing = || AccessInvalid::OptionMissing { method: name.clone() };
    let extension = pool.get_extension_by_name(ACCESS_EXTENSION).ok_or_else(missing)?;
    let options = method.options();
    if !options.has_extension(&extension) {
        return Err(missing());
    }
    let value = options.get_extension(&extension);
    let message = value.as_message().ok_or_else(missing)?;
    let access = Access::decode(message.encode_to_vec().as_slice()).map_err(|_| missing())?;

    let incomplete = |what| AccessInvalid::OptionIncomplete { method: name.clone(), what };
    let scope = match access.scope() {
        WireScope::City => ScopeRule::City,
        WireScope::Province => ScopeRule::Province,
        WireScope::Self_ => ScopeRule::SelfOnly,
        WireScope::Anonymous => ScopeRule::Anonymous,
        WireScope::Unspecified => return Err(incomplete("scope")),
    };
    let effect = match access.effect() {
        WireEffect::Read => Effect::Read,
        WireEffect::Write => Effect::Write,
        WireEffect::Unspecified => return Err(incomplete("effect")),
    };
    if access.data_class() == DataClass::Unspecified {
        return Err(incomplete("data_class"));
    }
    let needs_permission = matches!(scope, ScopeRule::City | ScopeRule::Province);
    if needs_permission == access.permission.is_empty() {
        return Err(incomplete("permission"));
    }
    Ok(MethodAccess {
        path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
        permission: needs_permission.then_some(access.permission),
        scope,
        effect,
        audited: access.audited,
        owner: owner.clone(),
        method,
    })
}

/// A contract does not say who may call.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AccessInvalid {
    #[error("service {service} is not among the descriptors: import its proto and build again")]
    ServiceMissing { service: String },
    #[error(
        "method {method} does not say who may call it: add `option (backplane.v1.access) = {{permission: \"…\", scope: SCOPE_CITY, effect: EFFECT_READ, data_class: DATA_CLASS_INTERNAL}};`"
    )]
    OptionMissing { method: String },
    #[error(
        "the access option of method {method} has a wrong or missing `{what}`: CITY and PROVINCE take a permission, SELF and ANONYMOUS none; scope, effect and data_class are required"
    )]
    OptionIncomplete { method: String, what: &'static str },
}
