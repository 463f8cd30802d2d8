use std::{collections::BTreeMap, path::Path};

use jiff::civil::Date;

use super::read_back;
use crate::{GenerateError, feeds};

/// A package that a customer took, as the newest row tells.
#[derive(Debug)]
pub(super) struct Enrolment {
    pub(super) id: String,
    pub(super) customer: String,
    pub(super) package: String,
    pub(super) taken_on: Date,
    pub(super) starts_on: Date,
    /// As agreed, inclusive.
    pub(super) ends_on: Date,
    pub(super) closed_on: Option<Date>,
    /// By the customer or an agent, not by a move.
    pub(super) is_cancelled: bool,
}

const CANCELLED: &str = "3";

impl Enrolment {
    /// Before `starts_on` if it never was in force.
    pub(super) fn last_day(&self) -> Date {
        self.closed_on.map_or(self.ends_on, |closed| closed.min(self.ends_on))
    }
}

/// The enrolments of a city, each customer's together.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn enrolments(out: &Path, city: &str) -> Result<Vec<Enrolment>, GenerateError> {
    let mut newest = BTreeMap::new();
    for text in read_back::texts(out, &feeds::BOSS_ENROLMENT, Some(city))? {
        let text = text?.text;
        newest.extend(text.lines().filter_map(enrolment).map(|enrolment| ((enrolment.customer.clone(), enrolment.id.clone()), enrolment)));
    }
    Ok(newest.into_values().collect())
}

fn enrolment(line: &str) -> Option<Enrolment> {
    let [id, _, customer, taken, package, _, _, starts, ends, status, closed] = line.split('|').collect::<Vec<_>>()[..] else { return None };
    Some(Enrolment {
        id: id.to_owned(),
        customer: customer.to_owned(),
        package: package.to_owned(),
        taken_on: read_back::day(taken)?,
        starts_on: read_back::day(starts)?,
        ends_on: read_back::day(ends)?,
        closed_on: read_back::day(closed),
        is_cancelled: status == CANCELLED,
    })
}
