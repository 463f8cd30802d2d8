/// China Standard Time. The zone has had no other offset since 1991, and no platform's records are older.
pub(crate) const SHANGHAI_OFFSET_MICROS: i64 = 8 * 3_600 * 1_000_000;
pub(crate) const HOUR_MICROS: i64 = 3_600 * 1_000_000;
pub(crate) const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// The day in Asia/Shanghai, in days since 1970, of an instant in microseconds UTC.
pub(crate) fn shanghai_day(at_micros: i64) -> i32 {
    let day = at_micros.saturating_add(SHANGHAI_OFFSET_MICROS).div_euclid(DAY_MICROS);
    i32::try_from(day).unwrap_or(if day < 0 { i32::MIN } else { i32::MAX })
}

/// Days since 1970 of a day of the Gregorian calendar; `None` when there is no such day, or it is before 1900 or after 2999.
pub(crate) fn day_number(year: u32, month: u32, day: u32) -> Option<i32> {
    const LENGTHS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    const BEFORE: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let month_index = usize::try_from(month.checked_sub(1)?).ok()?;
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = LENGTHS.get(month_index)? + u32::from(is_leap && month == 2);
    if !(1900..3000).contains(&year) || !(1..=length).contains(&day) {
        return None;
    }
    let last_year = year - 1;
    let leap_days = last_year / 4 - last_year / 100 + last_year / 400;
    let from_year_1 = last_year * 365 + leap_days + BEFORE[month_index] + u32::from(is_leap && month > 2) + day - 1;
    // 1970-01-01 is day 719,162 counted from 0001-01-01.
    i32::try_from(from_year_1).ok().map(|days| days - 719_162)
}
