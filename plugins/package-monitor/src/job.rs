//! The job `value-months`: looks for the months that are to be valued, then values each, some customers a step.

pub(crate) mod components;
pub(crate) mod conflicts;
pub(crate) mod inputs;
mod month_row;
pub(crate) mod outputs;
mod plan;
pub(crate) mod sources;
pub(crate) mod valuation;

use backplane_sdk::{
    Context, Fen, Month, Status,
    job::{RunRequest, RunResponse},
    log,
};
use serde::{Deserialize, Serialize};

use crate::{
    configuration::Configuration,
    datasets::{ComponentValueRow, ConflictRow, EnrolmentValueRow, MonthRow, SourceAnomalyRow},
    month::{NOT_VALUED, PROVINCE, VALUED},
    unmatched,
    value::{Parts, signed},
};
use components::ByPackage;
use conflicts::Rules;
use inputs::{Inputs, Slice};
use plan::Planned;

/// What whoever runs the job may ask for: to value these months, stale or not.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Parameters {
    from: Option<Month>,
    to: Option<Month>,
}

/// Where a step begins.
#[derive(Default, Serialize, Deserialize)]
struct Cursor {
    /// Whether the months were looked for.
    planned: bool,
    /// Those that are left, the next one first.
    months: Vec<Planned>,
    /// The one that is being valued.
    current: Option<Current>,
    done: i64,
    total: i64,
    outcome: Outcome,
}

/// A month on its way.
#[derive(Serialize, Deserialize)]
struct Current {
    month: Month,
    inputs: String,
    snapshot_id: i64,
    after_customer: i64,
    enrolments: i64,
    /// Rows of use that waited for their number when it was begun.
    waiting_rows: i64,
    /// Whether months before it have bills that no figure has.
    follows_left_out: bool,
    parts: Parts,
}

/// What came of a run.
#[derive(Default, Serialize, Deserialize)]
struct Outcome {
    valued: Vec<Month>,
    not_valued: Vec<Month>,
    enrolments: i64,
}

#[derive(Default, Deserialize)]
struct Unmatched {
    lines: i64,
    fen: Fen,
}

pub(crate) fn run(context: &Context, request: &RunRequest) -> Result<RunResponse, Status> {
    if context.city() == PROVINCE {
        return Err(Status::field_invalid("city", "city: months are valued city by city, from each one's own bills and use: run the job in a city"));
    }
    let mut cursor: Cursor = request.cursor()?;
    if !cursor.planned {
        let Parameters { from, to } = request.parameters()?;
        cursor.months = plan::months(context, request, from, to)?;
        cursor.total = cursor.months.iter().map(|planned| planned.enrolments).sum();
        cursor.planned = true;
    } else if let Some(current) = cursor.current.take() {
        cursor.current = value_some(context, request, current, &mut cursor)?;
    } else {
        cursor.months.reverse();
        let next = cursor.months.pop();
        cursor.months.reverse();
        if let Some(planned) = next {
            cursor.current = begin(context, request, planned, &mut cursor)?;
        }
    }
    let (done, total) = (cursor.done, cursor.total.max(cursor.done));
    if cursor.current.is_none() && cursor.months.is_empty() {
        let message = format!("{} months valued, {} not", cursor.outcome.valued.len(), cursor.outcome.not_valued.len());
        return Ok(RunResponse::last(&cursor.outcome)?.progress(done, done, message));
    }
    let message = cursor.current.as_ref().map_or_else(|| "next month".to_owned(), |current| current.month.to_string());
    Ok(RunResponse::next(&cursor)?.progress(done, total, message))
}

