//! Every contract of Backplane, and the code generated from it: messages, tonic clients and servers, the descriptor set.
//!
//! Start from the `.proto` files: each service opens with an essay (states, order of calls, who may call, what a retry does). Nothing is written by hand
//! here but this list. Knows no other crate of the kernel.

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::allow_attributes_without_reason, clippy::unwrap_used, reason = "generated")]
pub mod v1 {
    tonic::include_proto!("backplane.v1");
}

/// Principals, roles, tokens.
pub mod auth {
    #[allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::unwrap_used,
        reason = "generated"
    )]
    pub mod v1 {
        tonic::include_proto!("backplane.auth.v1");
    }
}

/// Appends, feeds, quarantine.
pub mod ingest {
    #[allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::unwrap_used,
        reason = "generated"
    )]
    pub mod v1 {
        tonic::include_proto!("backplane.ingest.v1");
    }
}

/// Queries and datasets.
pub mod warehouse {
    #[allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::unwrap_used,
        reason = "generated"
    )]
    pub mod v1 {
        tonic::include_proto!("backplane.warehouse.v1");
    }
}

/// Plugin versions and deployments.
pub mod plugin {
    #[allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::unwrap_used,
        reason = "generated"
    )]
    pub mod v1 {
        tonic::include_proto!("backplane.plugin.v1");
    }
}

/// The context bytes of the connector.
pub mod guest {
    #[allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::allow_attributes_without_reason,
        clippy::unwrap_used,
        reason = "generated"
    )]
    pub mod v1 {
        tonic::include_proto!("backplane.guest.v1");
    }
}

include!("../files.rs");

/// The connector's text, for whoever generates a guest from it.
pub const PLUGIN_WIT: &str = include_str!("../wit/plugin.wit");

/// Encoded `google.protobuf.FileDescriptorSet` of all contracts with their imports, access options included.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/backplane.bin"));

/// Full name of the method option that says who may call.
pub const ACCESS_EXTENSION: &str = "backplane.v1.access";
