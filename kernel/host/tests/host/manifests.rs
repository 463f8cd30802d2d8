use kernel_host::{HostError, Manifest};

use crate::guests::manifest;

fn refused(text: &str) -> (usize, usize, String) {
    match Manifest::parse(text) {
        Err(HostError::ManifestInvalid { line, column, problem }) => (line, column, problem),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_manifest_is_read_and_its_capabilities_are_sorted() {
    let text = manifest(
        "portal-traffic",
        "0.1.0",
        "calls = [\"/backplane.warehouse.v1.Warehouse/Query\"]\n[[reads]]\ndataset = \"interaction\"\ncolumns = [\"page\", \"at\"]\n[[reads]]\ndataset = \"city\"\n\
         [[writes]]\ndataset = \"portal_traffic.daily\"\n[limits]\nmemory_mib = 128",
    );
    let manifest = Manifest::parse(&text).unwrap();
    assert_eq!((manifest.id.as_str(), manifest.limits.memory_mib, manifest.limits.timeout_ms, manifest.limits.concurrency), ("portal-traffic", 128, 5_000, 8));
    assert_eq!(
        manifest.capabilities(),
        ["call:/backplane.warehouse.v1.Warehouse/Query", "dataset.read:city", "dataset.read:interaction(at,page)", "dataset.write:portal_traffic.daily"]
    );
}

#[test]
fn a_field_that_does_not_exist_is_named_with_line_and_column() {
    let (line, column, problem) = refused(&manifest("demo", "0.1.0", "memory = 7"));
    assert_eq!((line, column), (6, 1));
    assert!(problem.contains("memory"), "{problem}");
}

#[test]
fn a_field_of_the_wrong_type_is_named_with_line_and_column() {
    let (line, column, problem) = refused(&manifest("demo", "0.1.0", "[limits]\nmemory_mib = \"much\""));
    assert_eq!((line, column), (7, 14));
    assert!(problem.contains("expected u32"), "{problem}");
}

#[test]
fn every_value_out_of_range_says_what_to_write() {
    let cases = [
        ("[limits]\nmemory_mib = 257", "write 1 to 256"),
        ("[limits]\ntimeout_ms = 0", "write 1 to 60000"),
        ("[limits]\nconcurrency = 65", "write 1 to 64"),
        ("calls = [\"Warehouse.Query\"]", "\"/package.Service/Method\""),
        ("calls = [\"/backplane.warehouse.v1.Warehouse/Drop\"]", "the kernel has no method"),
        ("[[reads]]\ndataset = \"interaction*\"", "is not the name of a dataset"),
        ("[[reads]]\ndataset = \"interaction\"\ncolumns = []", "leave columns out"),
        ("[[writes]]\ndataset = \"interaction\"", "begin the name with 'demo.'"),
    ];
    for (rest, says) in cases {
        let (_, _, problem) = refused(&manifest("demo", "0.1.0", rest));
        assert!(problem.contains(says), "{rest}: {problem}");
    }
}

#[test]
fn ids_versions_contracts_and_services_are_checked() {
    let good = manifest("demo", "0.1.0", "");
    let cases = [
        (good.replace("id = \"demo\"", "id = \"Demo\""), 1, "cannot be the id"),
        (good.replace("id = \"demo\"", "id = \"google\""), 1, "choose another"),
        (good.replace("0.1.0", "1"), 2, "three numbers"),
        (good.replace("contract = \"1.0\"", "contract = \"2.0\""), 3, "speaks 1.0"),
        (good.replace("demo.v1.Demo", "other.v1.Demo"), 5, "begin it with 'demo.'"),
        (good.replace("[\"demo.v1.Demo\"]", "[]"), 5, "at least one service"),
    ];
    for (text, line, says) in cases {
        let (at, _, problem) = refused(&text);
        assert_eq!(at, line, "{problem}");
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn an_id_that_would_claim_what_belongs_to_others_is_refused() {
    for id in ["google", "grpc", "arrow", "auth", "call", "dataset", "ingest", "plugin", "warehouse"] {
        let (line, _, problem) = refused(&manifest(id, "0.1.0", ""));
        assert_eq!(line, 1);
        assert!(problem.contains("choose another"), "{id}: {problem}");
    }
    let (_, _, problem) = refused(&manifest("backplane", "0.1.0", ""));
    assert!(problem.contains("'backplane' cannot be the id of a plugin"), "{problem}");
    Manifest::parse(&manifest("auth-log", "0.1.0", "")).unwrap();
}
