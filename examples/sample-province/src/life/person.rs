use jiff::{ToSpan, civil::Date};

use crate::{
    Draw, Month,
    moment::{days_after, days_between},
    planted, public,
    world::World,
};

/// Who a customer is, and what of it changes when.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) id: i64,
    pub(crate) account: i64,
    pub(crate) index: u32,
    pub(crate) home: usize,
    pub(crate) moved: Option<(Date, usize)>,
    /// 1 全球通, 2 神州行, 3 动感地带, as BOSS codes them.
    pub(crate) brand: u8,
    pub(crate) gender: &'static str,
    pub(crate) birth: Date,
    pub(crate) age: i32,
    pub(crate) joined_on: Date,
    pub(crate) left_on: Option<Date>,
    /// Barred from the first day to before the second.
    pub(crate) suspended: Option<(Date, Date)>,
    pub(crate) msisdn: u64,
    /// Handsets, each from a day on; never empty.
    pub(crate) devices: Vec<(Date, usize)>,
    /// Tariffs by id, each from a day on; never empty.
    pub(crate) tariffs: Vec<(Date, &'static str)>,
    pub(crate) tier: &'static str,
    /// How much of everything this customer uses; the median is 1.
    pub(crate) activity: f64,
    /// Uses less before leaving, so that somebody could have seen it coming.
    pub(crate) fades: bool,
}

/// Numbers rest so long before somebody else gets them.
const REST_DAYS: i64 = 90;

impl Person {
    pub(super) fn draw(world: &World, draw: &mut Draw, home: usize, index: u32) -> Person {
        let code: i64 = public::cities()[home].code.parse().unwrap_or(440_000);
        let id = code * 100_000_000 + i64::from(index) + 1;
        let brand = [1, 2, 3][draw.weighted(&[24, 51, 25])];
        let age = age(draw, brand);
        let birth = days_after(Month::of(world.first_day()).plus(-12 * age).first_day(), draw.between(-200, 160));
        let activity = draw.spread(1.0, 0.55).min(6.0);
        let joined_on = joined_on(world, draw, home);
        let left_on = left_on(world, draw, joined_on, brand, activity);
        let (joined_on, left_on) = planted_life(world, home, index).unwrap_or((joined_on, left_on));
        let place = if planted::TAKES_A_NUMBER.has(index) { index - 1 } else { index };
        let mut person = Person {
            id,
            // One bill for a family: the first of six pays for the second as well.
            account: code * 100_000_000 + i64::from(if index % 6 == 1 { index - 1 } else { index }) + 1,
            index,
            home,
            moved: world.move_of(home, index).map(|(target, month)| (world.month(month).first_day(), target)),
            brand,
            gender: ["M", "F", "U"][draw.weighted(&[53, 44, 3])],
            birth,
            age,
            joined_on,
            left_on,
            suspended: None,
            msisdn: world.msisdn(home, u64::from(place)),
            devices: vec![(joined_on, world.draw_device(draw))],
            tariffs: vec![(joined_on, draw_tariff(world, draw, brand))],
            tier: "0",
            activity,
            fades: draw.chance(0.7),
        };
        let worth = activity * if brand == 1 { 1.6 } else { 1.0 };
        person.tier = match worth {
            worth if worth > 3.2 => "3",
            worth if worth > 1.9 => "2",
            worth if worth > 1.2 => "1",
            _ => "0",
        };
        person.draw_changes(world, draw);
        person
    }

    fn draw_changes(&mut self, world: &World, draw: &mut Draw) {
        let from = self.joined_on.max(world.first_day());
        let to = self.left_on.unwrap_or(world.last_day());
        let length = days_between(from, to);
        if length < 60 {
            return;
        }
        let some_day = |draw: &mut Draw| days_after(from, draw.between(10, length - 45));
        if draw.chance(0.16) {
            let day = some_day(draw);
            let device = world.draw_device(draw);
            self.devices.push((day, device));
        }
        if draw.chance(0.05) {
            let day = some_day(draw);
            let tariff = draw_tariff(world, draw, self.brand);
            if self.tariffs.first().is_some_and(|(_, first)| *first != tariff) {
                self.tariffs.push((day, tariff));
            }
        }
        if draw.chance(0.02) {
            let day = some_day(draw);
            self.suspended = Some((day, days_after(day, draw.between(5, 40))));
        }
    }

