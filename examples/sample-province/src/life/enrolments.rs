use jiff::{ToSpan, civil::Date};

use super::{Handler, Life, Order, end_of_day};
use crate::{
    Draw, Moment, Month,
    calendar::{Rhythm, draw_time},
    catalogue::Package,
    moment::{days_after, days_between},
    places, planted, public,
    world::World,
};

/// A package that a customer took.
#[derive(Debug, Clone)]
pub(crate) struct Enrolment {
    /// From 1, within the customer.
    pub(crate) number: u32,
    /// The number of the one in the old city.
    pub(crate) continues: Option<u32>,
    pub(crate) city: usize,
    pub(crate) at: Moment,
    pub(crate) package: usize,
    pub(crate) handler: Handler,
    pub(crate) starts_on: Date,
    /// The first day of the first of those that it continues.
    pub(crate) agreed_start: Date,
    pub(crate) ends_on: Date,
    pub(crate) cancelled_at: Option<Moment>,
    /// Closed because the customer moved.
    pub(crate) moved_away: bool,
    /// How much of each product the customer uses because of it; 0 is silent.
    pub(crate) scales: Vec<(usize, f64)>,
    pub(crate) story: Story,
}

/// Which planted fact an enrolment is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    None,
    Flood,
    Arbitrage,
    RefundedMore,
}

impl Enrolment {
    /// The last day in force; before `starts_on` if it never was.
    pub(crate) fn last_day(&self) -> Date {
        self.cancelled_at.map_or(self.ends_on, |at| at.day.min(self.ends_on))
    }

    pub(crate) fn is_in_force_in(&self, month: Month) -> bool {
        self.last_day() >= self.starts_on && self.starts_on <= month.last_day() && self.last_day() >= month.first_day()
    }

    pub(crate) fn id(&self, customer: i64) -> String {
        format!("E{customer}{:02}", self.number)
    }
}

impl Life {
    pub(super) fn draw_enrolments(&mut self, world: &World, draw: &mut Draw) {
        let catalogue = &world.catalogue;
        for _ in 0..draw.poisson(1.5) {
            let month = draw.between(-11, i64::from(world.months) - 1) as i32;
            let weights: Vec<u32> = catalogue.packages.iter().map(|package| if self.may_take(package, month) { package.weight } else { 0 }).collect();
            let package = draw.weighted(&weights);
            let at = moment_in(world, draw, month);
            let handler = Handler::draw(world, draw, self.person.home, self.person.youth());
            if at.day < self.person.joined_on || at.day > self.last_day(world) {
                continue;
            }
            self.enrol(world, draw, package, at, handler, Story::None);
        }
        self.plant_enrolments(world, draw);
        self.enrolments.sort_by_key(|enrolment| enrolment.at);
        for (place, enrolment) in self.enrolments.iter_mut().enumerate() {
            enrolment.number = place as u32 + 1;
        }
        self.order_enrolments(world, draw);
    }

    fn may_take(&self, package: &Package, month: i32) -> bool {
        (package.brand == 0 || package.brand == self.person.brand) && package.sold_from <= month && month < package.sold_to
    }

    /// BOSS refuses what is held already or excluded by what is held.
    fn enrol(&mut self, world: &World, draw: &mut Draw, package: usize, at: Moment, handler: Handler, story: Story) {
        let mut enrolment = self.make_enrolment(world, draw, package, at, handler, story);
        if story == Story::None && draw.chance(0.09) {
            let length = days_between(at.day, enrolment.ends_on).max(4);
            let last = days_after(at.day, draw.between(3, length)).min(self.last_day(world));
            enrolment.cancelled_at = Some(draw_time(draw, last, Rhythm::Work)).filter(|cancelled| *cancelled > at);
        }
        if !self.enrolments.iter().any(|held| conflicts(world, held, &enrolment)) {
            self.enrolments.push(enrolment);
        }
    }

    fn make_enrolment(&self, world: &World, draw: &mut Draw, package: usize, at: Moment, handler: Handler, story: Story) -> Enrolment {
        let terms = &world.catalogue.packages[package];
        let starts_on = if terms.kind == "1" && story != Story::Arbitrage { Month::of(at.day).plus(1).first_day() } else { at.day };
        let ends_on = days_after(starts_on.saturating_add(terms.months.months()), -1);
        // Leaving ends everything.
        let cancelled_at = self.person.left_on.filter(|left| *left <= ends_on).map(|left| end_of_day(days_after(left, -1)).max(at));
        let mut scales: Vec<(usize, f64)> = Vec::new();
        for component in &terms.components {
            if !scales.iter().any(|(product, _)| *product == component.product) {
                let silent = match (component.role, story) {
                    (_, Story::Flood) => 0.95,
                    ("3", _) => 0.02,
                    ("2", _) => 0.42,
                    _ => 0.22,
                };
                let kind = draw.unit();
                let scale = draw.spread(1.0, 0.5);
                scales.push((
                    component.product,
                    if kind < silent {
                        0.0
                    } else if kind < silent + 0.15 {
                        scale * 0.15
                    } else {
                        scale * 1.4
                    },
                ));
            }
        }
        Enrolment {
            number: 0,
            continues: None,
            city: self.city_on(at.day),
            at,
            package,
            handler,
            starts_on,
            agreed_start: starts_on,
            ends_on,
            cancelled_at,
            moved_away: false,
            scales,
            story,
        }
    }

