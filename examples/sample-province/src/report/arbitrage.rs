use std::{collections::HashMap, path::Path};

use super::{
    bills::{self, Line},
    enrolments::{Enrolment, enrolments},
    read_back,
    table::{Table, cells, yuan},
};
use crate::{GenerateError, feeds, moment::days_between, public};

/// Who cancels sooner has not tried it.
const DAYS_HELD_MOST: i64 = 10;
/// Once may be a mistake, and twice a change of mind.
const TIMES_LEAST: usize = 3;

/// Customers who took one package again and again and cancelled it within days, with the gift credits that the bills gave for it.
pub(super) fn table(out: &Path) -> Result<Table, GenerateError> {
    let mut rows = Vec::new();
    for city in public::cities() {
        let mut taken = enrolments(out, city.code)?;
        taken
            .retain(|enrolment| enrolment.is_cancelled && enrolment.closed_on.is_some_and(|closed| days_between(enrolment.taken_on, closed) <= DAYS_HELD_MOST));
        taken.sort_by(|one, other| key(one).cmp(&key(other)));
        let credits = credits(out, city.code)?;
        rows.extend(
            taken.chunk_by(|one, other| key(one) == key(other)).filter(|taken| taken.len() >= TIMES_LEAST).map(|taken| row(city.name_en, taken, &credits)),
        );
    }
    Ok(Table {
        title: "Packages taken for their gift and cancelled",
        caption: format!("Customers who took a package {TIMES_LEAST} times or more and cancelled it within {DAYS_HELD_MOST} days."),
        columns: &["city", "customer", "package", "times", "enrolments", "taken on", "gift credits in yuan"],
        rows,
    })
}

fn key(enrolment: &Enrolment) -> (&str, &str) {
    (&enrolment.customer, &enrolment.package)
}

fn row(city: &str, taken: &[Enrolment], credits: &HashMap<String, i64>) -> Vec<String> {
    let (customer, package) = key(&taken[0]);
    let ids = taken.iter().map(|enrolment| enrolment.id.as_str()).collect::<Vec<_>>().join(" ");
    let days = taken.iter().map(|enrolment| enrolment.taken_on.to_string()).collect::<Vec<_>>().join(" ");
    let credit = taken.iter().filter_map(|enrolment| credits.get(&enrolment.id)).sum::<i64>();
    cells([&city, &customer, &package, &taken.len(), &ids, &days, &yuan(credit)])
}

/// Fen by enrolment.
fn credits(out: &Path, city: &str) -> Result<HashMap<String, i64>, GenerateError> {
    let mut credits = HashMap::new();
    for text in read_back::texts(out, &feeds::BOSS_CHARGE, Some(city))? {
        for line in bills::lines(&text?.text).filter(Line::is_gift) {
            if let Some(enrolment) = line.enrolment {
                *credits.entry(enrolment.to_owned()).or_default() += line.fen;
            }
        }
    }
    Ok(credits)
}
