use std::{fmt, str::FromStr};

// Limit: digits after the point. A threshold has one or two; with nine, every product of it stays within 128 bits.
const SCALE_MAX: usize = 9;

/// A share from 0 to 1 as it is written, `0.3`: exactly that, which a binary fraction is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    numerator: u64,
    denominator: u64,
}

impl Decimal {
    /// Whether `part` of `whole` is less than this share.
    pub fn is_above(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(self.denominator) < u128::from(self.numerator) * u128::from(whole)
    }
}

impl FromStr for Decimal {
    type Err = DecimalInvalid;

    fn from_str(text: &str) -> Result<Decimal, DecimalInvalid> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
        let invalid = || DecimalInvalid { text: text.chars().take(40).collect() };
        if whole.is_empty() || text.ends_with('.') || !is_digits(whole) || !is_digits(fraction) || whole.len() > 1 || fraction.len() > SCALE_MAX {
            return Err(invalid());
        }
        let denominator = 10_u64.pow(u32::try_from(fraction.len()).map_err(|_| invalid())?);
        let numerator = format!("{whole}{fraction}").parse().map_err(|_| invalid())?;
        if numerator > denominator { Err(invalid()) } else { Ok(Decimal { numerator, denominator }) }
    }
}

/// The text is no share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecimalInvalid {
    text: String,
}

impl fmt::Display for DecimalInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no share: write a number from 0 to 1 with at most {SCALE_MAX} decimals, such as 0.3", self.text)
    }
}

impl std::error::Error for DecimalInvalid {}

/// `numerator / denominator` to the nearest whole number, halves to the even one.
///
/// `denominator` is above zero and `numerator` not below it.
pub(crate) fn round_half_even(numerator: u128, denominator: u128) -> u128 {
    let (quotient, twice) = (numerator / denominator, numerator % denominator * 2);
    match twice.cmp(&denominator) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Equal => quotient + quotient % 2,
        std::cmp::Ordering::Greater => quotient + 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_share_is_exactly_what_is_written() {
        let threshold: Decimal = "0.3".parse().unwrap();
        assert!(threshold.is_above(29, 100));
        assert!(!threshold.is_above(30, 100), "as much is not less");
        assert!(threshold.is_above(2_999_999_999_999_999_999, 10_000_000_000_000_000_000));
        assert!(!"0".parse::<Decimal>().unwrap().is_above(0, 1));
        assert!("1".parse::<Decimal>().unwrap().is_above(0, 1));
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for text in ["", ".3", "0.", "0,3", "-0.3", "1.1", "2", "00.3", "0.1234567891", "1e-1", "NaN"] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
    }

    #[test]
    fn halves_go_to_the_even_number() {
        let rounded: Vec<u128> = [1, 2, 3, 4, 5, 6, 7].into_iter().map(|halves| round_half_even(halves, 2)).collect();
        assert_eq!(rounded, [0, 1, 2, 2, 2, 3, 4]);
        assert_eq!((round_half_even(4, 3), round_half_even(5, 3), round_half_even(0, 7)), (1, 2, 0));
    }
}
