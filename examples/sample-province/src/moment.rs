use jiff::{ToSpan, civil::Date};

/// A second of a day in Shanghai, which keeps UTC+8 all year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    pub day: Date,
    pub second: u32,
}

const SHANGHAI_OFFSET_SECONDS: i64 = 8 * 3600;

impl Moment {
    pub fn new(day: Date, second: u32) -> Moment {
        Moment { day, second: second.min(86_399) }
    }

    pub fn plus_seconds(self, seconds: i64) -> Moment {
        let total = i64::from(self.second) + seconds;
        let day = self.day.saturating_add(total.div_euclid(86_400).days());
        Moment { day, second: total.rem_euclid(86_400) as u32 }
    }

    /// `yyyy-MM-dd HH:mm:ss`.
    pub fn local(self) -> String {
        let (hour, minute, second) = self.clock();
        format!("{:04}-{:02}-{:02} {hour:02}:{minute:02}:{second:02}", self.day.year(), self.day.month(), self.day.day())
    }

    /// `yyyyMMddHHmmss`.
    pub fn compact(self) -> String {
        let (hour, minute, second) = self.clock();
        format!("{:04}{:02}{:02}{hour:02}{minute:02}{second:02}", self.day.year(), self.day.month(), self.day.day())
    }

    /// Milliseconds since 1970, UTC.
    pub fn epoch_millis(self) -> i64 {
        let midnight = days_between(jiff::civil::date(1970, 1, 1), self.day) * 86_400;
        (midnight + i64::from(self.second) - SHANGHAI_OFFSET_SECONDS) * 1000
    }

    fn clock(self) -> (u32, u32, u32) {
        (self.second / 3600, self.second / 60 % 60, self.second % 60)
    }
}

/// Days from the first to the second.
pub(crate) fn days_between(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_hours() / 24
}

pub(crate) fn days_after(day: Date, days: i64) -> Date {
    day.saturating_add(days.days())
}

/// `yyyyMMdd`.
pub fn compact_day(day: Date) -> String {
    format!("{:04}{:02}{:02}", day.year(), day.month(), day.day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_instant_in_every_form() {
        // 2026-01-01 00:00:00 in Shanghai is 2025-12-31 16:00:00 UTC, 1767196800 s.
        let moment = Moment::new(jiff::civil::date(2026, 1, 1), 0);
        assert_eq!(moment.epoch_millis(), 1_767_196_800_000);
        assert_eq!(moment.plus_seconds(-1).local(), "2025-12-31 23:59:59");
        assert_eq!(moment.plus_seconds(3661).compact(), "20260101010101");
    }
}
