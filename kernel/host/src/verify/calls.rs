use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

/// The kernel's own contracts. Encoded at build time by protox, so decoding cannot fail; if it did, no kernel method would be known.
static KERNEL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(backplane_proto::DESCRIPTOR_SET).unwrap_or_default());

/// Whether `service`.`method` can be called as far as is known now: a method of the kernel must exist, those of other plugins come and go, hooks are the host's to call.
pub(crate) fn may_exist(service: &str, method: &str) -> bool {
    !service.starts_with("backplane.")
        || !service.starts_with("backplane.guest.")
            && KERNEL.get_service_by_name(service).is_some_and(|service| service.methods().any(|known| known.name() == method))
}
