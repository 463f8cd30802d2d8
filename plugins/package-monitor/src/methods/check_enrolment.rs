use backplane_sdk::{Context, Day, Status};
use package_valuation::Term;
use serde::Deserialize;

use crate::{
    configuration::Configuration,
    proto::package_monitor::v1::{CheckEnrolmentRequest, CheckEnrolmentResponse, Finding, FindingKind},
};

// One answer for all that is to be known, since an order waits for it: the package's terms and the customer's standing on the day of enrolling, $3; the customer's
// enrolments that end on $4, the first day in force, or later, or were made from $5 on; and the rules of exclusion that name the package. Terms and rules are the
// province's and those of the city, $6; of terms `package_id` is the city. Of overlapping validity the later start wins: it is read last.
const FACTS: &str = "
SELECT 'package' AS what, package_id AS id, name_zh AS text, starts_on AS first_day, ends_on AS last_day, months AS number, valid_from AS since, city AS package_id
FROM package WHERE package_id = $2 AND valid_from <= $3 AND (valid_to IS NULL OR valid_to > $3) AND city IN ('440000', $6)
UNION ALL
SELECT 'customer' AS what, '' AS id, status AS text, valid_from AS first_day, valid_to AS last_day, 0 AS number, valid_from AS since, '' AS package_id
FROM subscriber WHERE customer_id = $1 AND valid_from <= $3 AND (valid_to IS NULL OR valid_to > $3)
UNION ALL
SELECT 'enrolment' AS what, enrolment_id AS id, CASE WHEN status = 'moved' OR continues_id IS NOT NULL THEN 'moved' ELSE 'taken' END AS text, starts_on AS first_day,
       ends_on AS last_day, CAST(cancelled_at AS BIGINT) AS number, day AS since, package_id
FROM enrolment WHERE customer_id = $1 AND (ends_on >= $4 OR day >= $5)
UNION ALL
SELECT 'rule' AS what, '' AS id, reason AS text, valid_from AS first_day, valid_to AS last_day, 0 AS number, valid_from AS since,
       CASE WHEN package_id = $2 THEN other_id ELSE package_id END AS package_id
FROM package_relation WHERE relation = 'exclusive' AND (package_id = $2 OR other_id = $2) AND city IN ('440000', $6)";

// Limit: findings of an answer, as the contract says.
const FINDINGS_MAX: usize = 100;

/// Days back to which a customer's habit of taking and cancelling is looked at: a year.
const HABIT_DAYS: i32 = 365;

#[derive(Debug, Clone, Deserialize)]
struct Fact {
    what: String,
    id: String,
    text: String,
    first_day: Day,
    last_day: Option<Day>,
    number: Option<i64>,
    since: Day,
    package_id: String,
}

pub(crate) fn check(context: &Context, request: &CheckEnrolmentRequest) -> Result<CheckEnrolmentResponse, Status> {
    let CheckEnrolmentRequest { customer_id, package_id, enrols_on, starts_on } = request;
    if package_id.is_empty() {
        return Err(Status::field_invalid("package_id", "package_id: name the package that the customer wants"));
    }
    if *customer_id <= 0 {
        return Err(Status::field_invalid("customer_id", "customer_id: give the id of the subscription, a number above 0"));
    }
    let enrols_on = if enrols_on.is_empty() { Day::today() } else { Status::read_field("enrols_on", enrols_on)? };
    let starts_on = if starts_on.is_empty() { enrols_on } else { Status::read_field("starts_on", starts_on)? };
    if starts_on < enrols_on {
        return Err(Status::field_invalid("starts_on", format!("starts_on: {starts_on} is before {enrols_on}, the day of enrolling")));
    }
    let wish = Wish { customer_id: *customer_id, package_id, enrols_on, starts_on };
    let query = context.warehouse().query(FACTS).bind(wish.customer_id).bind(wish.package_id).bind(enrols_on).bind(starts_on);
    let rows = query.bind(wish.habit_begins()).bind(context.city()).rows::<Fact>()?;
    let snapshot_id = rows.snapshot_id();
    let mut facts = rows.into_vec()?;
    facts.sort_by_key(|fact| fact.since);
    let mut findings = judge(&wish, &facts, &Configuration::of(context)?);
    findings.sort_by_key(|finding| !finding.blocking);
    findings.truncate(FINDINGS_MAX);
    Ok(CheckEnrolmentResponse { allowed: !findings.iter().any(|finding| finding.blocking), findings, snapshot_id })
}

