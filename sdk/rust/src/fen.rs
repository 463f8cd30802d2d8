use std::{
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
};

use serde::{Deserialize, Serialize};

use crate::proto::warehouse::v1::{Parameter, parameter::Value};

const FEN_OF_A_YUAN: u64 = 100;

/// An amount of money in whole fen (分, a hundredth of a yuan); below zero is a refund. In rows, JSON and parameters it is the integer, in text the yuan.
///
/// Sums are exact, or the call ends: an amount beyond 92 quadrillion yuan is no bill but a mistake, and must not become another amount.
///
/// ```
/// use backplane_sdk::Fen;
///
/// let lines = [Fen::new(1_990), Fen::new(-500)];
/// let sum: Fen = lines.into_iter().sum();
/// assert_eq!((sum.number(), sum.to_string()), (1_490, "14.90".to_owned()));
/// assert!(lines[1] < Fen::ZERO);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fen(i64);

impl Fen {
    /// Nothing.
    pub const ZERO: Fen = Fen(0);

    /// So many fen.
    pub const fn new(fen: i64) -> Fen {
        Fen(fen)
    }

    /// The fen, as messages have them.
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The sum; `None` beyond what 64 bits hold.
    pub const fn checked_add(self, other: Fen) -> Option<Fen> {
        match self.0.checked_add(other.0) {
            Some(fen) => Some(Fen(fen)),
            None => None,
        }
    }

    /// The difference; `None` beyond what 64 bits hold.
    pub const fn checked_sub(self, other: Fen) -> Option<Fen> {
        match self.0.checked_sub(other.0) {
            Some(fen) => Some(Fen(fen)),
            None => None,
        }
    }
}

#[allow(
    clippy::expect_used,
    reason = "an amount that overflows is a mistake that no method can answer for; in a plugin's build without overflow checks `+` would wrap"
)]
fn exact(amount: Option<Fen>) -> Fen {
    amount.expect("an amount of money is beyond 64 bits of fen: look at the rows that it is the sum of")
}

impl Add for Fen {
    type Output = Fen;

    fn add(self, other: Fen) -> Fen {
        exact(self.checked_add(other))
    }
}

impl Sub for Fen {
    type Output = Fen;

    fn sub(self, other: Fen) -> Fen {
        exact(self.checked_sub(other))
    }
}

impl Neg for Fen {
    type Output = Fen;

    fn neg(self) -> Fen {
        Fen::ZERO - self
    }
}

impl AddAssign for Fen {
    fn add_assign(&mut self, other: Fen) {
        *self = *self + other;
    }
}

impl SubAssign for Fen {
    fn sub_assign(&mut self, other: Fen) {
        *self = *self - other;
    }
}

impl Sum for Fen {
    fn sum<I: Iterator<Item = Fen>>(amounts: I) -> Fen {
        amounts.fold(Fen::ZERO, Add::add)
    }
}

impl fmt::Display for Fen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, fen) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        write!(f, "{sign}{}.{:02}", fen / FEN_OF_A_YUAN, fen % FEN_OF_A_YUAN)
    }
}

impl From<Fen> for i64 {
    fn from(amount: Fen) -> i64 {
        amount.0
    }
}

impl From<Fen> for Parameter {
    fn from(amount: Fen) -> Parameter {
        Value::Integer(amount.0).into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn amounts_are_added_and_written_to_the_fen() {
        let (one, other) = (Fen::new(105), Fen::new(-7));
        assert_eq!((one + other, one - other, -one), (Fen::new(98), Fen::new(112), Fen::new(-105)));
        for (fen, yuan) in [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (-12_345, "-123.45"), (i64::MIN, "-92233720368547758.08")] {
            assert_eq!(Fen::new(fen).to_string(), yuan);
        }
        assert_eq!((serde_json::to_string(&other).unwrap(), serde_json::from_str::<Fen>("-7").unwrap()), ("-7".to_owned(), other));
        assert!(serde_json::from_str::<Fen>("1.5").is_err(), "no part of a fen");
    }

    #[test]
    fn what_64_bits_do_not_hold_is_never_another_amount() {
        let most = Fen::new(i64::MAX);
        assert_eq!((most.checked_add(Fen::new(1)), Fen::new(i64::MIN).checked_sub(Fen::new(1))), (None, None));
        let sums: [fn() -> Fen; 3] = [|| [Fen::new(i64::MAX), Fen::new(1)].into_iter().sum(), || -Fen::new(i64::MIN), || Fen::new(i64::MIN) - Fen::new(1)];
        for sum in sums {
            assert!(std::panic::catch_unwind(sum).is_err());
        }
    }
}
