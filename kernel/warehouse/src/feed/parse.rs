use jiff::{civil::DateTime, tz::TimeZone};
use kernel_base::City;

use super::{Rule, row::Bad};
use crate::rows::Value;

/// Reads one field by a rule; no field is null.
///
/// # Errors
/// A reason code with what was expected and what was found.
pub(super) fn value(rule: &Rule, field: Option<&str>) -> Result<Value, Bad> {
    let Some(text) = field else {
        return Ok(Value::Null);
    };
    let invalid = |reason: &'static str, expected: &str| {
        let found = text.chars().take(60).collect::<String>();
        Bad::new(reason, format!("expected {expected}; found '{found}'"))
    };
    match rule {
        Rule::Text => Ok(text.into()),
        Rule::Integer => text.parse().map(Value::Integer).map_err(|_| invalid("NUMBER_INVALID", "a whole number")),
        Rule::Real => real(text).ok_or_else(|| invalid("NUMBER_INVALID", "a number such as 23.02")),
        Rule::City => text.parse::<City>().map(|city| city.to_string().into()).map_err(|_| invalid("CITY_UNKNOWN", "a code of GB/T 2260 such as 440600")),
        Rule::Succeeded => {
            let status: u16 = text.parse().map_err(|_| invalid("NUMBER_INVALID", "an HTTP status"))?;
            Ok(Value::Boolean(status < 400))
        }
        Rule::MicrosToMillis => text.parse::<i64>().map(|micros| Value::Integer(micros / 1_000)).map_err(|_| invalid("NUMBER_INVALID", "whole microseconds")),
        Rule::LogTime => log_time(text).map(Value::Instant).ok_or_else(|| invalid("TIME_INVALID", "a time such as 17/May/2015:10:05:03 +0000")),
        _ => Err(Bad::new("RULE_INVALID", "the contract's rule reads no field".to_owned())),
    }
}

fn real(text: &str) -> Option<Value> {
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::Real)
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `17/May/2015:10:05:03 +0800` in microseconds UTC. The names of the months are English in every locale.
fn log_time(text: &str) -> Option<i64> {
    let (clock, offset) = text.split_once(' ')?;
    let (date, time) = clock.split_once(':')?;
    let mut date = date.split('/');
    let (day, month, year) = (number(date.next()?, 2)?, date.next()?, number(date.next()?, 4)?);
    let month = i8::try_from(MONTHS.iter().position(|name| *name == month)? + 1).ok()?;
    let mut time = time.split(':');
    let (hour, minute, second) = (number(time.next()?, 2)?, number(time.next()?, 2)?, number(time.next()?, 2)?);
    if date.next().is_some() || time.next().is_some() {
        return None;
    }
    let small = |number: i64| i8::try_from(number).ok();
    let civil = DateTime::new(i16::try_from(year).ok()?, month, small(day)?, small(hour)?, small(minute)?, small(second)?, 0).ok()?;
    let utc = civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond();
    Some(utc - offset_seconds(offset)? * 1_000_000)
}

/// `+0800`.
fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => return None,
    };
    let minutes = number(digits, 4)?;
    let (hours, minutes) = (minutes / 100, minutes % 100);
    (hours <= 14 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

/// Exactly so many digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}
