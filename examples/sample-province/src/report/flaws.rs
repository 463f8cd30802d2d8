use std::{collections::HashSet, path::Path};

use serde_json::Value;

use super::{
    numbers::assignments,
    read_back,
    table::{Table, cells},
};
use crate::{Feed, Flaw, GenerateError, RowKind, feeds};

/// The feeds that send flaws.
const FEEDS: [&Feed; 13] = [
    &feeds::BOSS_SUBSCRIBER,
    &feeds::BOSS_NUMBER,
    &feeds::BOSS_ENROLMENT,
    &feeds::BOSS_ORDER,
    &feeds::BOSS_CHARGE,
    &feeds::MISC_SUBSCRIPTION,
    &feeds::MISC_USAGE,
    &feeds::RINGBACK_ORDER,
    &feeds::RINGBACK_SETTING,
    &feeds::BASE_ACTIVITY,
    &feeds::BASE_DELIVERY,
    &feeds::SERVICE_TICKET,
    &feeds::PORTAL_CLICK,
];
/// What a broken row has for a number, time or code.
const NO_VALUE: &str = "#N/A";

/// By feed the rows that are good, come twice, are broken, and name a number that nobody has.
pub(super) fn table(out: &Path) -> Result<Table, GenerateError> {
    let numbers = assignments(out)?.iter().map(|assignment| assignment.msisdn).collect::<HashSet<_>>();
    let mut rows = Vec::new();
    for feed in FEEDS {
        let mut counts = [0_u64; 4];
        for text in read_back::texts(out, feed, None)? {
            count(feed, &text?.text, &numbers, &mut counts);
        }
        let [good, twice, broken, unknown] = counts;
        rows.push(cells([&feed.name, &good, &twice, &broken, &unknown]));
    }
    Ok(Table {
        title: "Rows that come twice, are broken, or name a number that nobody has",
        caption: "By feed. Whoever reads the files has to leave them out.".to_owned(),
        columns: &["feed", "good", "twice", "broken", "unknown number"],
        rows,
    })
}

fn count(feed: &Feed, text: &str, numbers: &HashSet<u64>, counts: &mut [u64; 4]) {
    let records = records(feed, text);
    // The first record, in CSV the header, has all fields.
    let fields_least = records.first().map_or(0, |first| fields(feed.flaw, first));
    let mut last = "";
    for record in records.iter().skip(usize::from(feed.header.is_some())) {
        let place = match kind(feed.flaw, record, last, fields_least, numbers) {
            RowKind::Good | RowKind::Replacing => 0,
            RowKind::Duplicate => 1,
            RowKind::Corrupt => 2,
            RowKind::UnknownNumber => 3,
        };
        counts[place] += 1;
        last = record;
    }
}

/// Lines; in CSV a quoted field may hold line ends.
fn records<'a>(feed: &Feed, text: &'a str) -> Vec<&'a str> {
    if feed.header.is_none() {
        return text.lines().collect();
    }
    let mut is_quoted = false;
    let is_end = |character: char| {
        is_quoted ^= character == '"';
        character == '\n' && !is_quoted
    };
    text.split_terminator(is_end).collect()
}

fn fields(flaw: Flaw, record: &str) -> usize {
    match flaw {
        Flaw::Separated { separator, .. } => record.split(separator).count(),
        Flaw::Json { .. } | Flaw::None => 1,
    }
}

/// A row that comes twice follows itself.
fn kind(flaw: Flaw, record: &str, last: &str, fields_least: usize, numbers: &HashSet<u64>) -> RowKind {
    if record == last {
        return RowKind::Duplicate;
    }
    let number = match flaw {
        Flaw::None => return RowKind::Good,
        Flaw::Separated { separator, broken_field, number_field } => {
            let fields = record.split(separator).collect::<Vec<_>>();
            if fields.len() < fields_least || fields.get(broken_field) == Some(&NO_VALUE) {
                return RowKind::Corrupt;
            }
            number_field.and_then(|field| fields.get(field)?.parse().ok())
        }
        Flaw::Json { number_field } => match serde_json::from_str::<Value>(record) {
            Ok(row) => row[number_field].as_str().and_then(|number| number.parse().ok()),
            Err(_) => return RowKind::Corrupt,
        },
    };
    if number.is_some_and(|number| !numbers.contains(&number)) { RowKind::UnknownNumber } else { RowKind::Good }
}
