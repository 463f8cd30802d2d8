use std::{collections::BTreeMap, mem, path::Path};

use super::read_back;
use crate::{GenerateError, Month, feeds};

/// A line of a bill.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) bill: &'a str,
    pub(super) number: &'a str,
    /// The month that it counts for.
    pub(super) month: Month,
    /// That of the file: lines are posted on the first days of the next.
    pub(super) sent_in: Month,
    pub(super) enrolment: Option<&'a str>,
    pub(super) fen: i64,
    kind: &'a str,
}

impl Line<'_> {
    /// Fees, packages, refunds and adjustments; credits and discounts are told, not booked.
    pub(super) fn is_booked(&self) -> bool {
        matches!(self.kind, "01" | "02" | "05" | "06")
    }

    pub(super) fn is_gift(&self) -> bool {
        self.kind == "03"
    }
}

/// The lines of a file without those that are broken. A row that comes twice follows itself, and counts once.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut last = "";
    text.lines().filter(move |line| mem::replace(&mut last, line) != *line).filter_map(line)
}

fn line(row: &str) -> Option<Line<'_>> {
    let [bill, number, _, month, posted, _, enrolment, _, _, fen, kind, _] = row.split('|').collect::<Vec<_>>()[..] else { return None };
    let (year, month) = month.split_at_checked(4)?;
    Some(Line {
        bill,
        number,
        month: Month::new(year.parse().ok()?, month.parse().ok()?),
        sent_in: Month::of(read_back::day(posted)?).plus(-1),
        enrolment: Some(enrolment).filter(|enrolment| *enrolment != r"\N"),
        fen: fen.parse().ok()?,
        kind,
    })
}

/// Fen booked by enrolment and month (`2026-01`).
///
/// # Errors
/// When a file cannot be read.
pub(super) fn booked(out: &Path, city: &str) -> Result<BTreeMap<(String, String), i64>, GenerateError> {
    let mut booked = BTreeMap::new();
    for text in read_back::texts(out, &feeds::BOSS_CHARGE, Some(city))? {
        for line in lines(&text?.text).filter(Line::is_booked) {
            if let Some(enrolment) = line.enrolment {
                *booked.entry((enrolment.to_owned(), line.month.to_string())).or_default() += line.fen;
            }
        }
    }
    Ok(booked)
}
