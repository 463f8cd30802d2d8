//! What a step reads: the enrolments of some customers in a month, and of these customers bills, use, tariffs and what earlier months left.

use std::collections::HashMap;

use backplane_sdk::{Context, Day, Fen, Month, Status, proto::v1::Reason};
use package_valuation::Term;
use serde::Deserialize;

// Also those that no longer were in force, or not yet, when a bill line names them.
const ENROLMENTS: &str = "
SELECT enrolment_id, customer_id, package_id, channel_id, agent_id, CAST(at AS BIGINT) AS at, starts_on, ends_on, CAST(cancelled_at AS BIGINT) AS cancelled_at
FROM enrolment
WHERE customer_id > $3
  AND ((starts_on <= $2 AND ends_on >= $1) OR enrolment_id IN (SELECT enrolment_id FROM charge WHERE month = $1 AND enrolment_id IS NOT NULL))
ORDER BY customer_id, at, enrolment_id
LIMIT $4";

const BILLS: &str = "
SELECT enrolment_id,
       sum(CASE WHEN kind IN ('package', 'fee', 'refund', 'adjustment') THEN amount_fen ELSE 0 END) AS charged_fen,
       sum(CASE WHEN kind = 'gift_credit' THEN amount_fen ELSE 0 END) AS gift_credit_fen
FROM charge
WHERE month = $1 AND enrolment_id IN (SELECT enrolment_id FROM enrolment WHERE customer_id > $2 AND customer_id <= $3)
GROUP BY enrolment_id";

const USE: &str = "
SELECT customer_id, product_id, sum(events) AS events, sum(quantity) AS quantity, sum(seconds) AS seconds, sum(kb) AS kb
FROM usage
WHERE day >= $1 AND day <= $2 AND customer_id > $3 AND customer_id <= $4
GROUP BY customer_id, product_id";

// Of overlapping validity the later start wins, and the city's own terms before those of the province, 440000: what wins is read last. A tariff without terms on the day gives no discount.
const TARIFFS: &str = "
SELECT s.customer_id, coalesce(t.ordinary_voice_discount_permille, 0) AS permille
FROM subscriber s LEFT JOIN tariff t ON t.tariff_id = s.tariff_id AND t.city IN ('440000', $4) AND t.valid_from <= $1 AND (t.valid_to IS NULL OR t.valid_to > $1)
WHERE s.valid_from <= $1 AND (s.valid_to IS NULL OR s.valid_to > $1) AND s.customer_id > $2 AND s.customer_id <= $3
ORDER BY s.customer_id, s.valid_from, t.city, t.valid_from";

// What the newest valued month with a row left: a month without one passes on what the one before it left, and an enrolment that was given to another customer takes it along.
const CARRIED: &str = "
SELECT enrolment_id, month, carried_fen
FROM (SELECT enrolment_id, month, carried_fen, row_number() OVER (PARTITION BY enrolment_id ORDER BY month DESC) AS age
      FROM package_monitor.enrolment_value
      WHERE month < $1 AND NOT withdrawn AND enrolment_id IN (SELECT enrolment_id FROM enrolment WHERE customer_id > $2 AND customer_id <= $3)
        AND month IN (SELECT month FROM package_monitor.month WHERE status = 'valued')) AS earlier
WHERE age = 1 AND (carried_fen < 0 OR $4)";

// Months without figures that have bills, since their feeds of use lack something, or nobody has valued them. What is known of them is carried all the same, oldest first.
const MONTHS_LEFT_OUT: &str = "
SELECT count(DISTINCT month) AS months
FROM charge
WHERE month < $1 AND month NOT IN (SELECT month FROM package_monitor.month WHERE status = 'valued')";
const LEFT_OUT: &str = "
SELECT enrolment_id, month, sum(amount_fen) AS charged_fen
FROM charge
WHERE month < $1 AND kind IN ('package', 'fee', 'refund', 'adjustment') AND month NOT IN (SELECT month FROM package_monitor.month WHERE status = 'valued')
  AND enrolment_id IN (SELECT enrolment_id FROM enrolment WHERE customer_id > $2 AND customer_id <= $3)
GROUP BY enrolment_id, month
ORDER BY month";

