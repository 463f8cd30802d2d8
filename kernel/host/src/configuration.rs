use jsonschema::Validator;
use serde_json::Value;

use crate::HostError;

// Limit: a configuration. It travels into the guest with every call.
const CONFIGURATION_BYTES_MAX: usize = 64 << 10;

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
            Some(validator) => match validator.iter_errors(&value).next() {
                None => Ok(value.to_string()),
                Some(error) => Err(invalid(field(error.instance_path().as_str()), error.to_string())),
            },
        }
    }
}

fn field(pointer: &str) -> String {
    if pointer.is_empty() { "/".to_owned() } else { pointer.to_owned() }
}
