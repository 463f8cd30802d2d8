//! Which months are to be valued: those that never were, whose inputs are others now, or that come after such a one, since a month passes its carry on.

use backplane_sdk::{
    CallOptions, Context, Month, Status,
    proto::ingest::v1::{IngestClient, ListCompletenessRequest},
};
use serde::{Deserialize, Serialize};

use crate::{configuration::Configuration, month::VALUED};

// Counts, sums and digests of all that a valuation reads, per month that has bills or use, or was valued before. A row that leaves a month while another enters it, and one
// that only a bill line brings into it, have to show: hence revisions weighted by what tells rows apart.
const INPUTS: &str = "
WITH bill AS (
  SELECT month, count(*) AS lines, count(enrolment_id) AS named, sum(amount_fen) AS fen, count(DISTINCT enrolment_id) AS enrolments,
         sum(amount_fen * (customer_id % 10007)) AS by_customer, sum(CASE WHEN kind = 'gift_credit' THEN amount_fen ELSE 0 END) AS gift_fen,
         sum(CASE WHEN kind = 'discount' THEN amount_fen ELSE 0 END) AS discount_fen
  FROM charge GROUP BY month),
product AS (
  SELECT CAST(date_trunc('month', day) AS DATE) AS month, product_id, count(*) AS rows, sum(events) AS events, sum(quantity) AS quantity, sum(seconds) AS seconds,
         sum(kb) AS kb, sum((events + quantity + seconds + kb) * (customer_id % 10007)) AS by_customer
  FROM usage GROUP BY 1, 2),
used AS (
  SELECT month, sum(rows) AS rows,
         md5(string_agg(concat_ws(':', product_id, rows, events, quantity, seconds, kb, by_customer), ',' ORDER BY product_id)) AS digest
  FROM product GROUP BY month),
month AS (
  SELECT known.month, CAST(known.month + INTERVAL '1 month' AS DATE) AS next
  FROM (SELECT month FROM bill UNION SELECT month FROM used UNION SELECT month FROM package_monitor.month) AS known),
enrolled AS (
  SELECT m.month, count(*) AS rows, sum(e.revision * ((CAST(e.at AS BIGINT) / 1000000 + e.customer_id) % 10007 + 1)) AS revisions
  FROM month m JOIN enrolment e ON e.starts_on < m.next AND e.ends_on >= m.month GROUP BY m.month),
named AS (
  SELECT l.month, count(*) AS rows, sum(e.revision * ((CAST(e.at AS BIGINT) / 1000000 + e.customer_id) % 10007 + 1)) AS revisions,
         sum(l.fen * ((CAST(e.at AS BIGINT) / 1000000 + e.customer_id) % 10007 + 1)) AS fen
  FROM (SELECT month, enrolment_id, sum(amount_fen) AS fen FROM charge WHERE enrolment_id IS NOT NULL GROUP BY month, enrolment_id) AS l
  JOIN enrolment e ON e.enrolment_id = l.enrolment_id
  GROUP BY l.month),
described AS (
  SELECT m.month, count(*) AS rows, sum(s.revision * ((CAST(s.valid_from AS BIGINT) + s.customer_id) % 10007 + 1)) AS revisions
  FROM month m JOIN subscriber s ON s.valid_from <= m.month AND (s.valid_to IS NULL OR s.valid_to > m.month) GROUP BY m.month),
offered AS (
  SELECT m.month, md5(string_agg(concat_ws(':', c.city, c.component_id, c.valid_from, c.revision), ',' ORDER BY c.city, c.component_id, c.valid_from)) AS digest
  FROM month m JOIN package_component c ON c.city IN ('440000', $1) AND c.valid_from <= m.month AND (c.valid_to IS NULL OR c.valid_to > m.month) GROUP BY m.month),
taken AS (
  SELECT CAST(date_trunc('month', day) AS DATE) AS month, count(*) AS rows,
         sum(revision * ((CAST(at AS BIGINT) / 1000000 + customer_id) % 10007 + 1)) AS revisions
  FROM enrolment GROUP BY 1),
related AS (
  SELECT m.month, md5(string_agg(concat_ws(':', r.city, r.package_id, r.other_id, r.valid_from, r.revision), ',' ORDER BY r.city, r.package_id, r.other_id, r.valid_from)) AS digest
  FROM month m JOIN package_relation r ON r.city IN ('440000', $1) AND r.valid_from < m.next AND (r.valid_to IS NULL OR r.valid_to > m.month) GROUP BY m.month),
priced AS (
  SELECT m.month, md5(string_agg(concat_ws(':', t.city, t.tariff_id, t.valid_from, t.revision), ',' ORDER BY t.city, t.tariff_id, t.valid_from)) AS digest
  FROM month m JOIN tariff t ON t.city IN ('440000', $1) AND t.valid_from <= m.month AND (t.valid_to IS NULL OR t.valid_to > m.month) GROUP BY m.month)
