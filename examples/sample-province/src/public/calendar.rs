use std::{collections::HashMap, sync::LazyLock};

use jiff::civil::{Date, Weekday};

struct SpecialDay {
    is_off: bool,
    name: &'static str,
}

/// Whether offices are closed: weekends and public holidays, but not the make-up workdays (调休) of 2025 and 2026. Other years know weekends alone.
pub fn is_day_off(day: Date) -> bool {
    match special_days().get(&day) {
        Some(special) => special.is_off,
        None => matches!(day.weekday(), Weekday::Saturday | Weekday::Sunday),
    }
}

/// The public holiday that a day belongs to, `春节`; none for weekends and make-up workdays.
pub fn holiday_name(day: Date) -> Option<&'static str> {
    special_days().get(&day).filter(|special| special.is_off).map(|special| special.name)
}

fn special_days() -> &'static HashMap<Date, SpecialDay> {
    static DAYS: LazyLock<HashMap<Date, SpecialDay>> = LazyLock::new(|| include_str!("../../data/holidays.txt").lines().filter_map(special_day).collect());
    &DAYS
}

fn special_day(line: &'static str) -> Option<(Date, SpecialDay)> {
    let mut fields = line.split(' ');
    let day = fields.next()?.parse().ok()?;
    Some((day, SpecialDay { is_off: fields.next()? == "off", name: fields.next()? }))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn holidays_weekends_and_make_up_workdays_are_told_apart() {
        assert_eq!(special_days().len(), 72);
        assert!(is_day_off(date(2026, 10, 1)));
        assert_eq!(holiday_name(date(2026, 10, 1)), Some("国庆节"));
        assert!(!is_day_off(date(2026, 10, 10)), "a Saturday that makes up for a holiday");
        assert_eq!(holiday_name(date(2026, 10, 10)), None);
        assert!(is_day_off(date(2026, 11, 21)), "a Saturday");
        assert!(!is_day_off(date(2026, 11, 20)), "a Friday");
        assert_eq!(holiday_name(date(2026, 2, 17)), Some("春节"));
    }
}
