//! Where the planted facts are: which customers of a city, which city, which month. Each city's first customers carry those that every city has, so that a
//! small province has them too. Months count from the first of the window.
//!
//! [`crate::Options`] asks for enough customers and months for all of them.

use crate::{life::Life, moment::days_between, public, world::World};

/// Of so many customers of a city one, the first being `FIRST`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OneOf {
    first: u32,
    every: u32,
}

impl OneOf {
    pub(crate) const fn has(self, index: u32) -> bool {
        index % self.every == self.first
    }

    /// The places in a city of so many customers.
    pub(crate) fn places(self, customers: u32) -> impl Iterator<Item = u32> {
        (self.first..customers).step_by(self.every as usize)
    }
}

/// Leaves early; the next customer gets the number.
pub(crate) const LEAVES_A_NUMBER: OneOf = OneOf { first: 2, every: 300 };
pub(crate) const TAKES_A_NUMBER: OneOf = OneOf { first: 3, every: 300 };
/// Moves to another city on the first of a month.
pub(crate) const MOVES: OneOf = OneOf { first: 5, every: 400 };
/// Holds two packages that exclude each other.
pub(crate) const HOLDS_EXCLUSIVE: OneOf = OneOf { first: 6, every: 250 };
/// Takes a package for its gift and cancels it, several times.
pub(crate) const TAKES_AND_CANCELS: OneOf = OneOf { first: 7, every: 500 };
/// Gets more back than a month's amount: the booked amount is negative and carried.
pub(crate) const IS_REFUNDED_MORE: OneOf = OneOf { first: 8, every: 400 };
/// Has a bill line adjusted one or two months later, in a later file.
pub(crate) const IS_ADJUSTED_LATE: OneOf = OneOf { first: 9, every: 150 };

/// The agent of this city who floods enrolments in this month.
pub(crate) const FLOOD_CITY: &str = "441900";
pub(crate) const FLOOD_AGENT: u32 = 7;
pub(crate) const FLOOD_MONTH: i32 = 8;
pub(crate) const FLOOD_PACKAGE: &str = "K018";
pub(crate) const FLOODED: OneOf = OneOf { first: 4, every: 10 };

/// Complaints about one product in one city within nine days.
pub(crate) const BURST_CITY: &str = "440600";
pub(crate) const BURST_PRODUCT: &str = "P4004";
pub(crate) const BURST_MONTH: i32 = 4;
pub(crate) const BURST_FIRST_DAY: u32 = 9;
pub(crate) const BURST_DAYS: u32 = 9;
pub(crate) const BURSTS: OneOf = OneOf { first: 1, every: 16 };

/// Use of one product falls in one city for two weeks, because it fails for one brand.
pub(crate) const DROP_CITY: &str = "440300";
pub(crate) const DROP_PRODUCT: &str = "P4010";
pub(crate) const DROP_BRAND: u8 = 3;
pub(crate) const DROP_MONTH: i32 = 9;
pub(crate) const DROP_FIRST_DAY: u32 = 9;
pub(crate) const DROP_DAYS: u32 = 14;
/// Share of use that remains.
pub(crate) const DROP_REMAINS: f64 = 0.1;

/// The package whose gift is taken and cancelled.
pub(crate) const ARBITRAGE_PACKAGE: &str = "K011";

/// The file of this city's use on a day of the last month that comes late.
pub(crate) const LATE_CITY: &str = "445200";
pub(crate) const LATE_DAY: u32 = 20;
/// The folder that late files wait in.
pub(crate) const LATE_FOLDER: &str = "late";

/// Customers below which a small city would lack somebody to plant a fact on.
pub(crate) const CUSTOMERS_LEAST: u32 = 1_000;
pub(crate) const MONTHS_LEAST: u32 = 12;

/// Where a day lies against the drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// As many days before as it lasts.
    Before,
    During,
}

/// None for another product, city or time.
pub(crate) fn drop_phase(world: &World, life: &Life, product: usize, month: i32, day: u32) -> Option<Phase> {
    if month != DROP_MONTH && month != DROP_MONTH - 1 || world.catalogue.products[product].id != DROP_PRODUCT {
        return None;
    }
    let date = world.month(month).day(day);
    if public::cities()[life.city_on(date)].code != DROP_CITY {
        return None;
    }
    let since = days_between(world.month(DROP_MONTH).day(DROP_FIRST_DAY), date);
    match since {
        since if (0..i64::from(DROP_DAYS)).contains(&since) => Some(Phase::During),
        since if (-i64::from(DROP_DAYS)..0).contains(&since) => Some(Phase::Before),
        _ => None,
    }
}
