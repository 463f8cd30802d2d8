use std::fmt;

use jiff::{ToSpan, civil::Date};

/// The data day or month of a file: which slice of time it holds, in Asia/Shanghai.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Period {
    Day(Date),
    /// Named by its first day.
    Month(Date),
}

impl Period {
    /// Reads `yyyyMMdd` or `yyyyMM`.
    pub(crate) fn read(text: &str) -> Option<Period> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let year = text.get(..4)?.parse().ok()?;
        let month = text.get(4..6)?.parse().ok()?;
        match text.len() {
            6 => Date::new(year, month, 1).ok().map(Period::Month),
            8 => Date::new(year, month, text.get(6..)?.parse().ok()?).ok().map(Period::Day),
            _ => None,
        }
    }

    pub(crate) fn first_day(self) -> Date {
        match self {
            Period::Day(day) | Period::Month(day) => day,
        }
    }

    /// The day after the period's last one.
    pub(crate) fn end(self) -> Date {
        match self {
            Period::Day(day) => day.saturating_add(1.day()),
            Period::Month(first) => first.saturating_add(1.month()),
        }
    }

    /// The month that it is or lies in.
    pub(crate) fn month(self) -> Period {
        Period::Month(self.first_day().first_of_month())
    }

    pub(crate) fn contains(self, day: Date) -> bool {
        self.first_day() <= day && day < self.end()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Period::Day(day) => write!(f, "{}", day.strftime("%Y%m%d")),
            Period::Month(first) => write!(f, "{}", first.strftime("%Y%m")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_period_is_a_real_day_or_month() {
        let february = Period::read("202402").unwrap();
        assert_eq!((february.to_string(), february.end().to_string()), ("202402".to_owned(), "2024-03-01".to_owned()));
        let leap_day = Period::read("20240229").unwrap();
        assert_eq!((leap_day.to_string(), leap_day.end().to_string()), ("20240229".to_owned(), "2024-03-01".to_owned()));
        assert!(february.contains(leap_day.first_day()));
        for wrong in ["", "2024", "202413", "20230229", "2024-02", "2024022", "20240２"] {
            assert_eq!(Period::read(wrong), None, "{wrong}");
        }
    }
}
