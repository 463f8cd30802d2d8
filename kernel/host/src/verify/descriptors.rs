use kernel_auth::{MethodAccess, Owner, ScopeRule, read_access};
use prost_reflect::DescriptorPool;

use crate::{HostError, Manifest};

/// Reads the access options of the services that the manifest names.
///
/// # Errors
/// PLUGIN_DESCRIPTORS_INVALID: not decodable, a package of somebody else, a service missing, a method without an option, with a permission outside of the
/// plugin's namespace, open to the world, or streaming.
pub(crate) fn check_descriptors(descriptors: &[u8], manifest: &Manifest) -> Result<Vec<MethodAccess>, HostError> {
    let invalid = |problem: String| HostError::DescriptorsInvalid { problem };
    let pool = DescriptorPool::decode(descriptors).map_err(|error| invalid(format!("not a FileDescriptorSet with all its imports: {error}")))?;
    let namespace = manifest.id.namespace();
    for file in pool.files() {
        let package = file.package_name();
        let carried = in_namespace(package, "backplane") || in_namespace(package, "google");
        if !carried && !in_namespace(package, &namespace) {
            return Err(invalid(format!("{} has the package '{package}', which is not the plugin's: name it '{namespace}.v1'", file.name())));
        }
    }
    let owner = Owner::Plugin(manifest.id.clone());
    let mut methods = Vec::new();
    for service in &manifest.services {
        let of_service = read_access(&pool, service, &owner).map_err(|error| invalid(error.to_string()))?;
        for access in &of_service {
            check_method(access, &namespace)?;
        }
        methods.extend(of_service);
    }
    Ok(methods)
}

fn in_namespace(package: &str, namespace: &str) -> bool {
    package.strip_prefix(namespace).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn check_method(access: &MethodAccess, namespace: &str) -> Result<(), HostError> {
    let name = access.method.full_name();
    let problem = if access.method.is_client_streaming() || access.method.is_server_streaming() {
        format!("method {name} streams: a plugin answers one message to one; page the results")
    } else if access.permission.as_ref().is_some_and(|permission| !permission.strip_prefix(namespace).is_some_and(|rest| rest.starts_with('.'))) {
        format!("method {name} asks for the permission '{}': begin it with '{namespace}.'", access.permission.as_deref().unwrap_or_default())
    } else if access.scope == ScopeRule::Anonymous {
        // There is no approval step yet, and without one nobody decides that the world may call.
        format!("method {name} is open to callers without a token, which needs an approval that this kernel cannot record yet: use SCOPE_SELF or SCOPE_CITY")
    } else {
        return Ok(());
    };
    Err(HostError::DescriptorsInvalid { problem })
}