// Limit: enrolments of one customer: a step holds all of them, some 300 bytes each with what is computed.
const ENROLMENTS_OF_CUSTOMER_MAX: i64 = 100_000;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct EnrolmentRow {
    pub(crate) enrolment_id: String,
    pub(crate) customer_id: i64,
    pub(crate) package_id: String,
    pub(crate) channel_id: String,
    pub(crate) agent_id: Option<String>,
    pub(crate) at: i64,
    pub(crate) starts_on: Day,
    pub(crate) ends_on: Day,
    pub(crate) cancelled_at: Option<i64>,
}

impl EnrolmentRow {
    /// The days on which it is in force; `None` when it never was.
    pub(crate) fn term(&self) -> Option<Term> {
        let cancelled_on = self.cancelled_at.and_then(Day::of_instant).map(Day::number);
        Term::new(self.starts_on.number(), self.ends_on.number(), cancelled_on)
    }
}

#[derive(Deserialize)]
struct BillRow {
    enrolment_id: String,
    charged_fen: Fen,
    gift_credit_fen: Fen,
}

#[derive(Deserialize)]
pub(crate) struct UseRow {
    customer_id: i64,
    pub(crate) product_id: String,
    pub(crate) events: i64,
    pub(crate) quantity: i64,
    pub(crate) seconds: i64,
    pub(crate) kb: i64,
}

#[derive(Deserialize)]
struct TariffRow {
    customer_id: i64,
    permille: i64,
}

#[derive(Deserialize)]
struct CarriedRow {
    enrolment_id: String,
    month: Month,
    carried_fen: Fen,
}

#[derive(Deserialize)]
struct LeftOutRow {
    enrolment_id: String,
    month: Month,
    charged_fen: Fen,
}

/// The lines of an enrolment's month, summed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BillSums {
    pub(crate) charged_fen: Fen,
    pub(crate) gift_credit_fen: Fen,
}

/// Where in the customers a step begins, and what it reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    pub(crate) month: Month,
    pub(crate) snapshot_id: i64,
    /// Customers above this one.
    pub(crate) after_customer: i64,
    /// Whether months before it have bills that no figure has.
    pub(crate) follows_left_out: bool,
}

#[derive(Deserialize)]
struct MonthsLeftOut {
    months: i64,
}

/// Whether months before one have bills that no figure has, and the snapshot of which that is said.
pub(crate) fn follows_left_out(context: &Context, month: Month) -> Result<(bool, i64), Status> {
    let rows = context.warehouse().query(MONTHS_LEFT_OUT).bind(month).rows::<MonthsLeftOut>()?;
    let snapshot_id = rows.snapshot_id();
    Ok((rows.one()?.months > 0, snapshot_id))
}

/// The inputs of a step.
pub(crate) struct Inputs {
    /// By customer, then in the order in which they claim use.
    pub(crate) enrolments: Vec<EnrolmentRow>,
    /// The last customer that is in.
    pub(crate) to_customer: i64,
    /// Whether customers are left after it.
    pub(crate) more: bool,
    pub(crate) bills: HashMap<String, BillSums>,
    pub(crate) used: HashMap<i64, Vec<UseRow>>,
    /// The ordinary discount on voice.
    pub(crate) permille: HashMap<i64, i64>,
    pub(crate) carried: HashMap<String, Fen>,
}

