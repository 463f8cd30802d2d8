use kernel_base::City;

use super::period::Period;
use crate::error::WarehouseError;

// Limit: a file's name. Longer ones do not fit a file system with our suffixes.
const NAME_BYTES_MAX: usize = 200;
// Limit: digits of a part's number.
const PART_DIGITS_MAX: usize = 4;

/// What a file's name says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Named {
    pub(super) city: Option<City>,
    pub(super) period: Option<Period>,
    /// Of an extract that the platform split; 0 for a whole one.
    pub(super) part: u32,
}

/// Checks that a name is one a platform can have sent: without folders, without control characters.
///
/// # Errors
/// FILE_REFUSED.
pub(super) fn check(name: &str) -> Result<(), WarehouseError> {
    let refuse = |problem: &str| {
        let file_name = name.chars().take(80).collect();
        Err(WarehouseError::FileRefused { file_name, problem: problem.to_owned() })
    };
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return refuse("its name must have 1 to 200 bytes: rename it as the feed's contract says");
    }
    if name.contains(['/', '\\']) || name.chars().any(char::is_control) || name == "." || name == ".." {
        return refuse("its name must be without folders and control characters: send the last part of the path");
    }
    Ok(())
}

/// What is wrong with a contract's pattern: it holds `{city}` and `{period}` once each, with text before, between and after.
pub(super) fn pattern_fault(pattern: &str) -> Option<&'static str> {
    let places: Vec<&str> = pattern.split('{').skip(1).map(|rest| rest.split('}').next().unwrap_or_default()).collect();
    if places != ["city", "period"] {
        return Some("the file name has the places {city} and {period}, once each and in this order");
    }
    if pattern.contains(['/', '\\', '*', '?']) || pattern.starts_with('{') || pattern.ends_with('}') || pattern.contains("}{") {
        return Some("the file name has text before, between and after its places, and neither folders nor wildcards");
    }
    None
}

/// What a name of the form `misc.usage.{city}.{period}.txt.gz` says, with `.NN` after the period for a part; `None` for a name of another form.
///
/// # Errors
/// CITY_UNKNOWN when the place of the city holds another number, FILE_REFUSED when that of the period holds no day or month.
pub(super) fn read(pattern: &str, name: &str) -> Result<Option<Named>, WarehouseError> {
    let Some((first, second, third)) = literals(pattern) else {
        return Ok(None);
    };
    let Some((city, rest)) = name.strip_prefix(first).and_then(digits) else {
        return Ok(None);
    };
    let Some((period, rest)) = rest.strip_prefix(second).and_then(digits) else {
        return Ok(None);
    };
    let Some(part) = part(rest, third) else {
        return Ok(None);
    };
    if city.len() != 6 {
        return Ok(None);
    }
    let problem = || format!("its name has '{period}' where the period stands: expected a day yyyyMMdd or a month yyyyMM");
    let period = Period::read(period).ok_or_else(|| WarehouseError::FileRefused { file_name: name.to_owned(), problem: problem() })?;
    Ok(Some(Named { city: Some(city.parse()?), period: Some(period), part }))
}

/// The text before, between and after the places.
fn literals(pattern: &str) -> Option<(&str, &str, &str)> {
    let (first, rest) = pattern.split_once("{city}")?;
    let (second, third) = rest.split_once("{period}")?;
    Some((first, second, third))
}

fn digits(text: &str) -> Option<(&str, &str)> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    (count > 0).then(|| text.split_at(count))
}

/// What follows the period: the pattern's end, with the number of a part before it where the extract was split.
fn part(rest: &str, end: &str) -> Option<u32> {
    if rest == end {
        return Some(0);
    }
    let (number, rest) = digits(rest.strip_prefix('.')?)?;
    (rest == end && number.len() <= PART_DIGITS_MAX).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const PATTERN: &str = "misc.usage.{city}.{period}.txt.gz";

    #[test]
    fn a_name_says_city_period_and_part() {
        let named = |name| read(PATTERN, name).unwrap().map(|named| (named.city.unwrap().to_string(), named.period.unwrap().to_string(), named.part));
        assert_eq!(named("misc.usage.440600.20260301.txt.gz"), Some(("440600".to_owned(), "20260301".to_owned(), 0)));
        assert_eq!(named("misc.usage.440600.202603.07.txt.gz"), Some(("440600".to_owned(), "202603".to_owned(), 7)));
        for other in ["misc.usage.440600.20260301.txt", "misc.usage.4406.20260301.txt.gz", "x.440600.20260301.txt.gz", "misc.usage.440600.20260301.a.txt.gz"] {
            assert_eq!(named(other), None, "{other}");
        }
        assert!(read(PATTERN, "misc.usage.440600.20260230.txt.gz").is_err() && read(PATTERN, "misc.usage.990000.20260301.txt.gz").is_err());
    }

    #[test]
    fn a_pattern_has_both_places_once() {
        assert_eq!(pattern_fault(PATTERN), None);
        for wrong in
            ["a.{city}.txt", "a.{period}.{city}.txt", "{city}.{period}.txt", "a.{city}{period}.txt", "a.{city}.{period}.{day}.txt", "../a.{city}.{period}.x"]
        {
            assert!(pattern_fault(wrong).is_some(), "{wrong}");
        }
    }
}
