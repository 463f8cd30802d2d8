//! Months that have figures, and the refusal of those that have none.

use backplane_sdk::{Context, Month, Status};
use serde::Deserialize;

// Of a province, one row a city. A city that has bills and that the job has not come to lacks a row, and must not be missing in silence.
const STATES: &str = "
SELECT month, city, status, reason FROM package_monitor.month WHERE month >= $1 AND month <= $2
ORDER BY month, city";
const STATES_OF_PROVINCE: &str = "
SELECT coalesce(s.month, b.month) AS month, coalesce(s.city, b.city) AS city, s.status, s.reason
FROM (SELECT month, city, status, reason FROM package_monitor.month WHERE month >= $1 AND month <= $2) AS s
FULL JOIN (SELECT DISTINCT month, city FROM charge WHERE month >= $1 AND month <= $2) AS b ON b.month = s.month AND b.city = s.city
ORDER BY 1, 2";

// Limit: months of one question, as the contract says.
const MONTHS_MAX: usize = 36;

#[derive(Deserialize)]
struct State {
    month: Month,
    city: String,
    /// `None`: the job has not come to it.
    status: Option<String>,
    reason: Option<String>,
}

/// From one month to another, both included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) from: Month,
    pub(crate) to: Month,
}

impl Span {
    /// Reads the fields `from_month` and `to_month`.
    ///
    /// # Errors
    /// FIELD_INVALID.
    pub(crate) fn read(from_month: &str, to_month: &str) -> Result<Span, Status> {
        let (from, to) = (Status::read_field("from_month", from_month)?, Status::read_field("to_month", to_month)?);
        if to < from {
            return Err(Status::field_invalid("to_month", format!("to_month: {to} is before {from}")));
        }
        if Span::months(from, to).nth(MONTHS_MAX).is_some() {
            return Err(Status::field_invalid("to_month", format!("to_month: at most {MONTHS_MAX} months at a time")));
        }
        Ok(Span { from, to })
    }

    fn months(from: Month, to: Month) -> impl Iterator<Item = Month> {
        std::iter::successors(Some(from), |month| Some(month.next())).take_while(move |month| *month <= to)
    }
}

/// Gives the snapshot in which the month is valued.
///
/// # Errors
/// MONTH_NOT_VALUED with the reason.
pub(crate) fn require_valued(context: &Context, month: Month, snapshot_id: i64) -> Result<i64, Status> {
    require_all_valued(context, Span { from: month, to: month }, snapshot_id)
}

/// Gives the snapshot in which the months are valued, all of them.
///
/// # Errors
/// MONTH_NOT_VALUED with the first that is not, and the reason.
pub(crate) fn require_all_valued(context: &Context, span: Span, snapshot_id: i64) -> Result<i64, Status> {
    let states = if context.city() == PROVINCE { STATES_OF_PROVINCE } else { STATES };
    let states = context.warehouse().query(states).bind(span.from).bind(span.to).pin(snapshot_id).rows::<State>()?;
    let snapshot_id = states.snapshot_id();
    let states = states.into_vec()?;
    for month in Span::months(span.from, span.to) {
        let mut of_month = states.iter().filter(|state| state.month == month).peekable();
        let is_empty = of_month.peek().is_none();
        let problem = match of_month.find(|state| state.status.as_deref() != Some(VALUED)) {
            Some(State { city, status: Some(_), reason, .. }) => format!("in {city} {}", reason.as_deref().unwrap_or_default()),
            Some(State { city, status: None, .. }) => format!("the job value-months has not come to it in {city}: run it there once the month's feeds are in"),
            None if is_empty => "the job value-months has not come to it: run it once the month's feeds are in".to_owned(),
            None => continue,
        };
        return Err(Status::failed_precondition("MONTH_NOT_VALUED", format!("{month} is not valued: {problem}")).at("month", month.to_string()));
    }
    Ok(snapshot_id)
}

/// GB/T 2260 code of the province as a whole.
pub(crate) const PROVINCE: &str = "440000";

/// The two states of a month.
pub(crate) const VALUED: &str = "valued";
pub(crate) const NOT_VALUED: &str = "not_valued";
