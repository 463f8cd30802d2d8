use kernel_base::City;

use crate::error::WarehouseError;

// Limit: a file's name. Longer ones do not fit a file system with our suffixes.
const NAME_BYTES_MAX: usize = 200;

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

/// The city that a name of the form `portal.access.{city}.{day}.log` says; `None` for a name of another form.
///
/// # Errors
/// CITY_UNKNOWN when the place of the city holds another number.
pub(super) fn city(pattern: &str, name: &str) -> Result<Option<City>, WarehouseError> {
    let (mut rest_of_name, mut rest_of_pattern, mut found) = (name, pattern, None);
    while let Some((literal, after)) = rest_of_pattern.split_once('{') {
        let (place, next) = after.split_once('}').unwrap_or((after, ""));
        let Some(tail) = rest_of_name.strip_prefix(literal) else {
            return Ok(None);
        };
        let digits = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (value, tail) = tail.split_at(digits);
        match place {
            "city" if digits == 6 => found = Some(value),
            "day" if digits == 8 => {}
            _ => return Ok(None),
        }
        (rest_of_name, rest_of_pattern) = (tail, next);
    }
    match (rest_of_name == rest_of_pattern, found) {
        (true, Some(code)) => Ok(Some(code.parse()?)),
        _ => Ok(None),
    }
}
