//! Months that have figures, and the refusal of those that have none.

use backplane_sdk::{Context, Month, Status};
use serde::Deserialize;

// Of a province, one row a city. A city that has bills and that the job has not come to lacks a row, and must not be missing in silence.
const STATES: &str = "
SELECT month, city, status, reason, figures_snapshot_id FROM package_monitor.month WHERE month >= $1 AND month <= $2
ORDER BY month, city";
const STATES_OF_PROVINCE: &str = "
SELECT coalesce(s.month, b.month) AS month, coalesce(s.city, b.city) AS city, s.status, s.reason, s.figures_snapshot_id
FROM (SELECT month, city, status, reason, figures_snapshot_id FROM package_monitor.month WHERE month >= $1 AND month <= $2) AS s
FULL JOIN (SELECT DISTINCT month, city FROM charge WHERE month >= $1 AND month <= $2) AS b ON b.month = s.month AND b.city = s.city
ORDER BY 1, 2";

// Limit: how often an answer goes back to before a run that was at it. Of a province's cities one may have begun while another was at it.
const RUNS_BACK_MAX: usize = 64;

// Limit: months of one question, as the contract says.
const MONTHS_MAX: usize = 36;

#[derive(Deserialize)]
struct State {
    month: Month,
    city: String,
    /// `None`: the job has not come to it.
    status: Option<String>,
    reason: Option<String>,
    /// While its figures are being replaced, where those of before are whole.
    figures_snapshot_id: Option<i64>,
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

/// Gives the snapshot in which the months are valued, all of them: while a run replaces some of their figures, the one before it.
///
/// # Errors
/// MONTH_NOT_VALUED with the first that is not, and the reason.
pub(crate) fn require_all_valued(context: &Context, span: Span, mut snapshot_id: i64) -> Result<i64, Status> {
    let states = |sql: &str, snapshot_id: i64| context.warehouse().query(sql).bind(span.from).bind(span.to).pin(snapshot_id).rows::<State>();
    let mut replaced_in = None;
    for _ in 0..RUNS_BACK_MAX {
        let found = states(STATES, snapshot_id)?;
        snapshot_id = found.snapshot_id();
        let found = found.into_vec()?;
        let valuing = found.iter().filter(|state| state.status.as_deref() == Some(VALUING));
        match valuing.filter_map(|state| Some((state.figures_snapshot_id?, &state.city))).min() {
            Some((before, city)) if before < snapshot_id => (snapshot_id, replaced_in) = (before, Some(city.clone())),
            _ => {
                let found = if context.city() == PROVINCE { states(STATES_OF_PROVINCE, snapshot_id)?.into_vec()? } else { found };
                return all_valued(span, &found, replaced_in.as_deref()).map(|()| snapshot_id);
            }
        }
    }
    let message = format!("{} to {} are not valued: runs of value-months replace their figures again and again: ask when they are over", span.from, span.to);
    Err(Status::failed_precondition("MONTH_NOT_VALUED", message).at("month", span.from.to_string()))
}

/// With the city of a run that replaces figures, before which all of it is looked at.
fn all_valued(span: Span, states: &[State], replaced_in: Option<&str>) -> Result<(), Status> {
    for month in Span::months(span.from, span.to) {
        let mut of_month = states.iter().filter(|state| state.month == month).peekable();
        let is_empty = of_month.peek().is_none();
        let problem = match of_month.find(|state| state.status.as_deref() != Some(VALUED)) {
            Some(State { city, status: Some(_), reason, .. }) => format!("in {city} {}", reason.as_deref().unwrap_or_default()),
            Some(State { city, status: None, .. }) => format!("the job value-months has not come to it in {city}: run it there once the month's feeds are in"),
            None if is_empty => "the job value-months has not come to it: run it once the month's feeds are in".to_owned(),
            None => continue,
        };
        let before = replaced_in.map_or_else(String::new, |city| {
            format!(" (so it was before a run in {city} that replaces figures: ask again when it is over; if it was stopped, run value-months there again)")
        });
        return Err(Status::failed_precondition("MONTH_NOT_VALUED", format!("{month} is not valued: {problem}{before}")).at("month", month.to_string()));
    }
    Ok(())
}

/// GB/T 2260 code of the province as a whole.
pub(crate) const PROVINCE: &str = "440000";

/// What is said of a month's figures: that they count, that a run replaces them, that there are none.
pub(crate) const VALUED: &str = "valued";
pub(crate) const VALUING: &str = "valuing";
pub(crate) const NOT_VALUED: &str = "not_valued";
