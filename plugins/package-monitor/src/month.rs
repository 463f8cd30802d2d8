//! Months that have figures, and the refusal of those that have none.

use backplane_sdk::{Context, Month, Status};
use serde::Deserialize;

// Of a province, one row a city.
const STATES: &str = "SELECT month, city, status, reason FROM package_monitor.month WHERE month >= $1 AND month <= $2 ORDER BY month, city";

// Limit: months of one question, as the contract says.
const MONTHS_MAX: usize = 36;

#[derive(Deserialize)]
struct State {
    month: Month,
    city: String,
    status: String,
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
    let states = context.warehouse().query(STATES).bind(span.from).bind(span.to).pin(snapshot_id).rows::<State>()?;
    let snapshot_id = states.snapshot_id();
    let states = states.into_vec()?;
    for month in Span::months(span.from, span.to) {
        let mut of_month = states.iter().filter(|state| state.month == month).peekable();
        let problem = match (of_month.peek().is_none(), of_month.find(|state| state.status != VALUED)) {
            (_, Some(State { city, reason, .. })) => format!("in {city} {}", reason.as_deref().unwrap_or_default()),
            (true, None) => "the job value-months has not come to it: run it once the month's feeds are in".to_owned(),
            (false, None) => continue,
        };
        return Err(Status::failed_precondition("MONTH_NOT_VALUED", format!("{month} is not valued: {problem}")).at("month", month.to_string()));
    }
    Ok(snapshot_id)
}

/// The two states of a month.
pub(crate) const VALUED: &str = "valued";
pub(crate) const NOT_VALUED: &str = "not_valued";
