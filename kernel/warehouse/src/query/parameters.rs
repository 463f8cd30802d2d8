use arrow_schema::DataType;
use backplane_proto::warehouse::v1::{Parameter, parameter::Value};
use datafusion::{common::ScalarValue, logical_expr::LogicalPlan};

use super::errors;
use crate::error::WarehouseError;

// Limit: parameters of a query; a list longer than this belongs into a table.
const PARAMETERS_MAX: usize = 10_000;

/// The values for the places `$1`, `$2` …, in their order.
///
/// # Errors
/// FIELD_INVALID when there are too many, or one has no value.
pub(super) fn values(parameters: &[Parameter]) -> Result<Vec<ScalarValue>, WarehouseError> {
    if parameters.len() > PARAMETERS_MAX {
        return Err(invalid(format!("{} parameters are more than the {PARAMETERS_MAX} that a query may have", parameters.len())));
    }
    let values = parameters.iter().enumerate().map(|(index, parameter)| scalar(parameter).ok_or_else(|| invalid(format!("${} has no value", index + 1))));
    values.collect()
}

/// # Errors
/// FIELD_INVALID when the plan has a place without a value.
pub(super) fn check(plan: &LogicalPlan, values: &[ScalarValue]) -> Result<(), WarehouseError> {
    for name in plan.get_parameter_names().map_err(errors::while_planning)? {
        if place(&name).is_none_or(|place| place > values.len()) {
            return Err(invalid(format!("the SQL uses {name} and {} values were sent: $1 is the first", values.len())));
        }
    }
    Ok(())
}

/// The types of `$1`, `$2` …, as far as the plan says them.
pub(super) fn types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>, WarehouseError> {
    let mut types = Vec::new();
    for (name, data_type) in plan.get_parameter_types().map_err(errors::while_planning)? {
        let place = place(&name).filter(|place| *place <= PARAMETERS_MAX).ok_or_else(|| invalid(format!("{name} is no place for a value: $1 is the first")))?;
        if types.len() < place {
            types.resize(place, None);
        }
        types[place - 1] = data_type;
    }
    Ok(types)
}

/// The number of `$1`, `$2` …
fn place(name: &str) -> Option<usize> {
    name.trim_start_matches('$').parse().ok().filter(|place| *place > 0)
}

fn invalid(problem: String) -> WarehouseError {
    WarehouseError::FieldInvalid { field: "parameters", problem }
}

fn scalar(parameter: &Parameter) -> Option<ScalarValue> {
    Some(match parameter.value.as_ref()? {
        Value::Text(text) => ScalarValue::Utf8(Some(text.clone())),
        Value::Integer(number) => ScalarValue::Int64(Some(*number)),
        Value::Real(number) => ScalarValue::Float64(Some(*number)),
        Value::Boolean(truth) => ScalarValue::Boolean(Some(*truth)),
        Value::InstantMicros(micros) => ScalarValue::TimestampMicrosecond(Some(*micros), Some("UTC".into())),
        Value::Day(day) => ScalarValue::Date32(Some(*day)),
    })
}
