use prost_reflect::DescriptorPool;

use crate::{AccessInvalid, Effect, MethodAccess, Owner, ScopeRule};

/// Methods whose protos are not ours and carry no option. This list is their option.
const METHODS: &[(&str, &str, ScopeRule)] = &[
    ("grpc.health.v1.Health", "Check", ScopeRule::Anonymous),
    ("grpc.health.v1.Health", "List", ScopeRule::Anonymous),
    ("grpc.health.v1.Health", "Watch", ScopeRule::Anonymous),
    // Shows each caller what that caller may call, so it needs a token and nothing more.
    ("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo", ScopeRule::SelfOnly),
    ("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", ScopeRule::SelfOnly),
];

/// The access of every foreign method that `pool` describes.
pub(crate) fn foreign_access(pool: &DescriptorPool) -> Result<Vec<MethodAccess>, AccessInvalid> {
    let mut found = Vec::new();
    for service in pool.services() {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let (_, _, scope) = METHODS
                .iter()
                .find(|(listed, name, _)| *listed == service.full_name() && *name == method.name())
                .ok_or_else(|| AccessInvalid::OptionMissing { method: method.full_name().to_owned() })?;
            found.push(MethodAccess { path, permission: None, scope: *scope, effect: Effect::Read, audited: false, owner: Owner::Native, method });
        }
    }
    Ok(found)
}
