use backplane_proto::warehouse::v1::{Parameter, parameter::Value};
use datafusion::{common::ScalarValue, logical_expr::LogicalPlan};

use super::errors;
use crate::error::WarehouseError;

// Limit: parameters of a query; a list longer than this belongs into a table.
const PARAMETERS_MAX: usize = 10_000;

/// Puts the values in the places of `$1`, `$2` ….
///
/// # Errors
/// FIELD_INVALID when there are fewer values than places, or one without a value.
pub(super) fn bind(plan: LogicalPlan, parameters: &[Parameter]) -> Result<LogicalPlan, WarehouseError> {
    let invalid = |problem: String| WarehouseError::FieldInvalid { field: "parameters", problem };
    if parameters.len() > PARAMETERS_MAX {
        return Err(invalid(format!("{} parameters are more than the {PARAMETERS_MAX} that a query may have", parameters.len())));
    }
    let used = plan.get_parameter_names().map_err(errors::while_planning)?;
    for name in &used {
        let place = name.trim_start_matches('$').parse::<usize>().ok();
        if !place.is_some_and(|place| (1..=parameters.len()).contains(&place)) {
            return Err(invalid(format!("the SQL uses {name} and {} values were sent: $1 is the first", parameters.len())));
        }
    }
    if used.is_empty() {
        return Ok(plan);
    }
    let values = parameters.iter().enumerate().map(|(index, parameter)| scalar(parameter).ok_or_else(|| invalid(format!("${} has no value", index + 1))));
    plan.with_param_values(values.collect::<Result<Vec<_>, _>>()?).map_err(errors::while_planning)
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
