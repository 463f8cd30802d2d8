//! Which months are to be valued: those that never were, whose inputs are others now, or that come after such a one, since a month passes its carry on.

use backplane_sdk::{
    CallOptions, Context, Month, Status,
    job::RunRequest,
    proto::ingest::v1::{IngestClient, ListCompletenessRequest},
};
use serde::{Deserialize, Serialize};

use crate::{
    configuration::Configuration,
    datasets::MonthRow,
    month::{NOT_VALUED, VALUED},
};

// What a month was valued from, per month that has bills or use, or was valued before, in counts and sums by which another valuation is told from the same. Bills and use are
// rows that never change: those of a month are the same when they are as many and were written at the same instants. Of rows that change, all that a valuation of the month
// takes of them is hashed, and nothing else: an enrolment that is cancelled in October leaves the
// months before October as they are, unless it is in a conflict. Sources are judged by the 90 days before the month.
const INPUTS: &str = "
WITH bill AS (
  SELECT month, count(*) AS rows, sum(CAST(_ingested_at AS BIGINT) % 1000000007) AS written FROM charge GROUP BY month),
used AS (
  SELECT CAST(date_trunc('month', day) AS DATE) AS month, count(*) AS rows, sum(CAST(_ingested_at AS BIGINT) % 1000000007) AS written FROM usage GROUP BY 1),
month AS (
  SELECT known.month, CAST(known.month + INTERVAL '1 month' AS DATE) AS next
  FROM (SELECT month FROM bill UNION SELECT month FROM used UNION SELECT month FROM package_monitor.month) AS known),
term AS (
  SELECT enrolment_id, customer_id, package_id, continues_id, day, starts_on, least(ends_on, coalesce(CAST(cancelled_at + INTERVAL '8' HOUR AS DATE), ends_on)) AS last_on,
         CAST(translate(left(md5(concat_ws(':', enrolment_id, customer_id, package_id, channel_id, coalesce(agent_id, ''), CAST(at AS BIGINT), starts_on)), 10),
                        'abcdef', '012345') AS BIGINT) AS hash
  FROM enrolment),
enrolled AS (
  SELECT m.month, count(*) AS rows, sum(t.hash) AS hashes FROM month m JOIN term t ON t.starts_on <= t.last_on AND t.starts_on < m.next AND t.last_on >= m.month GROUP BY m.month),
named AS (
  SELECT l.month, count(*) AS rows, sum(t.hash) AS hashes
  FROM (SELECT DISTINCT month, enrolment_id FROM charge WHERE enrolment_id IS NOT NULL) AS l JOIN term t ON t.enrolment_id = l.enrolment_id
  GROUP BY l.month),
taken AS (
  SELECT m.month, count(*) AS rows, sum(t.hash) AS hashes
  FROM month m JOIN term t ON t.day < m.next AND t.day >= CAST(m.month - INTERVAL '90 days' AS DATE) WHERE t.continues_id IS NULL GROUP BY m.month),
customer AS (
  SELECT valid_from, valid_to, CAST(translate(left(md5(concat_ws(':', customer_id, tariff_id, valid_from)), 10), 'abcdef', '012345') AS BIGINT) AS hash FROM subscriber),
described AS (
  SELECT m.month, count(*) AS rows, sum(c.hash) AS hashes FROM month m JOIN customer c ON c.valid_from <= m.month AND (c.valid_to IS NULL OR c.valid_to > m.month) GROUP BY m.month),
rule AS (
  SELECT package_id, other_id, valid_from, valid_to, reason FROM package_relation WHERE relation = 'exclusive' AND city IN ('440000', $1)),
together AS (
  SELECT greatest(a.starts_on, b.starts_on, r.valid_from) AS since,
         least(a.last_on, b.last_on, coalesce(CAST(r.valid_to - INTERVAL '1 day' AS DATE), a.last_on)) AS until, a.hash % 1000003 * (b.hash % 1000033) AS hash, r.reason
  FROM rule r JOIN term a ON a.package_id = r.package_id JOIN term b ON b.customer_id = a.customer_id AND b.package_id = r.other_id
  WHERE a.enrolment_id <> b.enrolment_id AND a.starts_on <= a.last_on AND b.starts_on <= b.last_on),
conflict AS (
  SELECT m.month, count(*) AS rows,
         sum((t.hash + CAST(translate(left(md5(concat_ws(':', t.since, t.until, t.reason)), 10), 'abcdef', '012345') AS BIGINT)) % 998244353) AS hashes
  FROM month m JOIN together t ON t.since <= t.until AND t.since < m.next AND t.until >= m.month GROUP BY m.month),
