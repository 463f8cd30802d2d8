//! The job `value-months`: looks for the months that are to be valued, then values each, some customers a step.

pub(crate) mod components;
pub(crate) mod conflicts;
pub(crate) mod inputs;
pub(crate) mod outputs;
mod plan;
pub(crate) mod sources;
pub(crate) mod valuation;

use backplane_sdk::{
    Context, Month, Status,
    job::{RunRequest, RunResponse},
    log,
    warehouse::Columns,
};
use serde::{Deserialize, Serialize};

use crate::{
    configuration::Configuration,
    month::{NOT_VALUED, PROVINCE, VALUED},
    value::{Parts, signed},
};
use components::ByPackage;
use conflicts::Rules;
use inputs::{Inputs, Slice};
use outputs::{AnomalyRow, ComponentRow, ConflictRow, ValueRow};
use plan::Planned;

const MONTHS: &str = "package_monitor.month";

const UNMATCHED: &str = "
SELECT count(*) AS lines, coalesce(sum(amount_fen), 0) AS fen
FROM charge
WHERE month = $1 AND kind IN ('package', 'fee', 'refund', 'adjustment')
  AND ((enrolment_id IS NULL AND kind = 'package') OR (enrolment_id IS NOT NULL AND enrolment_id NOT IN (SELECT enrolment_id FROM enrolment)))";

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
    parts: Parts,
}

/// What came of a run.
#[derive(Default, Serialize, Deserialize)]
struct Outcome {
    valued: Vec<Month>,
    not_valued: Vec<Month>,
    enrolments: i64,
}

#[derive(Deserialize)]
struct Unmatched {
    lines: i64,
    fen: i64,
}

pub(crate) fn run(context: &Context, request: &RunRequest) -> Result<RunResponse, Status> {
    if context.city() == PROVINCE {
        return Err(Status::field_invalid("city", "city: months are valued city by city, from each one's own bills and use: run the job in a city"));
    }
    let mut cursor: Cursor = request.cursor()?;
    if !cursor.planned {
        let Parameters { from, to } = request.parameters()?;
        cursor.months = plan::months(context, from, to)?;
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
    let Planned { month, enrolments, inputs, .. } = planned;
    let probe = context.warehouse().query(UNMATCHED).bind(month).rows::<Unmatched>()?;
    let current = Current {
        month,
        inputs,
        snapshot_id: probe.snapshot_id(),
        after_customer: i64::MIN,
        enrolments: 0,
        waiting_rows: completeness.waiting_rows,
        parts: Parts::default(),
    };
    probe.one()?;
    match completeness.missing {
        None => Ok(Some(current)),
        Some(missing) => {
            log::info(format_args!("{month} is not valued: {missing}"));
            write_month(context, request, &current, Some(&missing), &Unmatched { lines: 0, fen: 0 })?;
            cursor.done += enrolments;
            cursor.outcome.not_valued.push(month);
            Ok(None)
        }
    }
}

/// Values the next customers; gives the month back unless these were the last.
fn value_some(context: &Context, request: &RunRequest, mut current: Current, cursor: &mut Cursor) -> Result<Option<Current>, Status> {
    let configuration = Configuration::of(context)?;
    let slice = Slice { month: current.month, snapshot_id: current.snapshot_id, after_customer: current.after_customer };
    let components = ByPackage::read(context, current.month, current.snapshot_id)?;
    let inputs = Inputs::read(context, slice, configuration.enrolments_per_step)?;
    let valued = valuation::value(current.month, &inputs, &components, configuration.under_used_below()?);
    let conflicts = conflicts::find(current.month, &inputs.enrolments, &Rules::read(context, current.month, current.snapshot_id)?);
    let enrolments = signed(valued.enrolments.len() as u64);
    valued.enrolments.iter().for_each(|row| current.parts += row.parts);
    outputs::write(context, request, valued.enrolments, outputs::of_customers::<ValueRow>(context, slice, inputs.to_customer))?;
    outputs::write(context, request, valued.components, outputs::of_customers::<ComponentRow>(context, slice, inputs.to_customer))?;
    outputs::write(context, request, conflicts, outputs::of_customers::<ConflictRow>(context, slice, inputs.to_customer))?;
    current.enrolments += enrolments;
    current.after_customer = inputs.to_customer;
    cursor.done += enrolments;
    if inputs.more {
        return Ok(Some(current));
    }
    let anomalies = sources::find(context, current.month, current.snapshot_id, &configuration)?;
    outputs::write(context, request, anomalies, outputs::of_month::<AnomalyRow>(context, current.month))?;
    let unmatched = context.warehouse().query(UNMATCHED).bind(current.month).pin(current.snapshot_id).rows::<Unmatched>()?.one()?;
    write_month(context, request, &current, None, &unmatched)?;
    cursor.outcome.valued.push(current.month);
    cursor.outcome.enrolments += current.enrolments;
    Ok(None)
}

fn write_month(context: &Context, request: &RunRequest, current: &Current, reason: Option<&str>, unmatched: &Unmatched) -> Result<(), Status> {
    let status = if reason.is_some() { NOT_VALUED } else { VALUED };
    let columns = Columns::of(std::slice::from_ref(current))
        .day("month", |current| current.month.first_day())
        .text("status", |_| status)
        .optional_text("reason", |_| reason)
        .integer("configuration_revision", |_| context.configuration_revision())
        .integer("snapshot_id", |current| current.snapshot_id)
        .text("inputs", |current| &current.inputs)
        .integer("enrolments", |current| current.enrolments)
        .integer("booked_fen", |current| current.parts.booked_fen)
        .integer("real_fen", |current| current.parts.real_fen)
        .integer("virtual_fen", |current| current.parts.virtual_fen)
        .integer("gifted_fen", |current| current.parts.gifted_fen)
        .integer("swapped_fen", |current| current.parts.swapped_fen)
        .integer("waiting_rows", |current| current.waiting_rows)
        .integer("unmatched_lines", |_| unmatched.lines)
        .integer("unmatched_fen", |_| unmatched.fen);
    context.warehouse().append(MONTHS, &request.key("month"), &columns.batch()?).map(drop)
}