SELECT m.month,
       coalesce(enrolled.rows, 0) AS enrolments,
       coalesce(used.rows, 0) AS use_rows,
       concat_ws('/', coalesce(b.lines, 0), coalesce(b.named, 0), coalesce(b.fen, 0), coalesce(b.enrolments, 0), coalesce(b.by_customer, 0),
                 coalesce(b.gift_fen, 0), coalesce(b.discount_fen, 0), coalesce(used.rows, 0), coalesce(used.digest, ''),
                 coalesce(enrolled.rows, 0), coalesce(enrolled.revisions, 0), coalesce(described.rows, 0), coalesce(described.revisions, 0),
                 coalesce(named.rows, 0), coalesce(named.revisions, 0), coalesce(named.fen, 0), coalesce(taken.rows, 0), coalesce(taken.revisions, 0),
                 coalesce(offered.digest, ''), coalesce(priced.digest, ''), coalesce(related.digest, '')) AS inputs
FROM month m
LEFT JOIN bill b ON b.month = m.month
LEFT JOIN used ON used.month = m.month
LEFT JOIN enrolled ON enrolled.month = m.month
LEFT JOIN named ON named.month = m.month
LEFT JOIN described ON described.month = m.month
LEFT JOIN offered ON offered.month = m.month
LEFT JOIN priced ON priced.month = m.month
LEFT JOIN taken ON taken.month = m.month
LEFT JOIN related ON related.month = m.month
ORDER BY m.month";

// Limit: months of one run, ten years. The plan goes from step to step in the cursor, which has 64 KiB; another run goes on.
const MONTHS_MAX: usize = 120;

const STATES: &str = "SELECT month, status, configuration_revision, snapshot_id, inputs FROM package_monitor.month";

#[derive(Deserialize)]
struct StateRow {
    month: Month,
    status: String,
    configuration_revision: i64,
    snapshot_id: i64,
    inputs: String,
}

/// A month that is to be valued, and what it was like when that was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) month: Month,
    /// Enrolments whose term touches the month, to show how far the job is.
    pub(crate) enrolments: i64,
    /// Rows of use, against which those that wait for their number are few or many.
    use_rows: i64,
    pub(crate) inputs: String,
}

/// The months from the first that is stale, oldest first; with `from`, from that one, stale or not.
pub(crate) fn months(context: &Context, from: Option<Month>, to: Option<Month>) -> Result<Vec<Planned>, Status> {
    let configuration = Configuration::of(context)?;
    let found = context.warehouse().query(INPUTS).bind(context.city()).rows::<Planned>()?;
    let snapshot_id = found.snapshot_id();
    let found = found.into_vec()?;
    let states = context.warehouse().query(STATES).pin(snapshot_id).rows::<StateRow>()?.into_vec()?;
    let is_current = |row: &Planned| -> Result<bool, Status> {
        let is_same = |state: &&StateRow| state.inputs == row.inputs && state.configuration_revision == context.configuration_revision();
        // One that was valued after it may have left something else to it: the run that should have gone on was stopped.
        let is_after_earlier = |state: &StateRow| !states.iter().any(|earlier| earlier.month < state.month && earlier.snapshot_id > state.snapshot_id);
        match states.iter().find(|state| state.month == row.month).filter(is_same) {
            None => Ok(false),
            Some(state) if state.status == VALUED => Ok(is_after_earlier(state)),
            // Still without figures: those after it need not be valued again for that.
            Some(_) => Ok(completeness(context, row, &configuration)?.missing.is_some()),
        }
    };
    let mut first = found.len();
    for (place, row) in found.iter().enumerate() {
        let is_first = match from {
            Some(from) => row.month >= from,
            None => !is_current(row)?,
        };
        if is_first {
            first = place;
            break;
        }
    }
    Ok(found.into_iter().skip(first).filter(|row| to.is_none_or(|to| row.month <= to)).take(MONTHS_MAX).collect())
}

/// How far a month's feeds are in.
pub(crate) struct Completeness {
    /// What is missing, in words; `None` when the month can be valued.
    pub(crate) missing: Option<String>,
    /// Rows that wait for their number.
    pub(crate) waiting_rows: i64,
}

/// Asks whether a month's feeds are in: all files, and of the rows that wait for their number no more than the configuration allows. Some numbers are nobody's for ever.
pub(crate) fn completeness(context: &Context, planned: &Planned, configuration: &Configuration) -> Result<Completeness, Status> {
    let feeds: Vec<String> = configuration.bill_feeds.iter().chain(&configuration.use_feeds).cloned().collect();
    if feeds.is_empty() {
        // Rows that are appended belong to no file that could be missing; to the kernel an empty list would be all feeds.
        return Ok(Completeness { missing: None, waiting_rows: 0 });
    }
    let request = ListCompletenessRequest { month: planned.month.period(), feeds };
    let rows = IngestClient::new(context).list_completeness(&CallOptions::default(), &request)?.rows;
    let of_city = || rows.iter().filter(|row| row.city == context.city());
    let mut problems: Vec<String> =
        of_city().filter(|row| !row.missing.is_empty()).map(|row| format!("{} lacks {}", row.feed, row.missing.join(", "))).collect();
    let waiting_rows: i64 = of_city().map(|row| row.rows_waiting).sum();
    let permille_max = configuration.waiting_rows_permille_max;
    if waiting_rows.saturating_mul(1_000) > permille_max.saturating_mul(planned.use_rows.saturating_add(waiting_rows)) {
        problems.push(format!(
            "{waiting_rows} rows wait for their number, more than {permille_max} in a thousand: load the assignments, or look at the quarantine"
        ));
    }
    Ok(Completeness { missing: (!problems.is_empty()).then(|| problems.join("; ")), waiting_rows })
}
