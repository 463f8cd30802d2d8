use prost_reflect::{DescriptorPool, FieldDescriptor, Kind};

use crate::HostError;

/// Checks that messages of two versions of a plugin can be read by each other's clients: cities run different versions at one time, under one proto package.
///
/// # Errors
/// PLUGIN_DESCRIPTORS_INVALID, naming the field or method that changed.
pub(crate) fn check_compatible(running: &DescriptorPool, running_version: &str, next: &DescriptorPool) -> Result<(), HostError> {
    for message in running.all_messages() {
        let Some(successor) = next.get_message_by_name(message.full_name()) else {
            continue;
        };
        for field in message.fields() {
            if let Some(changed) = successor.get_field(field.number()).filter(|successor| shape(&field) != shape(successor)) {
                let (was, is) = (shape(&field), shape(&changed));
                let problem = format!(
                    "{} is field {} as '{was}' in version {running_version}, which is enabled, and '{is}' here: give the new one another number",
                    field.full_name(),
                    field.number()
                );
                return Err(HostError::DescriptorsInvalid { problem });
            }
        }
    }
    for method in running.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let successor = next.get_service_by_name(method.parent_service().full_name()).and_then(|service| service.methods().find(|m| m.name() == method.name()));
        if successor.is_some_and(|successor| {
            successor.input().full_name() != method.input().full_name() || successor.output().full_name() != method.output().full_name()
        }) {
            let problem = format!(
                "method {} takes or gives other messages than in version {running_version}, which is enabled: add a method instead",
                method.full_name()
            );
            return Err(HostError::DescriptorsInvalid { problem });
        }
    }
    Ok(())
}

/// Cardinality, type and name: the name too, since JSON clients send it.
fn shape(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(values) => values.full_name().to_owned(),
        scalar => format!("{scalar:?}").to_lowercase(),
    };
    let repeated = if field.is_list() { "repeated " } else { "" };
    format!("{repeated}{kind} {}", field.name())
}
