use jsonschema::Validator;
use serde_json::Value;

use crate::HostError;

// Limit: a configuration. It travels into the guest with every call.
const CONFIGURATION_BYTES_MAX: usize = 64 << 10;

/// Below it every whole number is a double of its own.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What a deployment's configuration must fit.
pub(crate) struct ConfigurationSchema {
    /// `None`: the plugin takes no configuration.
    validator: Option<Validator>,
}

impl ConfigurationSchema {
    /// # Errors
    /// When the text is no JSON Schema, or refers to one elsewhere.
    pub(crate) fn read(schema: Option<&str>) -> Result<ConfigurationSchema, HostError> {
        let invalid = |problem: String| HostError::SchemaInvalid { problem };
        let Some(schema) = schema else {
            return Ok(ConfigurationSchema { validator: None });
        };
        let schema: Value = serde_json::from_str(schema).map_err(|error| invalid(error.to_string()))?;
        let validator = jsonschema::validator_for(&schema).map_err(|error| invalid(error.to_string()))?;
        Ok(ConfigurationSchema { validator: Some(validator) })
    }

    /// Checks a configuration and gives it in its shortest form; empty is `{}`.
    ///
    /// # Errors
    /// CONFIGURATION_INVALID names the field as a JSON pointer.
    pub(crate) fn check(&self, configuration: &str) -> Result<String, HostError> {
        let invalid = |field: String, problem: String| HostError::ConfigurationInvalid { field, problem };
        if configuration.len() > CONFIGURATION_BYTES_MAX {
            return Err(invalid("/".to_owned(), format!("{} bytes are more than {CONFIGURATION_BYTES_MAX}", configuration.len())));
        }
        let text = if configuration.trim().is_empty() { "{}" } else { configuration };
        let value: Value = serde_json::from_str(text).map_err(|error| invalid("/".to_owned(), format!("not JSON: {error}")))?;
        let Some(object) = value.as_object() else {
            return Err(invalid("/".to_owned(), "not a JSON object".to_owned()));
        };
        match &self.validator {
            None => match object.keys().next() {
                None => Ok(value.to_string()),
                Some(key) => Err(invalid(format!("/{key}"), "the plugin takes no configuration".to_owned())),
            },
            Some(validator) => {
                if let Some(error) = validator.iter_errors(&value).next() {
                    return Err(invalid(field(error.instance_path().as_str()), error.to_string()));
                }
                Ok(with_whole_numbers(value).to_string())
            }
        }
    }
}

/// To a schema 2.0 is an integer, and to a plugin's language a fraction: it is written as 2.
fn with_whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64().filter(|real| !number.is_i64() && !number.is_u64() && real.fract() == 0.0 && real.abs() < WHOLE_MAX) {
            #[allow(clippy::cast_possible_truncation, reason = "it is whole and small enough")]
            Some(whole) => Value::from(whole as i64),
            None => Value::Number(number),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(with_whole_numbers).collect()),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, with_whole_numbers(value))).collect()),
        other => other,
    }
}

fn field(pointer: &str) -> String {
    if pointer.is_empty() { "/".to_owned() } else { pointer.to_owned() }
}
