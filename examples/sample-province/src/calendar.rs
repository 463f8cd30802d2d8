use jiff::civil::{Date, Weekday};

use crate::{Draw, Moment, Month, public};

/// When things happen: how likely each day of each month of the window is, by kind of business, and each hour of a day.
#[derive(Debug)]
pub(crate) struct Calendar {
    months: Vec<MonthDays>,
}

#[derive(Debug)]
pub(crate) struct MonthDays {
    pub(crate) month: Month,
    pub(crate) days: Vec<Date>,
    /// `yyyyMMdd`, by day.
    pub(crate) texts: Vec<String>,
    /// Sums of weights up to each day, for leisure and for work.
    leisure: Vec<u32>,
    work: Vec<u32>,
    /// How much more is written to others on the day, in percent.
    pub(crate) greetings_percent: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rhythm {
    /// Evenings, weekends and holidays.
    Leisure,
    /// Office hours, and the end of a month.
    Work,
}

/// Weights of the hours 0 to 23.
const LEISURE_HOURS: [u32; 24] = [14, 8, 4, 3, 2, 3, 8, 18, 24, 26, 28, 32, 44, 36, 30, 30, 32, 38, 48, 66, 84, 90, 70, 38];
const WORK_HOURS: [u32; 24] = [2, 1, 1, 1, 1, 1, 4, 12, 40, 78, 86, 72, 38, 40, 66, 76, 74, 58, 34, 28, 26, 20, 10, 4];

impl Calendar {
    pub(crate) fn of(window: impl Iterator<Item = Month>) -> Calendar {
        Calendar { months: window.map(MonthDays::of).collect() }
    }

    pub(crate) fn months(&self) -> &[MonthDays] {
        &self.months
    }
}

impl MonthDays {
    fn of(month: Month) -> MonthDays {
        let days: Vec<Date> = month.days().collect();
        let texts = days.iter().map(|day| crate::day_period(*day)).collect();
        let running = |weight: fn(Date) -> u32| {
            days.iter()
                .scan(0, |sum, day| {
                    *sum += weight(*day);
                    Some(*sum)
                })
                .collect()
        };
        MonthDays { month, texts, leisure: running(leisure), work: running(work), greetings_percent: days.iter().map(|day| greetings(*day)).collect(), days }
    }

    /// A day of the month, as an index.
    pub(crate) fn draw_day(&self, draw: &mut Draw, rhythm: Rhythm) -> usize {
        let sums = match rhythm {
            Rhythm::Leisure => &self.leisure,
            Rhythm::Work => &self.work,
        };
        let at = draw.below(sums.last().copied().unwrap_or(1));
        sums.partition_point(|sum| *sum <= at)
    }

    pub(crate) fn draw_moment(&self, draw: &mut Draw, rhythm: Rhythm) -> Moment {
        let day = self.days[self.draw_day(draw, rhythm)];
        draw_time(draw, day, rhythm)
    }
}

/// A second of the day, likelier at the hours of its kind.
pub(crate) fn draw_time(draw: &mut Draw, day: Date, rhythm: Rhythm) -> Moment {
    let hours = match rhythm {
        Rhythm::Leisure => &LEISURE_HOURS,
        Rhythm::Work => &WORK_HOURS,
    };
    let hour = draw.weighted(hours) as u32;
    Moment::new(day, hour * 3600 + draw.below(3600))
}

fn leisure(day: Date) -> u32 {
    let base = match (public::is_day_off(day), public::holiday_name(day).is_some()) {
        (true, true) => 165,
        (true, false) => 145,
        _ => 100,
    };
    if day.weekday() == Weekday::Friday { base + 12 } else { base }
}

fn work(day: Date) -> u32 {
    let base = match (public::is_day_off(day), public::holiday_name(day).is_some()) {
        (true, true) => 35,
        (true, false) => 60,
        _ => 100,
    };
    let to_the_end = day.days_in_month() - day.day();
    if to_the_end < 3 { base * 3 / 2 } else { base }
}

/// Messages pour on the days when everybody greets everybody.
fn greetings(day: Date) -> u32 {
    match public::holiday_name(day) {
        Some(name) if name.contains('春') => 420,
        Some(name) if name.contains("中秋") || name.contains("元旦") => 250,
        Some(_) => 130,
        None => 100,
    }
}