/// Begins a month, or says why it is not valued.
fn begin(context: &Context, request: &RunRequest, planned: Planned, cursor: &mut Cursor) -> Result<Option<Current>, Status> {
    let completeness = plan::completeness(context, &planned, &Configuration::of(context)?)?;
    let Planned { month, enrolments, inputs: digest, .. } = planned;
    // Of a snapshot after the feeds were found complete.
    let (follows_left_out, snapshot_id) = inputs::follows_left_out(context, month)?;
    let current = Current {
        month,
        inputs: digest,
        snapshot_id,
        after_customer: i64::MIN,
        enrolments: 0,
        waiting_rows: completeness.waiting_rows,
        follows_left_out,
        parts: Parts::default(),
    };
    match completeness.missing {
        None => Ok(Some(current)),
        Some(missing) => {
            log::info(format_args!("{month} is not valued: {missing}"));
            let row = current.row(context, &Unmatched::default());
            MonthRow::write(context, request, &[MonthRow { status: NOT_VALUED.to_owned(), reason: Some(missing), ..row }])?;
            cursor.done += enrolments;
            cursor.outcome.not_valued.push(month);
            Ok(None)
        }
    }
}

/// Values the next customers; gives the month back unless these were the last.
fn value_some(context: &Context, request: &RunRequest, mut current: Current, cursor: &mut Cursor) -> Result<Option<Current>, Status> {
    let configuration = Configuration::of(context)?;
    let Current { month, snapshot_id, after_customer, follows_left_out, .. } = current;
    let slice = Slice { month, snapshot_id, after_customer, follows_left_out };
    let components = ByPackage::read(context, current.month, current.snapshot_id)?;
    let inputs = Inputs::read(context, slice, configuration.enrolments_per_step)?;
    let valued = valuation::value(current.month, &inputs, &components, configuration.under_used_below()?);
    let conflicts = conflicts::find(current.month, &inputs.enrolments, &Rules::read(context, current.month, current.snapshot_id)?);
    let enrolments = signed(valued.enrolments.len() as u64);
    valued.enrolments.iter().for_each(|row| current.parts += row.parts());
    outputs::write(context, request, valued.enrolments, outputs::of_customers::<EnrolmentValueRow>(context, slice, inputs.to_customer))?;
    outputs::write(context, request, valued.components, outputs::of_customers::<ComponentValueRow>(context, slice, inputs.to_customer))?;
    outputs::write(context, request, conflicts, outputs::of_customers::<ConflictRow>(context, slice, inputs.to_customer))?;
    current.enrolments += enrolments;
    current.after_customer = inputs.to_customer;
    cursor.done += enrolments;
    if inputs.more {
        return Ok(Some(current));
    }
    let anomalies = sources::find(context, current.month, current.snapshot_id, &configuration)?;
    outputs::write(context, request, anomalies, outputs::of_month::<SourceAnomalyRow>(context, current.month))?;
    let unmatched = format!("SELECT count(*) AS lines, coalesce(sum(c.amount_fen), 0) AS fen {}", unmatched::LINES);
    let unmatched = context.warehouse().query(unmatched).bind(current.month).pin(current.snapshot_id).rows::<Unmatched>()?.one()?;
    MonthRow::write(context, request, &[current.row(context, &unmatched)])?;
    cursor.outcome.valued.push(current.month);
    cursor.outcome.enrolments += current.enrolments;
    Ok(None)
}

impl Current {
    /// The month with the figures so far, valued.
    fn row(&self, context: &Context, unmatched: &Unmatched) -> MonthRow {
        let Parts { booked_fen, real_fen, virtual_fen, gifted_fen, swapped_fen } = self.parts;
        MonthRow {
            month: self.month,
            status: VALUED.to_owned(),
            reason: None,
            configuration_revision: context.configuration_revision(),
            snapshot_id: self.snapshot_id,
            inputs: self.inputs.clone(),
            enrolments: self.enrolments,
            booked_fen,
            real_fen,
            virtual_fen,
            gifted_fen,
            swapped_fen,
            waiting_rows: self.waiting_rows,
            unmatched_lines: unmatched.lines,
            unmatched_fen: unmatched.fen,
            figures_snapshot_id: None,
        }
    }
}