/// What is asked for.
struct Wish<'a> {
    customer_id: i64,
    package_id: &'a str,
    enrols_on: Day,
    starts_on: Day,
}

impl Wish<'_> {
    /// The first day of the year in which taking and cancelling counts.
    fn habit_begins(&self) -> Day {
        self.enrols_on.plus_days(-HABIT_DAYS).unwrap_or(self.enrols_on)
    }
}

/// What the facts, in the order in which they began, have to say about it.
fn judge(wish: &Wish<'_>, facts: &[Fact], configuration: &Configuration) -> Vec<Finding> {
    let Wish { customer_id, package_id, enrols_on, starts_on } = wish;
    let of = |what: &'static str| facts.iter().filter(move |fact| fact.what == what);
    let mut findings = Vec::new();
    // The city's own terms before those of the province.
    let package = of("package").max_by_key(|terms| (&terms.package_id, terms.since));
    match package {
        None => findings.push(blocking(FindingKind::PackageUnknown, format!("no package {package_id} has terms here on {enrols_on}: look at its code"))),
        Some(package) if *enrols_on < package.first_day || package.last_day.is_some_and(|last_day| *enrols_on > last_day) => {
            let last_day = package.last_day.map(|day| day.to_string()).unwrap_or_default();
            let text = format!("{} ({package_id}) is sold from {} to {last_day}, and {enrols_on} is not in it", package.text, package.first_day);
            findings.push(blocking(FindingKind::NotOnSale, text));
        }
        Some(_) => {}
    }
    match of("customer").next_back() {
        None => findings.push(blocking(FindingKind::CustomerUnknown, format!("this city has no customer {customer_id} on {enrols_on}: look at the city"))),
        Some(customer) if customer.text != "active" => {
            let text = format!("customer {customer_id} is {} on {enrols_on}: only active customers may enrol", customer.text);
            findings.push(blocking(FindingKind::CustomerNotActive, text));
        }
        Some(_) => {}
    }
    // One that binds for no time is held on its first day.
    let months = package.and_then(|package| package.number).and_then(|months| i32::try_from(months).ok()).unwrap_or(0);
    let ends_on = starts_on.plus_months(months).and_then(|day| day.plus_days(-1)).unwrap_or(*starts_on).max(*starts_on);
    if let Some(wanted) = Term::new(starts_on.number(), ends_on.number(), None) {
        for held in of("enrolment") {
            findings.extend(collision(wish, wanted, held, of("rule")));
        }
    }
    findings.extend(habit(wish, of("enrolment"), configuration));
    findings
}

/// What an enrolment that the customer has says about the one that is wanted.
fn collision<'f>(wish: &Wish<'_>, wanted: Term, held: &Fact, rules: impl Iterator<Item = &'f Fact>) -> Option<Finding> {
    let cancelled_on = held.number.and_then(Day::of_instant).map(Day::number);
    let term = Term::new(held.first_day.number(), held.last_day?.number(), cancelled_on)?;
    let finding = |kind, text: String, (first, last): (i32, i32), reason: &str| {
        let day = |number| Day::from_number(number).map(|day| day.to_string()).unwrap_or_default();
        let (enrolment_id, package_id) = (held.id.clone(), held.package_id.clone());
        Finding { enrolment_id, package_id, since: day(first), until: day(last), reason: reason.to_owned(), ..blocking(kind, text) }
    };
    let until = |days: (i32, i32)| Day::from_number(days.1).map(|day| day.to_string()).unwrap_or_default();
    if held.package_id == wish.package_id {
        let days = term.common_days(&wanted, i32::MIN, None)?;
        let text = format!("the customer is in {} until {} (enrolment {}): let it end first", held.package_id, until(days), held.id);
        return Some(finding(FindingKind::AlreadyHeld, text, days, ""));
    }
    let mut excluding = rules.filter(|rule| rule.package_id == held.package_id);
    let (rule, days) = excluding.find_map(|rule| Some((rule, term.common_days(&wanted, rule.first_day.number(), rule.last_day.map(Day::number))?)))?;
    let text = format!(
        "the customer is in {} until {} (enrolment {}), which excludes {}: {}: cancel the one, or begin after it",
        held.package_id,
        until(days),
        held.id,
        wish.package_id,
        rule.text
    );
    Some(finding(FindingKind::Exclusive, text, days, &rule.text))
}

