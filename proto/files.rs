/// Every contract of the kernel: path as it is imported, and text. Plugins compile their own protos against these.
pub const FILES: &[(&str, &str)] = &[
    ("backplane/v1/access.proto", include_str!("backplane/v1/access.proto")),
    ("backplane/v1/errors.proto", include_str!("backplane/v1/errors.proto")),
    ("backplane/auth/v1/auth.proto", include_str!("backplane/auth/v1/auth.proto")),
    ("backplane/ingest/v1/ingest.proto", include_str!("backplane/ingest/v1/ingest.proto")),
    ("backplane/warehouse/v1/warehouse.proto", include_str!("backplane/warehouse/v1/warehouse.proto")),
    ("backplane/plugin/v1/plugin.proto", include_str!("backplane/plugin/v1/plugin.proto")),
    ("backplane/guest/v1/guest.proto", include_str!("backplane/guest/v1/guest.proto")),
];
