use crate::day::{DAY_MICROS, SHANGHAI_OFFSET_MICROS, day_number};

/// `yyyyMMddHHmmss` in Asia/Shanghai, as microseconds UTC.
pub(super) fn compact_time(text: &str) -> Option<i64> {
    let text = fixed::<14>(text)?;
    instant(compact_day_of(&text[..8])?, two(&text[8..])?, two(&text[10..])?, two(&text[12..])?)
}

/// `yyyy-MM-dd HH:mm:ss` in Asia/Shanghai, as microseconds UTC; a `T` may stand for the space.
pub(super) fn local_time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 19 || !matches!(bytes[10], b' ' | b'T') || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    instant(iso_day(text.get(..10)?)?, two(&bytes[11..13])?, two(&bytes[14..16])?, two(&bytes[17..])?)
}

/// `yyyyMMdd`, as days since 1970.
pub(super) fn compact_day(text: &str) -> Option<i32> {
    compact_day_of(fixed::<8>(text)?)
}

/// `yyyy-MM-dd`, as days since 1970.
pub(super) fn iso_day(text: &str) -> Option<i32> {
    let bytes = fixed::<10>(text)?;
    (bytes[4] == b'-' && bytes[7] == b'-').then_some(())?;
    day_number(four(&bytes[..4])?, two(&bytes[5..7])?, two(&bytes[8..])?)
}

/// `yyyyMM`, as the first of the month in days since 1970.
pub(super) fn compact_month(text: &str) -> Option<i32> {
    let bytes = fixed::<6>(text)?;
    day_number(four(&bytes[..4])?, two(&bytes[4..])?, 1)
}

/// Milliseconds since 1970, as microseconds. Seconds or microseconds, sent by mistake, would be years off: only 1992 to 2200 is taken.
pub(super) fn epoch_millis(text: &str) -> Option<i64> {
    let millis: i64 = text.parse().ok()?;
    (694_224_000_000..7_258_118_400_000).contains(&millis).then_some(millis * 1_000)
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `17/May/2015:10:05:03 +0800`, as microseconds UTC. The names of the months are English in every locale.
pub(super) fn log_time(text: &str) -> Option<i64> {
    let (clock, offset) = text.split_once(' ')?;
    let bytes = fixed::<20>(clock)?;
    let separators = (bytes[2], bytes[6], bytes[11], bytes[14], bytes[17]);
    (separators == (b'/', b'/', b':', b':', b':')).then_some(())?;
    let month = MONTHS.iter().position(|name| name.as_bytes() == &bytes[3..6])? + 1;
    let day = day_number(four(&bytes[7..11])?, u32::try_from(month).ok()?, two(&bytes[..2])?)?;
    let shanghai = instant(day, two(&bytes[12..14])?, two(&bytes[15..17])?, two(&bytes[18..])?)?;
    Some(shanghai + SHANGHAI_OFFSET_MICROS - offset_seconds(offset)? * 1_000_000)
}

/// `+0800`.
fn offset_seconds(text: &str) -> Option<i64> {
    let bytes = fixed::<5>(text)?;
    let sign = match bytes[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = (two(&bytes[1..3])?, two(&bytes[3..])?);
    (hours <= 14 && minutes < 60).then_some(sign * i64::from(hours * 3_600 + minutes * 60))
}

/// A leap second counts as the second before it, as clocks of servers do.
fn instant(day: i32, hour: u32, minute: u32, second: u32) -> Option<i64> {
    (hour < 24 && minute < 60 && second <= 60).then_some(())?;
    let seconds = i64::from(hour * 3_600 + minute * 60 + second.min(59));
    Some(i64::from(day) * DAY_MICROS + seconds * 1_000_000 - SHANGHAI_OFFSET_MICROS)
}

fn compact_day_of(bytes: &[u8]) -> Option<i32> {
    day_number(four(&bytes[..4])?, two(&bytes[4..6])?, two(&bytes[6..8])?)
}

fn fixed<const N: usize>(text: &str) -> Option<&[u8; N]> {
    text.as_bytes().try_into().ok()
}

fn two(bytes: &[u8]) -> Option<u32> {
    digits(bytes.get(..2)?)
}

fn four(bytes: &[u8]) -> Option<u32> {
    digits(bytes.get(..4)?)
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use jiff::{Timestamp, civil, tz::TimeZone};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_are_those_of_the_library(seconds in 694_224_000i64..4_102_444_800) {
            let Ok(timestamp) = Timestamp::from_second(seconds) else { unreachable!() };
            let Ok(zone) = TimeZone::get("Asia/Shanghai") else { unreachable!() };
            let local = timestamp.to_zoned(zone);
            prop_assert_eq!(compact_time(&local.strftime("%Y%m%d%H%M%S").to_string()), Some(seconds * 1_000_000));
            prop_assert_eq!(local_time(&local.strftime("%Y-%m-%d %H:%M:%S").to_string()), Some(seconds * 1_000_000));
            prop_assert_eq!(log_time(&local.strftime("%d/%b/%Y:%H:%M:%S %z").to_string()), Some(seconds * 1_000_000));
            let utc = timestamp.to_zoned(TimeZone::UTC);
            prop_assert_eq!(log_time(&utc.strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()), Some(seconds * 1_000_000));
            let days = local.date().duration_since(civil::date(1970, 1, 1)).as_hours() / 24;
            prop_assert_eq!(compact_day(&local.strftime("%Y%m%d").to_string()).map(i64::from), Some(days));
            prop_assert_eq!(iso_day(&local.strftime("%Y-%m-%d").to_string()).map(i64::from), Some(days));
        }

        #[test]
        fn no_text_panics(text in ".{0,24}") {
            let _ = (compact_time(&text), local_time(&text), log_time(&text), compact_day(&text), iso_day(&text), compact_month(&text), epoch_millis(&text));
        }
    }

    #[test]
    fn times_that_are_none_are_refused() {
        for text in ["20260230000000", "20260101240000", "2026010100000", "2026010100000a", "20261301000000"] {
            assert_eq!(compact_time(text), None, "{text}");
        }
        for text in ["2026-02-30 00:00:00", "2026-01-01 00:00", "2026/01/01 00:00:00"] {
            assert_eq!(local_time(text), None, "{text}");
        }
        // Seconds and microseconds of 2026.
        assert_eq!((epoch_millis("1767225600"), epoch_millis("1767225600000000"), epoch_millis("1767225600000")), (None, None, Some(1_767_225_600_000_000)));
        assert_eq!((compact_month("202613"), compact_month("202602")), (None, Some(20_485)));
    }
}