offered AS (
  SELECT m.month, md5(string_agg(concat_ws(':', c.city, c.component_id, c.valid_from, c.package_id, c.product_id, c.role, c.list_price_fen, coalesce(c.entitlement, 0), c.measure), ',' ORDER BY c.city, c.component_id, c.valid_from)) AS digest
  FROM month m JOIN package_component c ON c.city IN ('440000', $1) AND c.valid_from <= m.month AND (c.valid_to IS NULL OR c.valid_to > m.month) GROUP BY m.month),
priced AS (
  SELECT m.month, md5(string_agg(concat_ws(':', t.city, t.tariff_id, t.valid_from, t.ordinary_voice_discount_permille), ',' ORDER BY t.city, t.tariff_id, t.valid_from)) AS digest
  FROM month m JOIN tariff t ON t.city IN ('440000', $1) AND t.valid_from <= m.month AND (t.valid_to IS NULL OR t.valid_to > m.month) GROUP BY m.month)
SELECT m.month,
       coalesce(enrolled.rows, 0) AS enrolments,
       coalesce(used.rows, 0) AS use_rows,
       concat_ws('/', coalesce(b.rows, 0), coalesce(b.written, 0), coalesce(used.rows, 0), coalesce(used.written, 0), coalesce(enrolled.rows, 0), coalesce(enrolled.hashes, 0),
                 coalesce(named.rows, 0), coalesce(named.hashes, 0), coalesce(taken.rows, 0), coalesce(taken.hashes, 0), coalesce(described.rows, 0),
                 coalesce(described.hashes, 0), coalesce(conflict.rows, 0), coalesce(conflict.hashes, 0), coalesce(offered.digest, ''), coalesce(priced.digest, '')) AS inputs
FROM month m
LEFT JOIN bill b ON b.month = m.month
LEFT JOIN used ON used.month = m.month
LEFT JOIN enrolled ON enrolled.month = m.month
LEFT JOIN named ON named.month = m.month
LEFT JOIN taken ON taken.month = m.month
LEFT JOIN described ON described.month = m.month
LEFT JOIN conflict ON conflict.month = m.month
LEFT JOIN offered ON offered.month = m.month
LEFT JOIN priced ON priced.month = m.month
ORDER BY m.month";

// Limit: months of one run, ten years. The plan goes from step to step in the cursor, which has 64 KiB; another run goes on.
const MONTHS_MAX: usize = 120;

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

/// The months from the first that is stale, oldest first; with `from`, from that one, stale or not. From the first on, those that have figures say from here on that a run
/// replaces them, all at once, so that nobody adds new figures of one to old ones of another.
pub(crate) fn months(context: &Context, request: &RunRequest, from: Option<Month>, to: Option<Month>) -> Result<Vec<Planned>, Status> {
    let configuration = Configuration::of(context)?;
    let found = context.warehouse().query(INPUTS).bind(context.city()).rows::<Planned>()?;
    let snapshot_id = found.snapshot_id();
    let found = found.into_vec()?;
    let known = MonthRow::all(context, snapshot_id)?;
    let is_current = |row: &Planned| -> Result<bool, Status> {
        let is_same = |known: &&MonthRow| known.inputs == row.inputs && known.configuration_revision == context.configuration_revision();
        // One that was valued after it may have left something else to it: the run that should have gone on was stopped.
        let is_after_earlier = |later: &MonthRow| !known.iter().any(|earlier| earlier.month < later.month && earlier.snapshot_id > later.snapshot_id);
        match known.iter().find(|known| known.month == row.month).filter(is_same) {
            Some(known) if known.status == VALUED => Ok(is_after_earlier(known)),
            // Still without figures: those after it need not be valued again for that.
            Some(known) if known.status == NOT_VALUED => Ok(completeness(context, row, &configuration)?.missing.is_some()),
            // The run that was at it was stopped.
            Some(_) | None => Ok(false),
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
    let planned: Vec<Planned> = found.into_iter().skip(first).filter(|row| to.is_none_or(|to| row.month <= to)).take(MONTHS_MAX).collect();
    // Also those that this run does not come to: what is carried into them is about to be another.
    let is_after_first = |known: &MonthRow| planned.first().is_some_and(|first| first.month <= known.month);
    let replaced: Vec<MonthRow> =
        known.into_iter().filter(|known| known.status != NOT_VALUED && is_after_first(known)).map(|known| known.valuing(snapshot_id)).collect();
    if !replaced.is_empty() {
        MonthRow::write(context, request, &replaced)?;
    }
    Ok(planned)
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
