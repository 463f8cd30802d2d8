use std::fmt;

use jiff::{ToSpan, civil::Date};
use serde::{Serialize, Serializer};

/// A calendar month, counted from year 0 so that distance is subtraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(i32);

impl Month {
    pub const fn new(year: i32, month: i32) -> Month {
        Month(year * 12 + month - 1)
    }

    pub fn of(day: Date) -> Month {
        Month::new(i32::from(day.year()), i32::from(day.month()))
    }

    pub const fn plus(self, months: i32) -> Month {
        Month(self.0 + months)
    }

    /// Months from `earlier` to this one.
    pub const fn since(self, earlier: Month) -> i32 {
        self.0 - earlier.0
    }

    pub fn first_day(self) -> Date {
        jiff::civil::date(i16::try_from(self.0.div_euclid(12)).unwrap_or(i16::MAX), i8::try_from(self.0.rem_euclid(12) + 1).unwrap_or(1), 1)
    }

    pub fn last_day(self) -> Date {
        self.first_day().last_of_month()
    }

    pub fn length_days(self) -> u32 {
        u32::from(self.first_day().days_in_month().cast_unsigned())
    }

    /// The day of the month, the first being 0; days past the end give the last.
    pub fn day(self, index: u32) -> Date {
        let index = index.min(self.length_days() - 1);
        self.first_day().saturating_add(i64::from(index).days())
    }

    pub fn days(self) -> impl Iterator<Item = Date> {
        (0..self.length_days()).map(move |index| self.day(index))
    }

    pub fn contains(self, day: Date) -> bool {
        Month::of(day) == self
    }

    /// `yyyyMM`, the period in a file's name.
    pub fn period(self) -> String {
        format!("{:04}{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}

/// `2026-10`.
impl fmt::Display for Month {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:04}-{:02}", self.0.div_euclid(12), self.0.rem_euclid(12) + 1)
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// `yyyyMMdd`, the period of a daily file.
pub fn day_period(day: Date) -> String {
    format!("{:04}{:02}{:02}", day.year(), day.month(), day.day())
}
