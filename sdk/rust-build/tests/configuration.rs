//! What is made of a configuration's schema: fields with its defaults, or an error with its place.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

use backplane_build::{BuildError, configuration_types};
use serde_json::{Value, json};

fn types(properties: Value, required: Value) -> Result<String, BuildError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("configuration.schema.json");
    let schema = json!({"type": "object", "additionalProperties": false, "properties": properties, "required": required});
    fs::write(&path, schema.to_string()).unwrap();
    configuration_types(&path)
}

fn has(code: &str, parts: &[&str]) {
    let flat = |text: &str| text.split_whitespace().collect::<String>();
    parts.iter().for_each(|part| assert!(flat(code).contains(&flat(part)), "{part} is not in\n{code}"));
}

#[test]
fn a_property_becomes_a_field_with_its_description_and_default() {
    let properties = json!({
        "below": {"type": "string", "description": "A share.", "default": "0.3"},
        "rows_max": {"type": "integer", "default": 10},
        "weight": {"type": "number", "default": 2},
        "strict": {"type": "boolean", "default": true},
        "feeds": {"type": "array", "items": {"type": "string"}, "default": ["a", "b\"c"]},
        "city": {"type": "string"}
    });
    let code = types(properties, json!([])).unwrap();
    has(
        &code,
        &[
            "/// A share.\n#[serde(default = \"Configuration::default_below\")] pub(crate) below: String,",
            "fn default_below() -> String { \"0.3\".to_owned() }",
            "fn default_rows_max() -> i64 { 10_i64 }",
            "fn default_weight() -> f64 { 2.0_f64 }",
            "fn default_strict() -> bool { true }",
            "fn default_feeds() -> Vec<String> { vec![\"a\".to_owned(), \"b\\\"c\".to_owned()] }",
            "pub(crate) city: Option<String>,",
            "impl Default for Configuration",
        ],
    );
}

#[test]
fn what_is_required_has_no_default_and_neither_has_the_whole() {
    let code = types(json!({"city": {"type": "string"}}), json!(["city"])).unwrap();
    has(&code, &["pub(crate) city: String,"]);
    assert!(!code.contains("Default") && !code.contains("serde(default"), "{code}");
}

#[test]
fn an_object_is_a_type_of_its_own() {
    let limits = json!({"type": "object", "default": {}, "properties": {"rows_max": {"type": "integer", "default": 10}}});
    let code = types(json!({"hard_limits": limits}), json!([])).unwrap();
    has(
        &code,
        &[
            "struct ConfigurationHardLimits",
            "pub(crate) hard_limits: ConfigurationHardLimits,",
            "fn default_hard_limits() -> ConfigurationHardLimits { Default::default() }",
        ],
    );
}

#[test]
fn what_has_no_type_is_refused_with_its_place() {
    let cases = [
        (json!({"a": {"enum": ["x"]}}), "/properties/a"),
        (json!({"a": {"type": ["string", "null"]}}), "/properties/a"),
        (json!({"a": {"type": "array"}}), "/properties/a/items"),
        (json!({"a": {"type": "object"}}), "/properties/a"),
        (json!({"fn": {"type": "string"}}), "/properties/fn"),
        (json!({"Below": {"type": "string"}}), "/properties/Below"),
        (json!({"a": {"type": "integer", "default": "10"}}), "/properties/a"),
        (json!({"a": {"type": "object", "default": {}, "required": ["b"], "properties": {"b": {"type": "integer"}}}}), "/properties/a"),
    ];
    for (properties, expected) in cases {
        let error = types(properties, json!([])).unwrap_err();
        assert!(matches!(&error, BuildError::Schema { place, .. } if place == expected), "{error}");
    }
}
