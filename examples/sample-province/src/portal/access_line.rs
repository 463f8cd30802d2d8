use super::journal::Request;
use crate::{Moment, Month};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The combined log format with the time taken in microseconds (`%D`) at the end; times are Shanghai's.
pub(super) fn access_line(month: Month, request: &Request) -> String {
    let at = Moment::new(month.first_day(), 0).plus_seconds(request.at_ms / 1_000);
    let clock = at.local().split_off("yyyy-MM-dd ".len());
    let month_name = MONTHS.get(usize::from(at.day.month().unsigned_abs()) - 1).copied().unwrap_or("Jan");
    let bytes = request.bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
    format!(
        "{} - - [{:02}/{month_name}/{}:{clock} +0800] \"{}\" {} {bytes} \"{}\" \"{}\" {}",
        request.address,
        at.day.day(),
        at.day.year(),
        request.request,
        request.status,
        request.referrer.as_deref().unwrap_or("-"),
        request.agent,
        request.micros,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_in_the_combined_format_with_microseconds() {
        let request = Request {
            at_ms: 36_303_250,
            address: "100.64.1.2".to_owned(),
            agent: "Mozilla/5.0".to_owned(),
            request: "GET /product/P2001.html HTTP/1.1".to_owned(),
            status: 304,
            bytes: None,
            referrer: None,
            micros: 1_900,
        };
        let expected = r#"100.64.1.2 - - [01/May/2026:10:05:03 +0800] "GET /product/P2001.html HTTP/1.1" 304 - "-" "Mozilla/5.0" 1900"#;
        assert_eq!(access_line(Month::new(2026, 5), &request), expected);
    }
}
