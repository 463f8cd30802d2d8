//! Days and months as the warehouse keeps them: civil, in Asia/Shanghai, a month as its first day.

use std::{
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use jiff::{Span, ToSpan, civil::Date};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::proto::warehouse::v1::{Parameter, parameter::Value};

const EPOCH: Date = Date::constant(1970, 1, 1);
const DAY_MICROS: i64 = 86_400_000_000;
/// Shanghai is eight hours ahead of UTC, without summer time since 1991.
const SHANGHAI_MICROS: i64 = 8 * 3_600 * 1_000_000;

/// A day. In rows it is a Date32, in JSON and text `2026-03-31`.
///
/// ```
/// use backplane_sdk::Day;
///
/// let day: Day = "2026-01-31".parse()?;
/// assert_eq!(day.plus_months(1).map(|day| day.to_string()).as_deref(), Some("2026-02-28"));
/// assert_eq!(day.month().to_string(), "2026-01");
/// # Ok::<(), backplane_sdk::CalendarInvalid>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

impl Day {
    /// From the days since 1970 that a row has; `None` outside of the years that there are.
    pub fn from_number(days: i32) -> Option<Day> {
        // `days.days()` would panic beyond jiff's own range.
        let span = Span::new().try_days(days).ok()?;
        EPOCH.checked_add(span).ok().map(Day)
    }

    /// The day in Shanghai of an instant in microseconds since 1970, UTC.
    pub fn of_instant(micros: i64) -> Option<Day> {
        i32::try_from(micros.checked_add(SHANGHAI_MICROS)?.div_euclid(DAY_MICROS)).ok().and_then(Day::from_number)
    }

    /// This day in Shanghai.
    pub fn today() -> Day {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).ok().and_then(Day::of_instant).unwrap_or(Day(EPOCH))
    }

    /// So many days later, or earlier; `None` outside of the years that there are.
    pub fn plus_days(self, days: i32) -> Option<Day> {
        Day::from_number(self.number().checked_add(days)?)
    }

    /// The same day of a month so many months later, or earlier; the last day of that month when it has no such day.
    pub fn plus_months(self, months: i32) -> Option<Day> {
        // `months.months()` would panic beyond jiff's own range.
        let span = Span::new().try_months(months).ok()?;
        self.0.checked_add(span).ok().map(Day)
    }

    /// Days since 1970.
    pub fn number(self) -> i32 {
        (self.0 - EPOCH).get_days()
    }

    /// The month that it is in.
    pub fn month(self) -> Month {
        Month(self.0.first_of_month())
    }
}

/// A month. In rows it is the Date32 of its first day, in JSON and text `2026-03`.
///
/// ```
/// use backplane_sdk::Month;
///
/// let month: Month = "2025-12".parse()?;
/// assert_eq!((month.next().to_string(), month.last_day().to_string(), month.period()), ("2026-01".to_owned(), "2025-12-31".to_owned(), "202512".to_owned()));
/// # Ok::<(), backplane_sdk::CalendarInvalid>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(Date);

impl Month {
    /// Its first day.
    pub fn first_day(self) -> Day {
        Day(self.0)
    }

    /// Its last day.
    pub fn last_day(self) -> Day {
        Day(self.0.last_of_month())
    }

    /// The one after it.
    pub fn next(self) -> Month {
        Month(self.0.saturating_add(1.month()))
    }

    /// The one before it.
    pub fn previous(self) -> Month {
        Month(self.0.saturating_sub(1.month()))
    }

    /// As feeds name it: `202603`.
    pub fn period(self) -> String {
        self.0.strftime("%Y%m").to_string()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m"))
    }
}

/// The text is no such day or month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarInvalid {
    text: String,
    expected: &'static str,
}

impl fmt::Display for CalendarInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no {}", self.text, self.expected)
    }
}

impl std::error::Error for CalendarInvalid {}

impl FromStr for Day {
    type Err = CalendarInvalid;

    fn from_str(text: &str) -> Result<Day, CalendarInvalid> {
        read(text, text, "day: write it as 2026-03-31").map(Day)
    }
}

impl FromStr for Month {
    type Err = CalendarInvalid;

    fn from_str(text: &str) -> Result<Month, CalendarInvalid> {
        read(text, &format!("{text}-01"), "month: write it as 2026-03").map(Month)
    }
}

/// Exactly `yyyy-MM-dd`: jiff itself takes more forms.
fn read(text: &str, date: &str, expected: &'static str) -> Result<Date, CalendarInvalid> {
    let invalid = || CalendarInvalid { text: text.chars().take(40).collect(), expected };
    let is_plain = date.len() == 10 && date.bytes().enumerate().all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    if is_plain { date.parse().map_err(|_| invalid()) } else { Err(invalid()) }
}

