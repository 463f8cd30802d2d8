/// China Standard Time. The zone has had no other offset since 1991, and no platform's records are older.
const SHANGHAI_OFFSET_MICROS: i64 = 8 * 3_600 * 1_000_000;
const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;

/// The day in Asia/Shanghai, in days since 1970, of an instant in microseconds UTC.
pub(crate) fn shanghai_day(at_micros: i64) -> i32 {
    let day = at_micros.saturating_add(SHANGHAI_OFFSET_MICROS).div_euclid(DAY_MICROS);
    i32::try_from(day).unwrap_or(if day < 0 { i32::MIN } else { i32::MAX })
}