/// Whether the customer takes packages to cancel them, as ListTakesAndCancels counts it.
fn habit<'f>(wish: &Wish<'_>, enrolments: impl Iterator<Item = &'f Fact>, configuration: &Configuration) -> Option<Finding> {
    let Configuration { cancelled_within_days, cancels_min, .. } = configuration;
    let cancelled_soon = |fact: &&Fact| {
        let cancelled_on = fact.number.and_then(Day::of_instant).map(Day::number);
        let is_soon = cancelled_on.is_some_and(|cancelled_on| i64::from(cancelled_on - fact.since.number()) <= *cancelled_within_days);
        fact.text == "taken" && fact.since >= wish.habit_begins() && is_soon
    };
    let times = i64::try_from(enrolments.filter(cancelled_soon).count()).unwrap_or(i64::MAX);
    let text = format!(
        "the customer took and cancelled packages {times} times within a year, each within {cancelled_within_days} days: look at them before a gift is booked"
    );
    (times >= *cancels_min).then(|| Finding { kind: FindingKind::TakesAndCancels.into(), text, ..Finding::default() })
}

fn blocking(kind: FindingKind, text: String) -> Finding {
    Finding { kind: kind.into(), blocking: true, text, ..Finding::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    fn fact(what: &str, id: &str, package_id: &str, first_day: &str, last_day: Option<&str>) -> Fact {
        Fact {
            what: what.to_owned(),
            id: id.to_owned(),
            text: String::new(),
            first_day: day(first_day),
            last_day: last_day.map(day),
            number: None,
            since: day(first_day),
            package_id: package_id.to_owned(),
        }
    }

    /// A year's package on sale, and an active customer.
    fn usual() -> Vec<Fact> {
        let package = Fact { number: Some(12), text: "流量套餐".to_owned(), ..fact("package", "new", "", "2026-01-01", Some("2026-12-31")) };
        let customer = Fact { text: "active".to_owned(), ..fact("customer", "", "", "2020-01-01", None) };
        vec![package, customer]
    }

    fn with(facts: impl IntoIterator<Item = Fact>) -> Vec<Finding> {
        let facts: Vec<Fact> = usual().into_iter().chain(facts).collect();
        asked(&facts)
    }

    fn asked(facts: &[Fact]) -> Vec<Finding> {
        let wish = Wish { customer_id: 7, package_id: "new", enrols_on: day("2026-03-02"), starts_on: day("2026-03-10") };
        judge(&wish, facts, &Configuration::default())
    }

    fn kinds(findings: &[Finding]) -> Vec<(FindingKind, bool)> {
        findings.iter().map(|finding| (finding.kind(), finding.blocking)).collect()
    }

    #[test]
    fn who_holds_nothing_may_take_it() {
        assert_eq!(with([]), []);
    }

    #[test]
    fn nobody_takes_what_is_not_sold_and_nobody_but_an_active_customer() {
        assert_eq!(kinds(&asked(&[])), [(FindingKind::PackageUnknown, true), (FindingKind::CustomerUnknown, true)]);
        let mut facts = usual();
        facts[0].last_day = Some(day("2026-03-01"));
        facts[1].text = "suspended".to_owned();
        let findings = asked(&facts);
        // Sold until the day before it is taken; on the first day in force it need not be sold any more.
        assert_eq!(asked(&[Fact { last_day: Some(day("2026-03-02")), ..facts[0].clone() }, usual()[1].clone()]), []);
        assert_eq!(kinds(&findings), [(FindingKind::NotOnSale, true), (FindingKind::CustomerNotActive, true)]);
        assert!(findings[0].text.contains("流量套餐 (new) is sold from 2026-01-01 to 2026-03-01"), "{}", findings[0].text);
    }

    #[test]
    fn what_is_held_on_a_day_of_the_new_term_stands_against_it() {
        let held = |last_day| fact("enrolment", "E1", "new", "2025-04-01", Some(last_day));
        let findings = with([held("2026-03-31")]);
        assert_eq!(kinds(&findings), [(FindingKind::AlreadyHeld, true)]);
        assert_eq!((findings[0].since.as_str(), findings[0].until.as_str()), ("2026-03-10", "2026-03-31"));
        assert_eq!(with([held("2026-03-09")]), []);
        // 5 March 2026, noon in Shanghai.
        let cancelled = Fact { number: Some(1_772_683_200_000_000), ..held("2026-03-31") };
        assert_eq!(with([cancelled]), []);
    }

    #[test]
    fn a_package_that_excludes_it_stands_against_it_and_is_explained() {
        let held = fact("enrolment", "E1", "old", "2025-04-01", Some("2026-05-31"));
        let rule = |valid_from, valid_to| Fact { text: "语音折扣不得重复享受".to_owned(), ..fact("rule", "", "old", valid_from, valid_to) };
        let findings = with([held.clone(), rule("2026-04-01", None)]);
        assert_eq!(kinds(&findings), [(FindingKind::Exclusive, true)]);
        assert_eq!((findings[0].since.as_str(), findings[0].until.as_str(), findings[0].reason.as_str()), ("2026-04-01", "2026-05-31", "语音折扣不得重复享受"));
        assert!(findings[0].text.contains("is in old until 2026-05-31 (enrolment E1), which excludes new"), "{}", findings[0].text);
        assert_eq!(with([held.clone(), rule("2020-01-01", Some("2026-03-10"))]), [], "the rule ends before");
        assert_eq!(with([held, rule("2026-06-01", None)]), [], "the rule begins when the other is over");
        let later = fact("enrolment", "E2", "old", "2027-03-09", Some("2027-12-31"));
        assert_eq!(kinds(&with([later.clone(), rule("2020-01-01", None)])), [(FindingKind::Exclusive, true)], "the last day of the new term");
        assert_eq!(with([Fact { first_day: day("2027-03-10"), ..later }, rule("2020-01-01", None)]), [], "the day after it");
    }

    #[test]
    fn a_habit_of_taking_and_cancelling_is_said_and_blocks_nothing() {
        // Each cancelled at noon of the tenth day after it was made.
        let taken = |id: &str, on: &str| {
            let cancelled_at = (i64::from(day(on).number()) + 10) * 86_400_000_000 + 4 * 3_600_000_000;
            Fact { number: Some(cancelled_at), text: "taken".to_owned(), ..fact("enrolment", id, "gift", on, Some("2026-12-31")) }
        };
        assert_eq!(with([taken("E1", "2026-01-01")]), []);
        assert_eq!(kinds(&with([taken("E1", "2026-01-01"), taken("E2", "2026-02-01")])), [(FindingKind::TakesAndCancels, false)]);
        assert_eq!(with([taken("E1", "2025-02-01"), taken("E2", "2026-02-01")]), [], "one of them more than a year ago");
        let moved = Fact { text: "moved".to_owned(), ..taken("E1", "2026-01-01") };
        assert_eq!(with([moved, taken("E2", "2026-02-01")]), [], "one of them carried on from another city");
    }
}