impl Serialize for Day {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Day, D::Error> {
        deserializer.deserialize_any(TextOrNumber).and_then(|read| match read {
            Read::Text(text) => text.parse().map_err(de::Error::custom),
            Read::Day(day) => Ok(day),
        })
    }
}

impl Serialize for Month {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Month {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Month, D::Error> {
        let day = deserializer.deserialize_any(TextOrNumber).and_then(|read| match read {
            Read::Text(text) => match text.parse::<Month>() {
                Ok(month) => Ok(month.first_day()),
                // A row's column of days, read as text.
                Err(error) => text.parse::<Day>().map_err(|_| de::Error::custom(error)),
            },
            Read::Day(day) => Ok(day),
        })?;
        if day.month().first_day() == day { Ok(day.month()) } else { Err(de::Error::custom(format!("{day} is not the first day of a month"))) }
    }
}

/// What stands for a day: its text in JSON, its number in a row.
enum Read {
    Text(String),
    Day(Day),
}

struct TextOrNumber;

impl de::Visitor<'_> for TextOrNumber {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a day or month as text, or the days since 1970")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Read, E> {
        Ok(Read::Text(text.to_owned()))
    }

    fn visit_i64<E: de::Error>(self, days: i64) -> Result<Read, E> {
        let day = i32::try_from(days).ok().and_then(Day::from_number);
        day.map(Read::Day).ok_or_else(|| E::custom(format!("{days} days since 1970 are no day")))
    }

    fn visit_i32<E: de::Error>(self, days: i32) -> Result<Read, E> {
        self.visit_i64(days.into())
    }

    fn visit_u64<E: de::Error>(self, days: u64) -> Result<Read, E> {
        self.visit_i64(i64::try_from(days).unwrap_or(i64::MAX))
    }
}

impl From<Day> for Parameter {
    fn from(day: Day) -> Parameter {
        Value::Day(day.number()).into()
    }
}

impl From<Month> for Parameter {
    /// The first day, as the columns of months have it.
    fn from(month: Month) -> Parameter {
        month.first_day().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn days_and_months_are_read_counted_and_written() {
        let day: Day = "2024-02-29".parse().unwrap();
        assert_eq!((day.number(), day.to_string(), Day::from_number(19_782)), (19_782, "2024-02-29".to_owned(), Some(day)));
        let month: Month = "2024-02".parse().unwrap();
        assert_eq!((day.month(), month.last_day(), month.period()), (month, day, "202402".to_owned()));
        assert_eq!((month.next().to_string(), month.previous().to_string()), ("2024-03".to_owned(), "2024-01".to_owned()));
        assert_eq!((Day::from_number(-1).unwrap().to_string(), Day::from_number(i32::MAX)), ("1969-12-31".to_owned(), None));
        for json in [&serde_json::to_string(&month).unwrap(), "\"2024-02-01\"", "19754"] {
            assert_eq!(serde_json::from_str::<Month>(json).unwrap(), month, "{json}");
        }
        assert_eq!((serde_json::from_str::<Day>("19782").unwrap(), serde_json::from_str::<Day>("\"2024-02-29\"").unwrap()), (day, day));
        assert!(serde_json::from_str::<Month>("19755").is_err() && serde_json::from_str::<Day>("99999999999").is_err());
    }

    #[test]
    fn days_and_months_are_added() {
        let day: Day = "2024-01-31".parse().unwrap();
        let text = |day: Option<Day>| day.map(|day| day.to_string());
        assert_eq!(text(day.plus_days(30)).as_deref(), Some("2024-03-01"));
        assert_eq!(text(day.plus_months(1)).as_deref(), Some("2024-02-29"), "the month has no 31st");
        assert_eq!(text(day.plus_months(-2)).as_deref(), Some("2023-11-30"));
        assert_eq!((day.plus_days(i32::MAX), day.plus_months(i32::MAX)), (None, None));
        assert!(Day::today() > day);
    }

    #[test]
    fn a_day_begins_in_shanghai_eight_hours_before_it_does_in_greenwich() {
        // 2026-03-01 at midnight in Shanghai.
        let midnight = 1_772_294_400_000_000;
        assert_eq!(Day::of_instant(midnight).unwrap().to_string(), "2026-03-01");
        assert_eq!(Day::of_instant(midnight - 1).unwrap().to_string(), "2026-02-28");
        assert_eq!(Day::of_instant(i64::MAX), None);
    }

    #[test]
    fn what_is_no_day_or_month_is_refused() {
        for text in ["", "2026-02-30", "2026-3-01", "20260301", "2026-03-01T00:00", "-026-03-01", "2026-03"] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
        for text in ["", "2026-13", "2026-3", "202603", "2026-03-01"] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
        assert_eq!("2026-13".parse::<Month>().unwrap_err().to_string(), "'2026-13' is no month: write it as 2026-03");
    }
}
