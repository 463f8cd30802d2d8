//! Exclusive packages held together: two enrolments of one customer that are in force on a common day on which a rule excludes their packages (互斥), whichever way
//! round the rule is written.

use std::collections::{BTreeMap, HashMap};

use backplane_sdk::{Context, Day, Month, Status, log};
use package_valuation::Term;
use serde::Deserialize;

use super::inputs::EnrolmentRow;
use crate::datasets::ConflictRow;

// Limit: characters of a rule's reason that a row repeats: an append of many rows has to stay below its bytes.
const REASON_CHARACTERS_MAX: usize = 100;

// Limit: pairs of a customer, as the contract says: two packages held a thousand times each are a million.
const PAIRS_MAX: usize = 1_000;
// Limit: pairs of a customer that are looked at for a rule.
const PAIRS_LOOKED_AT_MAX: usize = 100_000;

const RULES: &str = "
SELECT package_id, other_id, valid_from, valid_to, reason
FROM package_relation
WHERE relation = 'exclusive' AND city IN ('440000', $3) AND valid_from <= $2 AND (valid_to IS NULL OR valid_to > $1)
ORDER BY valid_from, package_id, other_id";

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Rule {
    package_id: String,
    other_id: String,
    valid_from: Day,
    valid_to: Option<Day>,
    reason: String,
}

/// The rules that are valid on a day of a month, by the packages that they name.
#[derive(Default)]
pub(crate) struct Rules {
    of_package: HashMap<String, Vec<Rule>>,
}

impl Rules {
    pub(crate) fn read(context: &Context, month: Month, snapshot_id: i64) -> Result<Rules, Status> {
        let query = context.warehouse().query(RULES).bind(month.first_day()).bind(month.last_day()).bind(context.city());
        query.pin(snapshot_id).rows::<Rule>()?.collect::<Result<Vec<Rule>, Status>>().map(Rules::of)
    }

    pub(crate) fn of(rules: Vec<Rule>) -> Rules {
        let mut of_package: HashMap<_, Vec<Rule>> = HashMap::new();
        for mut rule in rules {
            rule.reason = rule.reason.chars().take(REASON_CHARACTERS_MAX).collect();
            of_package.entry(rule.package_id.clone()).or_default().push(rule);
        }
        Rules { of_package }
    }
}

/// An enrolment with its days.
type Held<'r> = (&'r EnrolmentRow, Term);

/// The pairs among enrolments that come by customer.
pub(crate) fn find(month: Month, enrolments: &[EnrolmentRow], rules: &Rules) -> Vec<ConflictRow> {
    let of_customers = enrolments.chunk_by(|one, other| one.customer_id == other.customer_id);
    of_customers.filter(|of_customer| of_customer.len() > 1).flat_map(|of_customer| of_one(month, of_customer, rules)).collect()
}

/// Those of a customer: by way of the rules, since one may hold thousands that no rule names.
fn of_one(month: Month, of_customer: &[EnrolmentRow], rules: &Rules) -> Vec<ConflictRow> {
    let mut of_package: BTreeMap<&str, Vec<Held<'_>>> = BTreeMap::new();
    for row in of_customer {
        of_package.entry(&row.package_id).or_default().extend(row.term().map(|term| (row, term)));
    }
    let (mut conflicts, mut is_cut): (BTreeMap<(String, String), ConflictRow>, bool) = (BTreeMap::new(), false);
    for rule in of_package.keys().filter_map(|package| rules.of_package.get(*package)).flatten() {
        let (ones, others) = (of_package.get(rule.package_id.as_str()), of_package.get(rule.other_id.as_str()));
        let pairs = ones.into_iter().flatten().flat_map(|one| others.into_iter().flatten().map(move |other| (one, other)));
        is_cut |= ones.map_or(0, Vec::len).saturating_mul(others.map_or(0, Vec::len)) > PAIRS_LOOKED_AT_MAX;
        for (one, other) in pairs.take(PAIRS_LOOKED_AT_MAX) {
            let Some(conflict) = conflict(month, rule, one, other) else { continue };
            // Of several rules the one by which they excluded each other first.
            let key = (conflict.enrolment_id.clone(), conflict.other_enrolment_id.clone());
            let known = conflicts.entry(key).or_insert_with(|| conflict.clone());
            if conflict.since < known.since {
                *known = conflict;
            }
        }
    }
    if is_cut || conflicts.len() > PAIRS_MAX {
        let customer_id = of_customer.first().map_or(0, |enrolment| enrolment.customer_id);
        log::warn(format_args!("customer {customer_id} has {} conflicts in {month} or more, of which at most {PAIRS_MAX} are written", conflicts.len()));
    }
    conflicts.into_values().take(PAIRS_MAX).collect()
}

