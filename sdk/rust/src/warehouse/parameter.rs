use prost_types::Timestamp;

use crate::proto::warehouse::v1::{Parameter, parameter::Value};

impl From<Value> for Parameter {
    fn from(value: Value) -> Parameter {
        Parameter { value: Some(value) }
    }
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Parameter {
        Value::Text(text.to_owned()).into()
    }
}

impl From<String> for Parameter {
    fn from(text: String) -> Parameter {
        Value::Text(text).into()
    }
}

impl From<i64> for Parameter {
    fn from(integer: i64) -> Parameter {
        Value::Integer(integer).into()
    }
}

impl From<f64> for Parameter {
    fn from(real: f64) -> Parameter {
        Value::Real(real).into()
    }
}

impl From<bool> for Parameter {
    fn from(boolean: bool) -> Parameter {
        Value::Boolean(boolean).into()
    }
}

impl From<&Timestamp> for Parameter {
    /// An instant, cut to the microseconds that the warehouse keeps.
    fn from(timestamp: &Timestamp) -> Parameter {
        let micros = timestamp.seconds.saturating_mul(1_000_000).saturating_add(i64::from(timestamp.nanos.div_euclid(1_000)));
        Value::InstantMicros(micros).into()
    }
}
