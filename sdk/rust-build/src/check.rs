use protox::{Compiler, prost_reflect::MethodDescriptor};

use crate::BuildError;

const ACCESS: &str = "backplane.v1.access";

/// Refuses what the kernel would refuse at install, while the author still sees the file.
///
/// # Errors
/// [`BuildError::Streaming`] and [`BuildError::AccessMissing`] with the full name of the method.
pub(crate) fn check(compiler: &Compiler) -> Result<(), BuildError> {
    let pool = compiler.descriptor_pool();
    let own: Vec<&str> = compiler.files().filter(|file| !file.is_import()).map(|file| file.name()).collect();
    let methods = pool.services().filter(|service| own.contains(&service.parent_file().name())).flat_map(|service| service.methods().collect::<Vec<_>>());
    for method in methods {
        if method.is_client_streaming() || method.is_server_streaming() {
            return Err(BuildError::Streaming { method: method.full_name().to_owned() });
        }
        if !has_access(&method) {
            return Err(BuildError::AccessMissing { method: method.full_name().to_owned() });
        }
    }
    Ok(())
}

fn has_access(method: &MethodDescriptor) -> bool {
    let access = method.parent_pool().get_extension_by_name(ACCESS);
    access.is_some_and(|access| method.options().has_extension(&access))
}