    pub(crate) fn device_on(&self, day: Date) -> usize {
        self.devices.iter().rev().find(|(from, _)| *from <= day).or(self.devices.first()).map_or(0, |(_, device)| *device)
    }

    pub(crate) fn tariff_on(&self, day: Date) -> &'static str {
        self.tariffs.iter().rev().find(|(from, _)| *from <= day).or(self.tariffs.first()).map_or("", |(_, tariff)| *tariff)
    }

    /// Has the number and may use it.
    pub(crate) fn is_served_on(&self, day: Date) -> bool {
        day >= self.joined_on && self.left_on.is_none_or(|left| day < left) && self.suspended.is_none_or(|(from, to)| day < from || day >= to)
    }

    /// How much younger than the middle, between -1.5 and 1.5.
    pub(crate) fn youth(&self) -> f64 {
        (f64::from(36 - self.age) / 14.0).clamp(-1.5, 1.5)
    }
}

fn age(draw: &mut Draw, brand: u8) -> i32 {
    let (middle, spread) = match brand {
        1 => (40.0, 9.0),
        2 => (43.0, 14.0),
        _ => (23.0, 4.5),
    };
    libm::round(middle + spread * draw.normal()).clamp(14.0, 82.0) as i32
}

fn joined_on(world: &World, draw: &mut Draw, home: usize) -> Date {
    // Cities grow by 6 to 17 % a year.
    let growth = 0.06 + (home * 7 % 12) as f64 / 100.0;
    let window = days_between(world.first_day(), world.last_day());
    if draw.chance(growth) {
        return days_after(world.first_day(), draw.between(0, window - 1));
    }
    // Most joined lately: the square of a uniform draw of nine years.
    let ago = draw.unit();
    days_after(world.first_day(), -1 - (ago * ago * 3285.0) as i64)
}

fn left_on(world: &World, draw: &mut Draw, joined_on: Date, brand: u8, activity: f64) -> Option<Date> {
    // A month's risk: prepaid customers leave sooner, busy ones later.
    let hazard = match brand {
        1 => 0.004,
        2 => 0.013,
        _ => 0.010,
    } / activity.clamp(0.5, 2.0);
    let days = -libm::log(1.0 - draw.unit()) / hazard * 30.4;
    let left = days_after(joined_on.max(world.first_day()), 20 + (days.min(4000.0)) as i64);
    (left <= world.last_day()).then_some(left)
}

/// Those whose number goes to the next customer leave in the second to fourth month; the next one joins when the number has rested. Who shall hold, move or
/// be billed through the window stays through it.
fn planted_life(world: &World, home: usize, index: u32) -> Option<(Date, Option<Date>)> {
    let pair = index - u32::from(planted::TAKES_A_NUMBER.has(index));
    let mut draw = world.draw(crate::world::stream::MOVE, [home as u64, u64::from(pair), 1]);
    let left = days_after(world.month(1).first_day(), draw.between(0, 80));
    let long_ago = world.first_day().saturating_sub(draw.between(13, 60).months());
    if planted::LEAVES_A_NUMBER.has(index) {
        return Some((long_ago, Some(left)));
    }
    if planted::TAKES_A_NUMBER.has(index) {
        return Some((days_after(left, REST_DAYS + draw.between(0, 60)), None));
    }
    let stays = [planted::MOVES, planted::HOLDS_EXCLUSIVE, planted::TAKES_AND_CANCELS, planted::IS_REFUNDED_MORE, planted::IS_ADJUSTED_LATE];
    let stays = stays.iter().any(|plan| plan.has(index)) || is_in_story(home, index);
    stays.then_some((long_ago, None))
}

fn is_in_story(home: usize, index: u32) -> bool {
    let city = public::cities()[home].code;
    (city == planted::FLOOD_CITY && planted::FLOODED.has(index)) || (city == planted::BURST_CITY && planted::BURSTS.has(index))
}

fn draw_tariff(world: &World, draw: &mut Draw, brand: u8) -> &'static str {
    let open = world.catalogue.tariffs.iter().filter(|tariff| tariff.brand == brand && tariff.to.is_none());
    let weights: Vec<u32> = open.clone().map(|tariff| tariff.weight).collect();
    let chosen = draw.weighted(&weights);
    open.map(|tariff| tariff.id).nth(chosen).unwrap_or("")
}
