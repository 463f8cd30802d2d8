//! Months that have figures, and the refusal of those that have none.

use backplane_sdk::{Context, Month, Status};
use serde::Deserialize;

// Of a province, one row a city.
const STATES: &str = "SELECT city, status, reason FROM package_monitor.month WHERE month = $1 ORDER BY city";

#[derive(Deserialize)]
struct State {
    city: String,
    status: String,
    reason: Option<String>,
}

/// Reads the month of a field.
///
/// # Errors
/// FIELD_INVALID.
pub(crate) fn read(field: &str, text: &str) -> Result<Month, Status> {
    text.parse().map_err(|error| Status::field_invalid(field, format!("{field}: {error}")))
}

/// Gives the snapshot in which the month is valued.
///
/// # Errors
/// MONTH_NOT_VALUED with the reason.
pub(crate) fn require_valued(context: &Context, month: Month, snapshot_id: i64) -> Result<i64, Status> {
    let states = context.warehouse().query(STATES).bind(month).pin(snapshot_id).rows::<State>()?;
    let snapshot_id = states.snapshot_id();
    let states = states.into_vec()?;
    let problem = match states.iter().find(|state| state.status != VALUED) {
        Some(State { city, reason, .. }) => format!("in {city} {}", reason.as_deref().unwrap_or_default()),
        None if states.is_empty() => "the job value-months has not come to it: run it once the month's feeds are in".to_owned(),
        None => return Ok(snapshot_id),
    };
    Err(Status::failed_precondition("MONTH_NOT_VALUED", format!("{month} is not valued: {problem}")).at("month", month.to_string()))
}

/// The two states of a month.
pub(crate) const VALUED: &str = "valued";
pub(crate) const NOT_VALUED: &str = "not_valued";