impl Inputs {
    pub(crate) fn read(context: &Context, slice: Slice, enrolments_max: i64) -> Result<Inputs, Status> {
        let Slice { month, snapshot_id, after_customer, follows_left_out } = slice;
        let (first, last) = (month.first_day(), month.last_day());
        let query = |sql: &'static str| context.warehouse().query(sql).pin(snapshot_id);
        let mut rows_max = enrolments_max;
        let (enrolments, more) = loop {
            let found = query(ENROLMENTS).bind(first).bind(last).bind(after_customer).bind(rows_max).rows()?.into_vec()?;
            match whole_customers(found, rows_max) {
                Some(whole) => break whole,
                // One customer has more than a step takes.
                None if rows_max < ENROLMENTS_OF_CUSTOMER_MAX => rows_max = ENROLMENTS_OF_CUSTOMER_MAX.min(rows_max * 2),
                None => {
                    let message = format!(
                        "one customer above {after_customer} has {ENROLMENTS_OF_CUSTOMER_MAX} enrolments or more in {month}: look at where they come from"
                    );
                    return Err(Status::internal(Reason::RowsInvalid, message));
                }
            }
        };
        // Without more, also those without an enrolment belong to the slice: what an earlier valuation wrote of them is withdrawn.
        let to_customer = if more { enrolments.last().map_or(i64::MAX, |enrolment: &EnrolmentRow| enrolment.customer_id) } else { i64::MAX };

        let mut inputs =
            Inputs { enrolments, to_customer, more, bills: HashMap::new(), used: HashMap::new(), permille: HashMap::new(), carried: HashMap::new() };
        for row in query(BILLS).bind(month).bind(after_customer).bind(to_customer).rows::<BillRow>()? {
            let BillRow { enrolment_id, charged_fen, gift_credit_fen } = row?;
            inputs.bills.insert(enrolment_id, BillSums { charged_fen, gift_credit_fen });
        }
        for row in query(USE).bind(first).bind(last).bind(after_customer).bind(to_customer).rows::<UseRow>()? {
            let row = row?;
            inputs.used.entry(row.customer_id).or_default().push(row);
        }
        for row in query(TARIFFS).bind(first).bind(after_customer).bind(to_customer).bind(context.city()).rows::<TariffRow>()? {
            let TariffRow { customer_id, permille } = row?;
            inputs.permille.insert(customer_id, permille);
        }
        let mut left = Left::default();
        for row in query(CARRIED).bind(month).bind(after_customer).bind(to_customer).bind(follows_left_out).rows::<CarriedRow>()? {
            let CarriedRow { enrolment_id, month, carried_fen } = row?;
            left.of.insert(enrolment_id, (Some(month), carried_fen));
        }
        if follows_left_out {
            for row in query(LEFT_OUT).bind(month).bind(after_customer).bind(to_customer).rows::<LeftOutRow>()? {
                let LeftOutRow { enrolment_id, month, charged_fen } = row?;
                left.pass_on(enrolment_id, month, charged_fen);
            }
        }
        inputs.carried = left.of.into_iter().map(|(enrolment_id, (_, carried_fen))| (enrolment_id, carried_fen)).collect();
        Ok(inputs)
    }
}

/// What enrolments carry, each with the valued month that left it.
#[derive(Default)]
struct Left {
    of: HashMap<String, (Option<Month>, Fen)>,
}

impl Left {
    /// Carries what was charged in a month without figures, if it comes after the one that left something; such months come in their order.
    fn pass_on(&mut self, enrolment_id: String, month: Month, charged_fen: Fen) {
        let (valued, carried_fen) = self.of.entry(enrolment_id).or_default();
        if valued.is_none_or(|valued| valued < month) {
            *carried_fen = (*carried_fen + charged_fen).min(Fen::ZERO);
        }
    }
}

/// Leaves out the last customer when the limit may have cut off some of its enrolments, and says whether customers are left. `None` when there is no other customer.
fn whole_customers(mut rows: Vec<EnrolmentRow>, rows_max: i64) -> Option<(Vec<EnrolmentRow>, bool)> {
    let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= rows_max);
    if !is_full {
        return Some((rows, false));
    }
    let last = rows.last()?.customer_id;
    let whole = rows.iter().position(|row| row.customer_id == last).filter(|whole| *whole > 0)?;
    rows.truncate(whole);
    Some((rows, true))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_months_without_figures_charged_is_carried_from_the_last_that_has_some() {
        let month = |text: &str| text.parse::<Month>().unwrap();
        let mut left = Left::default();
        left.of.insert("known".to_owned(), (Some(month("2026-02")), Fen::new(-300)));
        for (id, of, fen) in [
            ("known", "2026-01", -10_000),
            ("known", "2026-03", -50),
            ("known", "2026-04", 500),
            ("known", "2026-05", -20),
            ("new", "2026-04", 900),
            ("new", "2026-05", -700),
        ] {
            left.pass_on(id.to_owned(), month(of), Fen::new(fen));
        }
        assert_eq!(left.of["known"].1, Fen::new(-20), "that of January is in what February left; April took the rest and more");
        assert_eq!(left.of["new"].1, Fen::new(-700));
    }
}
