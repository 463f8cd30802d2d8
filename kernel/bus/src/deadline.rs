use std::time::{Duration, Instant};

use http::HeaderMap;
use kernel_base::limits::CALL_TIMEOUT_DEFAULT;

use crate::BusFault;

/// When the caller stops waiting: `grpc-timeout`, else the default; never beyond `timeout_max`.
///
/// # Errors
/// When the header is not one to eight digits and a unit (H, M, S, m, u, n).
pub(crate) fn deadline_of(headers: &HeaderMap, timeout_max: Duration) -> Result<Instant, BusFault> {
    let timeout = match headers.get("grpc-timeout") {
        None => CALL_TIMEOUT_DEFAULT,
        Some(value) => value.to_str().ok().and_then(parse).ok_or_else(|| BusFault::HeaderInvalid {
            header: "grpc-timeout",
            problem: "expected one to eight digits and one of H M S m u n, such as 500m".to_owned(),
        })?,
    };
    Ok(Instant::now() + timeout.min(timeout_max))
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3_600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_caller_waits_longer_than_its_kind_may() {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", http::HeaderValue::from_static("1H"));
        let minute = Duration::from_secs(60);
        assert!(deadline_of(&headers, minute).is_ok_and(|deadline| deadline <= Instant::now() + minute));
    }

    #[test]
    fn timeouts_are_read_as_the_grpc_specification_writes_them() {
        assert_eq!(parse("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse("99999999m"), Some(Duration::from_millis(99_999_999)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7_200)));
        for wrong in ["", "S", "5", "5s", "-5S", "123456789S", "5é", "1.5S"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
