use kernel_base::City;

use super::{Rule, row::Bad, time};
use crate::{day::shanghai_day, rows::Cell};

/// Reads one field by a rule, to the end of `cells`.
///
/// Each arm pushes its own cell: one that was handed on through a common place cost more than the reading, since its words were stored one by one and loaded two at
/// a time, which the processor cannot forward.
///
/// # Errors
/// A reason code with what was expected and what was found.
pub(super) fn push_cell<'t>(rule: &'t Rule, text: &str, cells: &mut Vec<Cell<'t>>) -> Result<(), Bad> {
    match rule {
        // A caller that has it borrowed need not come here.
        Rule::Text => cells.push(text.to_owned().into()),
        Rule::Integer => cells.push(Cell::Integer(text.parse().map_err(|_| invalid(text, "NUMBER_INVALID", "a whole number"))?)),
        Rule::Real => cells.push(Cell::Real(real(text).ok_or_else(|| invalid(text, "NUMBER_INVALID", "a number such as 23.02"))?)),
        Rule::Boolean => cells.push(Cell::Boolean(boolean(text).ok_or_else(|| invalid(text, "VALUE_UNKNOWN", "1, 0, true, false, Y or N"))?)),
        Rule::Yuan => {
            let expected = "an amount in yuan with at most two decimals, such as 12.34";
            cells.push(Cell::Integer(fen(text).ok_or_else(|| invalid(text, "AMOUNT_INVALID", expected))?));
        }
        Rule::OneOf(values) => cells.push(one_of(values, text)?.into()),
        Rule::City => cells.push(city(text)?.into()),
        Rule::CompactTime => cells.push(Cell::Instant(time::compact_time(text).ok_or_else(|| no_time(text, "a time yyyyMMddHHmmss"))?)),
        Rule::LocalTime => cells.push(Cell::Instant(time::local_time(text).ok_or_else(|| no_time(text, "a time yyyy-MM-dd HH:mm:ss"))?)),
        Rule::EpochMillis => cells.push(Cell::Instant(time::epoch_millis(text).ok_or_else(|| no_time(text, "milliseconds since 1970"))?)),
        Rule::LogTime => cells.push(Cell::Instant(time::log_time(text).ok_or_else(|| no_time(text, "a time such as 17/May/2015:10:05:03 +0000"))?)),
        Rule::CompactDay => cells.push(Cell::Day(time::compact_day(text).ok_or_else(|| no_day(text, "a day yyyyMMdd"))?)),
        Rule::IsoDay => cells.push(Cell::Day(time::iso_day(text).ok_or_else(|| no_day(text, "a day yyyy-MM-dd"))?)),
        Rule::CompactMonth => cells.push(Cell::Day(time::compact_month(text).ok_or_else(|| no_day(text, "a month yyyyMM"))?)),
        Rule::CompactTimeDay => cells.push(Cell::Day(time::compact_time(text).map(shanghai_day).ok_or_else(|| no_day(text, "a time yyyyMMddHHmmss"))?)),
        Rule::EpochMillisDay => cells.push(Cell::Day(time::epoch_millis(text).map(shanghai_day).ok_or_else(|| no_day(text, "milliseconds since 1970"))?)),
        Rule::ActionOfMethod => cells.push(action(text).into()),
        Rule::Succeeded => {
            let status: u16 = text.parse().map_err(|_| invalid(text, "NUMBER_INVALID", "an HTTP status"))?;
            cells.push(Cell::Boolean(status < 400));
        }
        Rule::MicrosToMillis => {
            let micros: i64 = text.parse().map_err(|_| invalid(text, "NUMBER_INVALID", "whole microseconds"))?;
            cells.push(Cell::Integer(micros / 1_000));
        }
        // These read no field, or are filled in when the rest of the row stands.
        Rule::FileCity | Rule::DayOfAt | Rule::Absent | Rule::Revision | Rule::LineId | Rule::PeriodDay => cells.push(Cell::Null),
        Rule::Constant(_) | Rule::Visitor | Rule::Session | Rule::CustomerOfNumber { .. } => cells.push(Cell::Null),
    }
    Ok(())
}

pub(super) fn invalid(found: &str, reason: &'static str, expected: &str) -> Bad {
    let found = found.chars().take(60).collect::<String>();
    Bad::new(reason, format!("expected {expected}; found '{found}'"))
}

fn no_time(found: &str, expected: &str) -> Bad {
    invalid(found, "TIME_INVALID", expected)
}

fn no_day(found: &str, expected: &str) -> Bad {
    invalid(found, "DAY_INVALID", expected)
}

fn real(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "true" | "Y" => Some(true),
        "0" | "false" | "N" => Some(false),
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

fn one_of<'t>(values: &'t [(String, String)], text: &str) -> Result<&'t str, Bad> {
    match values.iter().find(|(sent, _)| sent == text) {
        Some((_, value)) => Ok(value),
        None => {
            let known = values.iter().map(|(sent, _)| sent.as_str()).collect::<Vec<_>>().join(", ");
            Err(invalid(text, "VALUE_UNKNOWN", &format!("one of {known}")))
        }
    }
}

fn city(text: &str) -> Result<String, Bad> {
    text.parse::<City>().map(|city| city.to_string()).map_err(|_| invalid(text, "CITY_UNKNOWN", "a code of GB/T 2260 such as 440600"))
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
        let mut cells = Vec::new();
        push_cell(&rule, "1", &mut cells).unwrap();
        assert_eq!(cells, [Cell::from("failed")]);
        assert_eq!(push_cell(&rule, "2", &mut cells).unwrap_err().message, "expected one of 0, 1; found '2'");
    }
}
