use std::{collections::BTreeMap, path::Path};

use jiff::civil::Date;

use super::{
    enrolments::{Enrolment, enrolments},
    read_back,
    table::{Table, cells},
};
use crate::{GenerateError, feeds, moment::days_after, public};

const EXCLUSIVE: &str = "0";

/// The days on which two packages exclude each other, the last exclusive, by their ids in order.
type Rules = BTreeMap<(String, String), (Date, Option<Date>)>;

/// Pairs of enrolments of a customer that a rule excludes on a day on which both are in force.
pub(super) fn table(out: &Path) -> Result<Table, GenerateError> {
    let rules = rules(out)?;
    let mut rows = Vec::new();
    for city in public::cities() {
        for held in enrolments(out, city.code)?.chunk_by(|one, other| one.customer == other.customer) {
            for (place, one) in held.iter().enumerate() {
                rows.extend(held[place + 1..].iter().filter_map(|other| row(city.name_en, &rules, one, other)));
            }
        }
    }
    Ok(Table {
        title: "Packages that exclude each other, held together",
        caption: "Pairs of enrolments of one customer with a common day in force on which the rule holds.".to_owned(),
        columns: &["city", "customer", "enrolment", "package", "other enrolment", "its package", "first day", "last day"],
        rows,
    })
}

fn row(city: &str, rules: &Rules, one: &Enrolment, other: &Enrolment) -> Option<Vec<String>> {
    let (from, to) = rules.get(&pair(&one.package, &other.package))?;
    let first = one.starts_on.max(other.starts_on).max(*from);
    let last = one.last_day().min(other.last_day());
    let last = to.map_or(last, |to| last.min(days_after(to, -1)));
    (first <= last).then(|| cells([&city, &one.customer, &one.id, &one.package, &other.id, &other.package, &first, &last]))
}

fn rules(out: &Path) -> Result<Rules, GenerateError> {
    let mut rules = Rules::new();
    for text in read_back::texts(out, &feeds::BOSS_RELATION, None)? {
        for line in text?.text.lines() {
            if let [one, other, EXCLUSIVE, _, from, to] = line.split('|').collect::<Vec<_>>()[..]
                && let Some(from) = read_back::day(from)
            {
                rules.insert(pair(one, other), (from, read_back::day(to)));
            }
        }
    }
    Ok(rules)
}

fn pair(one: &str, other: &str) -> (String, String) {
    (one.min(other).to_owned(), one.max(other).to_owned())
}
