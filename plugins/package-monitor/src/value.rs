use std::ops::AddAssign;

use backplane_sdk::Fen;
use package_valuation::MonthValue;
use serde::{Deserialize, Serialize};

use crate::{datasets::EnrolmentValueRow, proto::package_monitor::v1::Value};

/// The columns of a value, to be summed.
pub(crate) const SUMS: &str = "sum(booked_fen) AS booked_fen, sum(real_fen) AS real_fen, sum(virtual_fen) AS virtual_fen, sum(gifted_fen) AS gifted_fen, \
                               sum(swapped_fen) AS swapped_fen";

/// An amount in its four parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parts {
    pub(crate) booked_fen: Fen,
    pub(crate) real_fen: Fen,
    pub(crate) virtual_fen: Fen,
    pub(crate) gifted_fen: Fen,
    pub(crate) swapped_fen: Fen,
}

impl From<&MonthValue> for Parts {
    fn from(value: &MonthValue) -> Parts {
        Parts {
            booked_fen: fen(value.booked_fen),
            real_fen: fen(value.real_fen),
            virtual_fen: fen(value.virtual_fen),
            gifted_fen: fen(value.gifted_fen),
            swapped_fen: fen(value.swapped_fen),
        }
    }
}

impl EnrolmentValueRow {
    pub(crate) fn parts(&self) -> Parts {
        let EnrolmentValueRow { booked_fen, real_fen, virtual_fen, gifted_fen, swapped_fen, .. } = *self;
        Parts { booked_fen, real_fen, virtual_fen, gifted_fen, swapped_fen }
    }

    pub(crate) fn with(self, parts: Parts) -> EnrolmentValueRow {
        let Parts { booked_fen, real_fen, virtual_fen, gifted_fen, swapped_fen } = parts;
        EnrolmentValueRow { booked_fen, real_fen, virtual_fen, gifted_fen, swapped_fen, ..self }
    }
}

impl AddAssign for Parts {
    fn add_assign(&mut self, other: Parts) {
        self.booked_fen += other.booked_fen;
        self.real_fen += other.real_fen;
        self.virtual_fen += other.virtual_fen;
        self.gifted_fen += other.gifted_fen;
        self.swapped_fen += other.swapped_fen;
    }
}

impl From<Parts> for Value {
    fn from(parts: Parts) -> Value {
        let Parts { booked_fen, real_fen, virtual_fen, gifted_fen, swapped_fen } = parts;
        Value {
            booked_fen: booked_fen.number(),
            real_fen: real_fen.number(),
            virtual_fen: virtual_fen.number(),
            gifted_fen: gifted_fen.number(),
            swapped_fen: swapped_fen.number(),
        }
    }
}

/// An amount of a row, which is signed; each came from one that is.
pub(crate) fn fen(amount: u64) -> Fen {
    Fen::new(signed(amount))
}

/// A count of a row, as [`fen`].
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
