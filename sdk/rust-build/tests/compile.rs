//! Builds are refused with a place and a way out, and what is generated is what the SDK's documentation promises.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use backplane_build::{BuildError, descriptor_set};

fn plugin(proto: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "proto/demo/v1/demo.proto", proto);
    folder
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

const HEAD: &str = "syntax = \"proto3\";\npackage demo.v1;\nimport \"backplane/v1/access.proto\";\nmessage M {}\n";
const ACCESS: &str = "option (backplane.v1.access) = {permission: \"demo.read\", scope: SCOPE_CITY, effect: EFFECT_READ, data_class: DATA_CLASS_INTERNAL};";

#[test]
fn the_descriptor_set_holds_imports_and_access_options() {
    let folder = plugin(&format!("{HEAD}service Demo {{ rpc Get(M) returns (M) {{ {ACCESS} }} }}"));
    let set = descriptor_set(folder.path()).unwrap();
    let has = |text: &str| set.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("backplane/v1/access.proto") && has("google/protobuf/descriptor.proto") && has("demo.read"));
}

#[test]
fn a_method_without_access_is_refused_by_name() {
    let folder = plugin(&format!("{HEAD}service Demo {{ rpc Get(M) returns (M); }}"));
    let error = descriptor_set(folder.path()).unwrap_err();
    assert!(matches!(&error, BuildError::AccessMissing { method } if method == "demo.v1.Demo.Get"), "{error}");
    assert!(format!("{error:?}").contains("option (backplane.v1.access)"), "{error:?}");
}

#[test]
fn a_streaming_method_is_refused() {
    let folder = plugin(&format!("{HEAD}service Demo {{ rpc Get(M) returns (stream M) {{ {ACCESS} }} }}"));
    assert!(matches!(descriptor_set(folder.path()), Err(BuildError::Streaming { .. })));
}

#[test]
fn a_mistake_in_a_proto_is_shown_with_file_line_and_column() {
    let folder = plugin(&format!("{HEAD}message N {{ Missing field = 1; }}"));
    let error = descriptor_set(folder.path()).unwrap_err().to_string();
    assert!(error.starts_with("demo/v1/demo.proto:5:13: "), "{error}");
}

#[test]
fn a_plugin_without_protos_is_told_where_to_put_them() {
    let folder = tempfile::tempdir().unwrap();
    let error = descriptor_set(folder.path()).unwrap_err().to_string();
    assert!(error.contains("proto"), "{error}");
}

#[test]
fn a_path_outside_proto_is_refused() {
    // Cargo sets CARGO_MANIFEST_DIR for tests too, so the call gets as far as the path.
    assert!(matches!(backplane_build::compile(&["demo.proto"]), Err(BuildError::OutsideProto { .. })));
}
