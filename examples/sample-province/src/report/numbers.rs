use std::path::Path;

use jiff::civil::Date;

use super::read_back;
use crate::{GenerateError, feeds};

/// That a customer had a service number in a city.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) msisdn: u64,
    pub(super) customer: i64,
    pub(super) city: String,
    pub(super) from: Date,
    /// The first day on which it no longer holds.
    pub(super) to: Option<Date>,
}

/// What is known of every number at the end, by number and first day.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn assignments(out: &Path) -> Result<Vec<Assignment>, GenerateError> {
    let mut assignments = Vec::new();
    for text in read_back::texts(out, &feeds::BOSS_NUMBER, None)? {
        let text = text?;
        assignments.extend(text.text.lines().filter_map(|line| assignment(&text.city, line)));
    }
    // The sort keeps the order of months within a city: of rows with the same beginning the later one knows the end.
    assignments.sort_by(|one, other| key(one).cmp(&key(other)));
    assignments.dedup_by(|later, earlier| {
        let is_same = key(later) == key(earlier);
        if is_same {
            earlier.to = later.to;
        }
        is_same
    });
    Ok(assignments)
}

fn key(assignment: &Assignment) -> (u64, Date, i64, &str) {
    (assignment.msisdn, assignment.from, assignment.customer, &assignment.city)
}

fn assignment(city: &str, line: &str) -> Option<Assignment> {
    let [msisdn, customer, from, to] = line.split('|').collect::<Vec<_>>()[..] else { return None };
    Some(Assignment {
        msisdn: msisdn.parse().ok()?,
        customer: customer.parse().ok()?,
        city: city.to_owned(),
        from: read_back::day(from)?,
        to: read_back::day(to),
    })
}
