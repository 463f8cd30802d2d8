use jiff::civil::Date;

use crate::{Draw, GenerateError, Month, Options, calendar::Calendar, catalogue::Catalogue, mix, planted, public};

/// All that lives are drawn from: small, made once, shared by all threads and never changed.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) first_month: Month,
    pub(crate) months: i32,
    pub(crate) catalogue: Catalogue,
    pub(crate) calendar: Calendar,
    /// Customers of each city of [`public::cities`].
    pub(crate) customers: Vec<u32>,

    device_weights: Vec<u32>,
}

/// Purposes of streams.
pub(crate) mod stream {
    pub(crate) const LIFE: u64 = 1;
    pub(crate) const MONTH: u64 = 2;
    pub(crate) const MOVE: u64 = 3;
    pub(crate) const FLAW: u64 = 4;
}

/// Spreads neighbouring customers over a city's numbers; prime, so that no two get the same.
const NUMBER_STRIDE: u64 = 262_147;
const NUMBERS_PER_SEGMENT: u64 = 10_000;

impl World {
    /// # Errors
    /// When the options ask for less than the planted facts need, or for more than a city has numbers for.
    pub(crate) fn of(options: &Options) -> Result<World, GenerateError> {
        if options.customers < planted::CUSTOMERS_LEAST {
            return Err(GenerateError::TooFewCustomers { value: options.customers, least: planted::CUSTOMERS_LEAST });
        }
        if options.months < planted::MONTHS_LEAST {
            return Err(GenerateError::TooFewMonths { value: options.months, least: planted::MONTHS_LEAST });
        }
        let world = World {
            seed: options.seed,
            first_month: options.first_month,
            months: options.months.cast_signed(),
            catalogue: Catalogue::read(),
            calendar: Calendar::of(options.window()),
            customers: share(options.customers),
            device_weights: public::devices().iter().map(|device| device.weight).collect(),
        };
        for (city, customers) in public::cities().iter().zip(&world.customers) {
            let numbers = public::segments(city.code).len() as u64 * NUMBERS_PER_SEGMENT;
            // Some stay free, for the rows that name a number which nobody has.
            let needed = u64::from(*customers) + 10_000;
            if numbers < needed {
                return Err(GenerateError::TooFewNumbers { city: city.name_zh.to_owned(), numbers, needed });
            }
        }
        Ok(world)
    }

    pub(crate) fn draw(&self, purpose: u64, names: [u64; 3]) -> Draw {
        Draw::named(self.seed, &[purpose, names[0], names[1], names[2]])
    }

    pub(crate) fn month(&self, index: i32) -> Month {
        self.first_month.plus(index)
    }

    pub(crate) fn first_day(&self) -> Date {
        self.first_month.first_day()
    }

    pub(crate) fn last_day(&self) -> Date {
        self.month(self.months - 1).last_day()
    }

    /// The month of a day, from the first of the window; negative before it.
    pub(crate) fn month_of(&self, day: Date) -> i32 {
        Month::of(day).since(self.first_month)
    }

    /// The service number of a place in a city. Places past the customers have numbers that nobody has.
    pub(crate) fn msisdn(&self, city: usize, place: u64) -> u64 {
        let segments = public::segments(public::cities()[city].code);
        let numbers = segments.len() as u64 * NUMBERS_PER_SEGMENT;
        let slot = (place * NUMBER_STRIDE + mix(self.seed ^ city as u64) % numbers) % numbers;
        u64::from(segments[(slot / NUMBERS_PER_SEGMENT) as usize]) * NUMBERS_PER_SEGMENT + slot % NUMBERS_PER_SEGMENT
    }

    pub(crate) fn draw_device(&self, draw: &mut Draw) -> usize {
        draw.weighted(&self.device_weights)
    }

    /// Where a customer who moves goes, and the month on whose first day.
    pub(crate) fn move_of(&self, city: usize, index: u32) -> Option<(usize, i32)> {
        if !planted::MOVES.has(index) {
            return None;
        }
        let mut draw = self.draw(stream::MOVE, [city as u64, u64::from(index), 0]);
        let cities = public::cities().len();
        let target = (city + 1 + draw.below(cities as u32 - 1) as usize) % cities;
        Some((target, draw.between(3, 9) as i32))
    }
}

/// Customers per city by weight, by largest remainder, ties by code.
fn share(customers: u32) -> Vec<u32> {
    let weights: Vec<u64> = public::cities().iter().map(|city| u64::from(city.weight)).collect();
    let total: u64 = weights.iter().sum();
    let parts = weights.iter().map(|weight| u64::from(customers) * weight);
    let mut shares: Vec<u32> = parts.clone().map(|part| (part / total) as u32).collect();
    let mut by_remainder: Vec<(u64, usize)> = parts.enumerate().map(|(city, part)| (part % total, city)).collect();
    by_remainder.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    let missing = customers - shares.iter().sum::<u32>();
    for (_, city) in by_remainder.into_iter().take(missing as usize) {
        shares[city] += 1;
    }
    shares
}
