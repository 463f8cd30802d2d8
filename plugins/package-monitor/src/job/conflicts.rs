//! Exclusive packages held together: two enrolments of one customer that are in force on a common day on which a rule excludes their packages (互斥), whichever way
//! round the rule is written.

use std::collections::HashMap;

use backplane_sdk::{Context, Day, Month, Status};
use package_valuation::Term;
use serde::Deserialize;

use super::{inputs::EnrolmentRow, outputs::ConflictRow};

const RULES: &str = "
SELECT package_id, other_id, valid_from, valid_to, reason
FROM package_relation
WHERE relation = 'exclusive' AND valid_from <= $2 AND (valid_to IS NULL OR valid_to > $1)
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
    of_pair: HashMap<(String, String), Vec<Rule>>,
}

impl Rules {
    pub(crate) fn read(context: &Context, month: Month, snapshot_id: i64) -> Result<Rules, Status> {
        let rows = context.warehouse().query(RULES).bind(month.first_day()).bind(month.last_day()).pin(snapshot_id).rows::<Rule>()?;
        rows.collect::<Result<Vec<Rule>, Status>>().map(Rules::of)
    }

    /// Of rules in the order of their first days.
    pub(crate) fn of(rules: Vec<Rule>) -> Rules {
        let mut of_pair: HashMap<_, Vec<Rule>> = HashMap::new();
        for rule in rules {
            of_pair.entry(ordered(rule.package_id.clone(), rule.other_id.clone())).or_default().push(rule);
        }
        Rules { of_pair }
    }

    /// The rule by which two exclude each other in the month, with the days; of several the one by which they did so first.
    fn broken_by(&self, month: Month, (one, term): &(&EnrolmentRow, Term), (other, other_term): &(&EnrolmentRow, Term)) -> Option<(&Rule, Day, Day)> {
        let rules = self.of_pair.get(&ordered(one.package_id.clone(), other.package_id.clone()))?;
        let days = |rule: &Rule| term.common_days(other_term, rule.valid_from.number(), rule.valid_to.map(Day::number));
        let touches_month = |(first, last): &(i32, i32)| *first <= month.last_day().number() && month.first_day().number() <= *last;
        let broken = rules.iter().filter_map(|rule| Some((rule, days(rule).filter(touches_month)?)));
        let (rule, (first, last)) = broken.min_by_key(|(_, (first, _))| *first)?;
        Some((rule, Day::from_number(first)?, Day::from_number(last)?))
    }
}

fn ordered(one: String, other: String) -> (String, String) {
    if one <= other { (one, other) } else { (other, one) }
}

/// The pairs among enrolments that come by customer.
pub(crate) fn find(month: Month, enrolments: &[EnrolmentRow], rules: &Rules) -> Vec<ConflictRow> {
    let of_customers = enrolments.chunk_by(|one, other| one.customer_id == other.customer_id);
    of_customers.filter(|of_customer| of_customer.len() > 1).flat_map(|of_customer| of_one(month, of_customer, rules)).collect()
}

fn of_one(month: Month, of_customer: &[EnrolmentRow], rules: &Rules) -> Vec<ConflictRow> {
    let mut by_order: Vec<(&EnrolmentRow, Term)> = of_customer.iter().filter_map(|row| Some((row, row.term()?))).collect();
    by_order.sort_by_key(|(row, _)| (row.at, &row.enrolment_id));
    let mut conflicts = Vec::new();
    for (place, one) in by_order.iter().enumerate() {
        for other in &by_order[place + 1..] {
            if let Some((rule, since, until)) = rules.broken_by(month, one, other) {
                conflicts.push(ConflictRow {
                    month,
                    enrolment_id: one.0.enrolment_id.clone(),
                    other_enrolment_id: other.0.enrolment_id.clone(),
                    customer_id: one.0.customer_id,
                    package_id: one.0.package_id.clone(),
                    other_package_id: other.0.package_id.clone(),
                    since,
                    until,
                    reason: rule.reason.clone(),
                    withdrawn: false,
                });
            }
        }
    }
    conflicts
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
    fn of_several_rules_the_first_explains_and_each_pair_is_one() {
        let held = [
            held("one", "a", 1, "2026-01-01", "2026-12-31"),
            held("two", "b", 2, "2026-01-01", "2026-12-31"),
            held("three", "b", 3, "2026-03-31", "2026-12-31"),
        ];
        let rules = vec![rule("a", "b", "2026-02-01", None), rule("b", "a", "2026-03-15", None)];
        assert_eq!(found(&held, rules), [pair("one", "two", "2026-02-01", "2026-12-31"), pair("one", "three", "2026-03-31", "2026-12-31")]);
    }
}
