use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::{
    BuildError,
    compile::{variable, write},
    datasets::pascal_case,
};

const SCHEMA: &str = "configuration.schema.json";
/// The name of the type of the whole.
const ROOT: &str = "Configuration";

/// Writes `OUT_DIR/configuration.rs` from the plugin's `configuration.schema.json`: a struct `Configuration` whose fields are the schema's properties, with its defaults
/// and descriptions. Read it by `context.configuration::<Configuration>()`. The kernel has checked the values against the schema by then.
///
/// A property that is neither required nor has a default is an `Option`. Objects, arrays, strings, integers, numbers and booleans have types; without a `required`
/// property the struct has a `Default`.
///
/// # Errors
/// A [`BuildError`] with the place in the schema.
#[allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]
pub fn configuration() -> Result<(), BuildError> {
    println!("cargo::rerun-if-changed={SCHEMA}");
    let path = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join(SCHEMA);
    write("configuration.rs", &configuration_types(&path)?)
}

/// The text of the types for the schema in a file.
///
/// # Errors
/// As [`configuration`].
pub fn configuration_types(schema: &Path) -> Result<String, BuildError> {
    let text = fs::read_to_string(schema).map_err(|source| BuildError::File { path: schema.to_owned(), source })?;
    let schema: Value = serde_json::from_str(&text).map_err(|error| wrong("", error))?;
    let mut code = String::new();
    write_struct(&mut code, ROOT, &schema, "")?;
    let file = syn::parse_file(&code).map_err(|error| wrong("", error))?;
    Ok(prettyplease::unparse(&file))
}

fn wrong(place: &str, problem: impl ToString) -> BuildError {
    BuildError::Schema { place: if place.is_empty() { "/".to_owned() } else { place.to_owned() }, problem: problem.to_string() }
}

/// A property as a field.
struct Field {
    name: String,
    description: String,
    rust_type: String,
    /// What stands for it when it is left out; `None` when it may not be.
    default: Option<String>,
}

fn write_struct(code: &mut String, name: &str, schema: &Value, place: &str) -> Result<(), BuildError> {
    let properties = schema["properties"].as_object().ok_or_else(|| wrong(place, "an object needs `properties`, since each becomes a field"))?;
    let is_required = |property: &str| schema["required"].as_array().is_some_and(|required| required.iter().any(|name| name == property));
    let mut fields = Vec::new();
    for (property, of_property) in properties {
        fields.push(field(code, name, property, of_property, is_required(property), &format!("{place}/properties/{property}"))?);
    }
    // Writing to a text cannot fail.
    let _ = write!(code, "{}#[derive(Debug, Clone, PartialEq, serde::Deserialize)]\npub(crate) struct {name} {{", docs(schema["description"].as_str()));
    for Field { name: field, description, rust_type, default } in &fields {
        let default = default.as_ref().map_or_else(String::new, |_| format!("#[serde(default = \"{name}::default_{field}\")]\n"));
        let _ = writeln!(code, "{}{default}pub(crate) {field}: {rust_type},", docs(Some(description)));
    }
    let _ = write!(code, "}}\nimpl {name} {{");
    for Field { name: field, rust_type, default, .. } in &fields {
        if let Some(default) = default {
            let _ = writeln!(code, "fn default_{field}() -> {rust_type} {{ {default} }}");
        }
    }
    code.push_str("}\n");
    if fields.iter().all(|field| field.default.is_some()) {
        let _ = write!(code, "impl Default for {name} {{ fn default() -> {name} {{ {name} {{");
        for Field { name: field, .. } in &fields {
            let _ = write!(code, "{field}: {name}::default_{field}(),");
        }
        code.push_str("} } }\n");
    }
    Ok(())
}

fn docs(description: Option<&str>) -> String {
    description.unwrap_or_default().lines().map(|line| format!("/// {line}\n")).collect()
}

fn field(code: &mut String, parent: &str, property: &str, schema: &Value, is_required: bool, place: &str) -> Result<Field, BuildError> {
    let is_plain =
        property.starts_with(|first: char| first.is_ascii_lowercase()) && property.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_plain || syn::parse_str::<syn::Ident>(property).is_err() {
        return Err(wrong(place, format!("'{property}' is no name for a field: use a-z, 0-9 and '_', and no keyword of Rust")));
    }
    let rust_type = rust_type(code, parent, property, schema, place)?;
    let (rust_type, default) = match schema.get("default") {
        Some(_) if needs_something(schema) => {
            return Err(wrong(place, "its default would lack what is required in it: leave the default out, or give each of these a default"));
        }
        Some(default) => {
            let default = literal(&rust_type, default).ok_or_else(|| wrong(place, format!("its default {default} is no {rust_type}")))?;
            (rust_type, Some(default))
        }
        None if is_required => (rust_type, None),
        None => (format!("Option<{rust_type}>"), Some("None".to_owned())),
    };
    Ok(Field { name: property.to_owned(), description: schema["description"].as_str().unwrap_or_default().to_owned(), rust_type, default })
}

fn rust_type(code: &mut String, parent: &str, property: &str, schema: &Value, place: &str) -> Result<String, BuildError> {
    Ok(match schema["type"].as_str() {
        Some("string") => "String".to_owned(),
        Some("integer") => "i64".to_owned(),
        Some("number") => "f64".to_owned(),
        Some("boolean") => "bool".to_owned(),
        Some("array") => format!("Vec<{}>", rust_type(code, parent, property, &schema["items"], &format!("{place}/items"))?),
        Some("object") => {
            let name = format!("{parent}{}", pascal_case(property));
            write_struct(code, &name, schema, place)?;
            name
        }
        _ => return Err(wrong(place, "needs one `type`: string, integer, number, boolean, array or object; for anything else write the struct by hand")),
    })
}

/// Whether an object has a property that is required and has no default.
fn needs_something(schema: &Value) -> bool {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    required.into_iter().any(|name| schema["properties"][name].get("default").is_none())
}

/// A default as Rust. An object's is that of its type, and has to be `{}`.
fn literal(rust_type: &str, default: &Value) -> Option<String> {
    Some(match (rust_type, default) {
        ("String", Value::String(text)) => format!("{text:?}.to_owned()"),
        ("i64", Value::Number(number)) => format!("{}_i64", number.as_i64()?),
        ("f64", Value::Number(number)) => format!("{:?}_f64", number.as_f64()?),
        ("bool", Value::Bool(value)) => value.to_string(),
        (list, Value::Array(items)) => {
            let item = list.strip_prefix("Vec<")?.strip_suffix('>')?;
            let items = items.iter().map(|value| literal(item, value)).collect::<Option<Vec<_>>>()?;
            format!("vec![{}]", items.join(", "))
        }
        (_, Value::Object(empty)) if *empty == Map::new() => "Default::default()".to_owned(),
        _ => return None,
    })
}