fn conflict(month: Month, rule: &Rule, one: &Held<'_>, other: &Held<'_>) -> Option<ConflictRow> {
    if one.0.enrolment_id == other.0.enrolment_id {
        return None;
    }
    let (first, last) = one.1.common_days(&other.1, rule.valid_from.number(), rule.valid_to.map(Day::number))?;
    if first > month.last_day().number() || last < month.first_day().number() {
        return None;
    }
    let order = |held: &Held<'_>| (held.0.at, held.0.enrolment_id.clone());
    let (one, other) = if order(one) <= order(other) { (one.0, other.0) } else { (other.0, one.0) };
    Some(ConflictRow {
        month,
        enrolment_id: one.enrolment_id.clone(),
        other_enrolment_id: other.enrolment_id.clone(),
        customer_id: one.customer_id,
        package_id: one.package_id.clone(),
        other_package_id: other.package_id.clone(),
        since: Day::from_number(first)?,
        until: Day::from_number(last)?,
        reason: rule.reason.clone(),
        withdrawn: false,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn held(id: &str, package_id: &str, at: i64, starts_on: &str, ends_on: &str) -> EnrolmentRow {
        EnrolmentRow {
            enrolment_id: id.to_owned(),
            customer_id: 1,
            package_id: package_id.to_owned(),
            channel_id: "store".to_owned(),
            agent_id: None,
            at,
            starts_on: day(starts_on),
            ends_on: day(ends_on),
            cancelled_at: None,
        }
    }

    fn rule(package_id: &str, other_id: &str, valid_from: &str, valid_to: Option<&str>) -> Rule {
        let reason = format!("{package_id} or {other_id}, from {valid_from}");
        Rule { package_id: package_id.to_owned(), other_id: other_id.to_owned(), valid_from: day(valid_from), valid_to: valid_to.map(day), reason }
    }

    fn found(enrolments: &[EnrolmentRow], rules: Vec<Rule>) -> Vec<(String, String, String, String)> {
        let rows = find("2026-03".parse().unwrap(), enrolments, &Rules::of(rules));
        rows.into_iter().map(|row| (row.enrolment_id, row.other_enrolment_id, row.since.to_string(), row.until.to_string())).collect()
    }

    fn pair(one: &str, other: &str, since: &str, until: &str) -> (String, String, String, String) {
        (one.to_owned(), other.to_owned(), since.to_owned(), until.to_owned())
    }

    #[test]
    fn a_pair_is_found_whichever_way_round_the_rule_is_written() {
        let held = [held("late", "a", 9, "2026-02-10", "2026-12-31"), held("early", "b", 3, "2026-01-01", "2026-03-05")];
        for rules in [vec![rule("a", "b", "2020-01-01", None)], vec![rule("b", "a", "2020-01-01", None)]] {
            assert_eq!(found(&held, rules), [pair("early", "late", "2026-02-10", "2026-03-05")]);
        }
        assert!(found(&held, vec![rule("a", "c", "2020-01-01", None)]).is_empty());
    }

    #[test]
    fn a_pair_counts_in_months_in_which_both_are_in_force_and_the_rule_is_valid() {
        let rules = || vec![rule("a", "b", "2026-03-10", Some("2026-03-20"))];
        let always = held("one", "a", 1, "2026-01-01", "2026-12-31");
        assert_eq!(found(&[always.clone(), held("two", "b", 2, "2026-01-01", "2026-12-31")], rules()), [pair("one", "two", "2026-03-10", "2026-03-19")]);
        assert!(found(&[always.clone(), held("two", "b", 2, "2026-01-01", "2026-03-09")], rules()).is_empty(), "over before the rule");
        assert!(found(&[always.clone(), held("two", "b", 2, "2026-03-20", "2026-12-31")], rules()).is_empty(), "begun when the rule was over");
        let ended = vec![rule("a", "b", "2020-01-01", Some("2026-03-01"))];
        assert!(found(&[always, held("two", "b", 2, "2026-01-01", "2026-12-31")], ended).is_empty(), "together in February alone");
    }

    #[test]
    fn what_was_cancelled_before_its_start_is_held_with_nothing() {
        // Noon of 28 February in Shanghai.
        let never = EnrolmentRow { cancelled_at: Some(1_772_251_200_000_000), ..held("never", "b", 2, "2026-03-01", "2026-12-31") };
        assert!(found(&[held("one", "a", 1, "2026-01-01", "2026-12-31"), never], vec![rule("a", "b", "2020-01-01", None)]).is_empty());
    }

    #[test]
    fn of_very_many_pairs_a_thousand_are_written() {
        let of = |package: &'static str, count: usize| {
            (0..count).map(move |number| held(&format!("{package}{number:04}"), package, number as i64, "2026-01-01", "2026-12-31"))
        };
        let rules = || vec![rule("a", "b", "2020-01-01", None)];
        assert_eq!(found(&of("a", 25).chain(of("b", 40)).collect::<Vec<_>>(), rules()).len(), PAIRS_MAX);
        assert_eq!(found(&of("a", 26).chain(of("b", 40)).collect::<Vec<_>>(), rules()).len(), PAIRS_MAX);
        assert_eq!(found(&of("a", 26).chain(of("b", 38)).collect::<Vec<_>>(), rules()).len(), 26 * 38);
        // Not all of a million are looked at.
        assert_eq!(found(&of("a", 1_000).chain(of("b", 1_000)).collect::<Vec<_>>(), rules()).len(), PAIRS_MAX);
    }

    #[test]
    fn of_several_rules_the_first_explains_and_each_pair_is_one() {
        let held = [
            held("one", "a", 1, "2026-01-01", "2026-12-31"),
            held("two", "b", 2, "2026-01-01", "2026-12-31"),
            held("three", "b", 3, "2026-03-31", "2026-12-31"),
        ];
        let rules = vec![rule("a", "b", "2026-02-01", None), rule("b", "a", "2026-03-15", None)];
        assert_eq!(found(&held, rules), [pair("one", "three", "2026-03-31", "2026-12-31"), pair("one", "two", "2026-02-01", "2026-12-31")]);
    }
}
