use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Serialize;

/// What a row is, from the reader's side. The kernel's counts must come to the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    Good,
    /// Good, and replaces an earlier row with the same key.
    Replacing,
    /// Says again what an earlier row of the file says.
    Duplicate,
    /// Breaks the feed's contract and must end in quarantine.
    Corrupt,
    /// Carries a number that nobody has: it waits.
    UnknownNumber,
}

/// What a good row adds to the totals of its day, by column of the dataset.
#[derive(Debug, Clone, Copy)]
pub struct OnDay<'a> {
    pub day: Date,
    pub sums: &'a [(&'static str, i64)],
}

/// One file as the generator knows it.
#[derive(Debug, Clone, Serialize)]
pub struct FileTotal {
    pub feed: &'static str,
    pub city: String,
    pub period: String,
    /// Path below the output folder.
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
    pub rows_good: u64,
    /// Of the good ones, those that replace a row that an earlier file of the city sent.
    pub rows_replacing: u64,
    pub rows_duplicate: u64,
    pub rows_corrupt: u64,
    pub rows_unknown_number: u64,
    /// Sums over the good rows, by column of the dataset.
    pub sums: BTreeMap<&'static str, i64>,
    /// The good rows by their day in Shanghai: that of posting for a bill line, that of `at` where there is one. Empty for feeds whose rows have none.
    /// A hundred thousand of a province, so `totals.json` leaves them out.
    #[serde(skip)]
    pub days: BTreeMap<Date, DayTotal>,
}

/// The rows of one file and day.
#[derive(Debug, Clone, Default)]
pub struct DayTotal {
    pub rows_good: u64,
    /// Of the good ones, those that replace a row that an earlier file of the city sent.
    pub rows_replacing: u64,
    /// By column, in the order in which the feed sums them: a row finds its sums by place, and hundreds of days stay in the cache.
    sums: Vec<(&'static str, i64)>,
}

impl FileTotal {
    pub fn rows(&self) -> u64 {
        self.rows_good + self.rows_duplicate + self.rows_corrupt + self.rows_unknown_number
    }

    pub(crate) fn count(&mut self, kind: RowKind, on_day: Option<OnDay<'_>>) {
        match kind {
            RowKind::Good => self.rows_good += 1,
            RowKind::Replacing => {
                self.rows_good += 1;
                self.rows_replacing += 1;
            }
            RowKind::Duplicate => self.rows_duplicate += 1,
            RowKind::Corrupt => self.rows_corrupt += 1,
            RowKind::UnknownNumber => self.rows_unknown_number += 1,
        }
        if let Some(OnDay { day, sums }) = on_day {
            self.days.entry(day).or_default().count(kind, sums);
        }
    }

    /// Once every row is counted: until then a row is added to its day alone, since rows are many and days are few.
    pub(crate) fn sum_days(&mut self) {
        for day in self.days.values() {
            for (column, value) in &day.sums {
                *self.sums.entry(column).or_default() += value;
            }
        }
    }
}

impl DayTotal {
    /// The sum of a column over the good rows; 0 of one that the feed does not sum.
    pub fn sum(&self, column: &str) -> i64 {
        self.sums.iter().find(|(known, _)| *known == column).map_or(0, |(_, sum)| *sum)
    }

    /// Invariant: every row of a feed names the same columns in the same order.
    fn count(&mut self, kind: RowKind, values: &[(&'static str, i64)]) {
        self.rows_good += 1;
        self.rows_replacing += u64::from(kind == RowKind::Replacing);
        if self.sums.is_empty() {
            self.sums.extend_from_slice(values);
            return;
        }
        for ((column, sum), (named, value)) in self.sums.iter_mut().zip(values) {
            debug_assert_eq!(column, named);
            *sum += value;
        }
    }
}
