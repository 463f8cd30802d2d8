use std::borrow::Cow;

use kernel_base::City;

use super::{Rule, row::Bad, time};
use crate::{day::shanghai_day, rows::Cell};

/// Reads one field by a rule.
///
/// # Errors
/// A reason code with what was expected and what was found.
pub(super) fn cell<'t>(rule: &'t Rule, field: &Cow<'t, str>) -> Result<Cell<'t>, Bad> {
    let text: &str = field;
    match rule {
        Rule::Text => Ok(Cell::Text(field.clone())),
        Rule::Integer => text.parse().map(Cell::Integer).map_err(|_| invalid(text, "NUMBER_INVALID", "a whole number")),
        Rule::Real => real(text).ok_or_else(|| invalid(text, "NUMBER_INVALID", "a number such as 23.02")),
        Rule::Boolean => boolean(text).ok_or_else(|| invalid(text, "VALUE_UNKNOWN", "1, 0, true, false, Y or N")),
        Rule::Yuan => fen(text).map(Cell::Integer).ok_or_else(|| invalid(text, "AMOUNT_INVALID", "an amount in yuan with at most two decimals, such as 12.34")),
        Rule::OneOf(values) => one_of(values, text),
        Rule::City => city(text),
        Rule::CompactTime => instant(time::compact_time(text), text, "a time yyyyMMddHHmmss"),
        Rule::LocalTime => instant(time::local_time(text), text, "a time yyyy-MM-dd HH:mm:ss"),
        Rule::EpochMillis => instant(time::epoch_millis(text), text, "milliseconds since 1970"),
        Rule::LogTime => instant(time::log_time(text), text, "a time such as 17/May/2015:10:05:03 +0000"),
        Rule::CompactDay => day(time::compact_day(text), text, "a day yyyyMMdd"),
        Rule::IsoDay => day(time::iso_day(text), text, "a day yyyy-MM-dd"),
        Rule::CompactMonth => day(time::compact_month(text), text, "a month yyyyMM"),
        Rule::CompactTimeDay => day(time::compact_time(text).map(shanghai_day), text, "a time yyyyMMddHHmmss"),
        Rule::EpochMillisDay => day(time::epoch_millis(text).map(shanghai_day), text, "milliseconds since 1970"),
        Rule::ActionOfMethod => Ok(action(text).into()),
        Rule::Succeeded => match text.parse::<u16>() {
            Ok(status) => Ok(Cell::Boolean(status < 400)),
            Err(_) => Err(invalid(text, "NUMBER_INVALID", "an HTTP status")),
        },
        Rule::MicrosToMillis => match text.parse::<i64>() {
            Ok(micros) => Ok(Cell::Integer(micros / 1_000)),
            Err(_) => Err(invalid(text, "NUMBER_INVALID", "whole microseconds")),
        },
        // These read no field, or are filled in when the rest of the row stands.
        Rule::FileCity | Rule::DayOfAt | Rule::Absent | Rule::Revision | Rule::LineId | Rule::PeriodDay => Ok(Cell::Null),
        Rule::Constant(_) | Rule::Visitor | Rule::Session | Rule::CustomerOfNumber { .. } => Ok(Cell::Null),
    }
}

pub(super) fn invalid(found: &str, reason: &'static str, expected: &str) -> Bad {
    let found = found.chars().take(60).collect::<String>();
    Bad::new(reason, format!("expected {expected}; found '{found}'"))
}

fn instant(micros: Option<i64>, text: &str, expected: &str) -> Result<Cell<'static>, Bad> {
    micros.map(Cell::Instant).ok_or_else(|| invalid(text, "TIME_INVALID", expected))
}

fn day(days: Option<i32>, text: &str, expected: &str) -> Result<Cell<'static>, Bad> {
    days.map(Cell::Day).ok_or_else(|| invalid(text, "DAY_INVALID", expected))
}

fn real(text: &str) -> Option<Cell<'static>> {
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Cell::Real)
}

fn boolean(text: &str) -> Option<Cell<'static>> {
    match text {
        "1" | "true" | "Y" => Some(Cell::Boolean(true)),
        "0" | "false" | "N" => Some(Cell::Boolean(false)),
        _ => None,
    }
}

/// `12.34` yuan are 1,234 fen: exact, or nothing.
fn fen(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (yuan, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(yuan) || !is_number(decimals) || decimals.len() > 2 {
        return None;
    }
    let cents: i64 = decimals.parse().ok()?;
    let cents = if decimals.len() == 1 { cents * 10 } else { cents };
    yuan.parse::<i64>().ok()?.checked_mul(100)?.checked_add(cents).map(|fen| sign * fen)
}

fn one_of<'t>(values: &'t [(String, String)], text: &str) -> Result<Cell<'t>, Bad> {
    match values.iter().find(|(sent, _)| sent == text) {
        Some((_, value)) => Ok(value.as_str().into()),
        None => {
            let known = values.iter().map(|(sent, _)| sent.as_str()).collect::<Vec<_>>().join(", ");
            Err(invalid(text, "VALUE_UNKNOWN", &format!("one of {known}")))
        }
    }
}

fn city(text: &str) -> Result<Cell<'static>, Bad> {
    text.parse::<City>().map(|city| city.to_string().into()).map_err(|_| invalid(text, "CITY_UNKNOWN", "a code of GB/T 2260 such as 440600"))
}

/// GET and HEAD look, the methods that send something submit.
fn action(method: &str) -> &'static str {
    match method {
        "POST" | "PUT" | "PATCH" | "DELETE" => "submit",
        _ => "view",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn yuan_are_exact_fen(amount in any::<i32>()) {
            let (sign, magnitude) = (if amount < 0 { "-" } else { "" }, amount.unsigned_abs());
            let text = format!("{sign}{}.{:02}", magnitude / 100, magnitude % 100);
            prop_assert_eq!(fen(&text), Some(i64::from(amount)));
        }
    }

    #[test]
    fn amounts_that_are_none_are_refused() {
        assert_eq!((fen("5"), fen("5.5"), fen("-0.05"), fen("0.00")), (Some(500), Some(550), Some(-5), Some(0)));
        for text in ["", ".5", "5.", "1.234", "1,00", "1e2", "--1", "99999999999999999999", "+1"] {
            assert_eq!(fen(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_that_no_rule_lists_says_which_are_listed() {
        let rule = Rule::OneOf(vec![("0".to_owned(), "ok".to_owned()), ("1".to_owned(), "failed".to_owned())]);
        assert_eq!(cell(&rule, &Cow::Borrowed("1")).unwrap(), Cell::from("failed"));
        assert_eq!(cell(&rule, &Cow::Borrowed("2")).unwrap_err().message, "expected one of 0, 1; found '2'");
    }
}