    fn plant_enrolments(&mut self, world: &World, draw: &mut Draw) {
        let (index, catalogue) = (self.person.index, &world.catalogue);
        if planted::HOLDS_EXCLUSIVE.has(index) {
            let relations: Vec<_> = catalogue
                .relations
                .iter()
                .filter(|rule| rule.exclusive && rule.to.is_none() && self.fits(world, rule.package) && self.fits(world, rule.other))
                .collect();
            let rule = *draw.pick(&relations);
            for package in [rule.package, rule.other] {
                let at = moment_in(world, draw, draw_month(world, index, 2, 4));
                let handler = Handler::at(world, draw, self.person.home, catalogue.channel("agent"));
                let enrolment = self.make_enrolment(world, draw, package, at, handler, Story::None);
                self.enrolments.push(enrolment);
            }
        }
        if planted::TAKES_AND_CANCELS.has(index) {
            let package = catalogue.package(planted::ARBITRAGE_PACKAGE);
            for month in [2, 4, 6, 8] {
                let at = moment_in(world, draw, month);
                let handler = Handler::at(world, draw, self.person.home, catalogue.channel("agent"));
                let mut enrolment = self.make_enrolment(world, draw, package, at, handler, Story::Arbitrage);
                let cancelled_on = days_after(at.day, draw.between(2, 9));
                enrolment.cancelled_at = Some(draw_time(draw, cancelled_on, Rhythm::Work));
                self.enrolments.push(enrolment);
            }
        }
        if planted::IS_REFUNDED_MORE.has(index) {
            let at = moment_in(world, draw, 1);
            let handler = Handler::draw(world, draw, self.person.home, 0.0);
            let package = catalogue.package("K012");
            let enrolment = self.make_enrolment(world, draw, package, at, handler, Story::RefundedMore);
            self.enrolments.retain(|held| !conflicts(world, held, &enrolment));
            self.enrolments.push(enrolment);
        }
        if public::cities()[self.person.home].code == planted::FLOOD_CITY && planted::FLOODED.has(index) {
            self.plant_flooded(world, draw);
        }
    }

    /// The agent works through a list in a few evenings; the customers never asked.
    fn plant_flooded(&mut self, world: &World, draw: &mut Draw) {
        let catalogue = &world.catalogue;
        let evening = 10 + self.person.index / 10 % 6;
        let at = Moment::new(world.month(planted::FLOOD_MONTH).day(evening), 20 * 3600 + draw.below(9000));
        let agent = places::agent_id(planted::FLOOD_CITY, planted::FLOOD_AGENT);
        let handler = Handler { channel: catalogue.channel("agent"), agent: Some(agent), store: None };
        let mut enrolment = self.make_enrolment(world, draw, catalogue.package(planted::FLOOD_PACKAGE), at, handler, Story::Flood);
        if draw.chance(0.45) {
            let cancelled_on = days_after(at.day, draw.between(5, 40));
            enrolment.cancelled_at = Some(draw_time(draw, cancelled_on, Rhythm::Work));
        }
        self.enrolments.retain(|held| held.package != enrolment.package);
        self.enrolments.push(enrolment);
    }

    fn fits(&self, world: &World, package: usize) -> bool {
        let brand = world.catalogue.packages[package].brand;
        brand == 0 || brand == self.person.brand
    }

    fn order_enrolments(&mut self, world: &World, draw: &mut Draw) {
        for place in 0..self.enrolments.len() {
            let enrolment = self.enrolments[place].clone();
            let mut order = Order::new(world.catalogue.operation("order"), enrolment.at, enrolment.handler.clone());
            order.package = Some(enrolment.package);
            self.ask_in_vain(world, draw, &order);
            let number = self.ask(world, order);
            let left = self.person.left_on.map(|left| days_after(left, -1));
            if let Some(at) = enrolment.cancelled_at.filter(|at| Some(at.day) != left) {
                let handler = Handler::draw(world, draw, self.city_on(at.day), self.person.youth());
                let mut cancel = Order::new(world.catalogue.operation("cancel"), at, handler);
                cancel.package = Some(enrolment.package);
                cancel.cancels = number;
                self.ask(world, cancel);
            }
        }
    }
}

/// The same package, or one that a rule excludes, on a common day.
fn conflicts(world: &World, held: &Enrolment, other: &Enrolment) -> bool {
    let overlap = held.starts_on <= other.last_day() && other.starts_on <= held.last_day();
    overlap && held.package == other.package || exclusive_days(world, held, other).is_some()
}

/// The first and last day on which both are in force and a rule excludes them.
pub(crate) fn exclusive_days(world: &World, one: &Enrolment, other: &Enrolment) -> Option<(Date, Date)> {
    let rule = world.catalogue.exclusive(one.package, other.package)?;
    let first = one.starts_on.max(other.starts_on).max(world.month(rule.from).first_day());
    let last = one.last_day().min(other.last_day());
    let last = rule.to.map_or(last, |to| last.min(days_after(world.month(to).first_day(), -1)));
    (first <= last).then_some((first, last))
}

fn draw_month(world: &World, index: u32, low: i64, high: i64) -> i32 {
    world.draw(crate::world::stream::MOVE, [u64::from(index), 2, 0]).between(low, high) as i32
}

/// Before the window any day is as likely as any other.
fn moment_in(world: &World, draw: &mut Draw, month: i32) -> Moment {
    match usize::try_from(month).ok().and_then(|month| world.calendar.months().get(month)) {
        Some(days) => days.draw_moment(draw, Rhythm::Work),
        None => {
            let day = world.month(month).day(draw.below(28));
            draw_time(draw, day, Rhythm::Work)
        }
    }
}
