use std::fmt::Write as _;

use super::CityWriter;
use crate::{
    Draw, GenerateError, Moment, OnDay,
    calendar::Rhythm,
    catalogue::{Measure, Product, Source},
    life::Life,
    moment::{days_after, days_between},
    planted,
    world::World,
};

/// What a customer used of a product in a month, as the rows say.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) product: usize,
    pub(crate) events: i64,
    pub(crate) quantity: i64,
    pub(crate) seconds: i64,
    pub(crate) kb: i64,
    pub(crate) fee_fen: i64,
}

/// Why and when a customer may use a product in a month.
#[derive(Debug)]
struct Reason {
    product: usize,
    scale: f64,
    /// Days of the month, from 0; the last inclusive.
    from: usize,
    to: usize,
    /// A package pays for it.
    is_covered: bool,
}

/// Who pays by the package uses more of what would be dear otherwise.
const COVERED_DATA_FACTOR: f64 = 25.0;
const COVERED_VOICE_FACTOR: f64 = 1.5;

impl Used {
    pub(crate) fn of(&self, measure: Measure) -> i64 {
        match measure {
            Measure::Events => self.events,
            Measure::Quantity => self.quantity,
            Measure::Seconds => self.seconds,
            Measure::Kb => self.kb,
        }
    }
}

impl CityWriter<'_> {
    /// Writes the rows of a month and answers their sums by product, in the order of the catalogue.
    pub(super) fn usage(&mut self, life: &Life, month: i32, draw: &mut Draw) -> Result<Vec<Used>, GenerateError> {
        let mut sums = Vec::new();
        for reason in reasons(self.world, life, month) {
            let used = self.product_usage(life, month, &reason, draw)?;
            if used.events > 0 {
                sums.push(used);
            }
        }
        Ok(sums)
    }

    fn product_usage(&mut self, life: &Life, month: i32, reason: &Reason, draw: &mut Draw) -> Result<Used, GenerateError> {
        let world = self.world;
        let product = &world.catalogue.products[reason.product];
        let days = &world.calendar.months()[month as usize];
        let trend = libm::pow(1.0 + f64::from(product.trend_permille) / 1000.0, f64::from(month));
        let mood = draw.spread(1.0, 0.2) * fading(world, life, month);
        let scale = reason.scale * trend * mood;
        let tariff = world.catalogue.tariff(life.person.tariff_on(days.days[0]), month);
        let discount = tariff.filter(|_| product.id == "P1001").map_or(0, |tariff| tariff.voice_discount_permille);
        let mut chosen = 0_u32;
        for _ in 0..draw.poisson(product.typical.days * libm::pow(scale, 0.6)).min(40) {
            chosen |= 1 << days.draw_day(draw, rhythm(product));
        }
        let mut sum = Used { product: reason.product, ..Used::default() };
        for day in (reason.from..=reason.to).filter(|day| chosen & (1 << day) != 0) {
            let date = days.days[day];
            if !life.person.is_served_on(date) {
                continue;
            }
            let greetings = if product.id == "P1002" { f64::from(days.greetings_percent[day]) / 100.0 } else { 1.0 };
            let phase = planted::drop_phase(world, life, reason.product, month, day as u32);
            let dropped = life.person.brand == planted::DROP_BRAND && phase == Some(planted::Phase::During);
            if dropped && draw.chance(1.0 - planted::DROP_REMAINS * 2.0) {
                continue;
            }
            let row = day_row(product, reason, libm::pow(scale, 0.4) * greetings, discount, draw);
            let failed = if dropped { row.events - row.events / 2 } else { (0..row.events.min(12)).filter(|_| draw.chance(0.025)).count() as i64 };
            self.usage_row(life, product, month, day, &row, failed)?;
            self.key.note_drop(phase, life.person.brand, row.events, failed);
            sum.events += row.events;
            sum.quantity += row.quantity;
            sum.seconds += row.seconds;
            sum.kb += row.kb;
            sum.fee_fen += row.fee_fen;
        }
        Ok(sum)
    }

    fn usage_row(&mut self, life: &Life, product: &Product, month: i32, day: usize, row: &Used, failed: i64) -> Result<(), GenerateError> {
        let days = &self.world.calendar.months()[month as usize];
        let ok = row.events - failed;
        let sums = &[
            ("events", row.events),
            ("quantity", row.quantity),
            ("seconds", row.seconds),
            ("kb", row.kb),
            ("fee_fen", row.fee_fen),
            ("ok_events", ok),
            ("failed_events", failed),
        ];
        let on_day = Some(OnDay { day: days.days[day], sums });
        self.text.clear();
        let Used { events, quantity, seconds, kb, fee_fen, .. } = *row;
        match product.source {
            Source::Misc => {
                let _ = write!(
                    self.text,
                    "{}\u{1}{}\u{1}{}\u{1}{}\u{1}{}000000\u{1}{events}\u{1}{quantity}\u{1}{seconds}\u{1}{kb}\u{1}{}.{:02}\u{1}{ok}\u{1}{failed}",
                    life.person.msisdn,
                    product.provider.unwrap_or_default(),
                    product.service_code,
                    product.id,
                    days.texts[day],
                    fee_fen / 100,
                    fee_fen % 100,
                );
                let month = month as usize;
                let file = if month < self.files.usage.len() { &mut self.files.usage[month] } else { &mut self.files.usage_by_day[day] };
                file.good(&self.text, on_day)
            }
            Source::Base => {
                let at = Moment::new(days.days[day], 43_200).epoch_millis();
                let _ = write!(
                    self.text,
                    "{{\"msisdn\":\"{}\",\"product_id\":\"{}\",\"stat_time\":{at},\"events\":{events},\"items\":{quantity},\"duration_s\":{seconds},\"traffic_kb\":{kb},\"fee_fen\":{fee_fen},\"succ_events\":{ok},\"fail_events\":{failed}}}",
                    life.person.msisdn, product.id,
                );
                self.files.activity[month as usize].good(&self.text, on_day)
            }
        }
    }
}

fn day_row(product: &Product, reason: &Reason, factor: f64, voice_discount: i64, draw: &mut Draw) -> Used {
    let typical = product.typical;
    let uplift = match (reason.is_covered, product.id) {
        (true, "P1003") => COVERED_DATA_FACTOR,
        (true, "P1001") => COVERED_VOICE_FACTOR,
        _ => 1.0,
    };
    let mut amount = |mean: f64| if mean > 0.0 { libm::ceil(draw.spread(mean * factor * uplift, 0.5)) as i64 } else { 0 };
    let (seconds, kb) = (amount(typical.seconds), amount(typical.kb));
    let events = i64::from(draw.poisson(typical.events * factor)).max(1);
    let quantity = i64::from(draw.poisson(typical.quantity * factor));
    let fee_fen = match (product.monthly_fee_fen, reason.is_covered, product.unit) {
        (0, false, "event") => events * product.list_price_fen,
        (0, false, "item") => quantity * product.list_price_fen,
        (0, false, "second") => seconds * product.list_price_fen * (1000 - voice_discount) / 1000,
        (0, false, "kb") => kb * product.list_price_fen,
        _ => 0,
    };
    Used { product: reason.product, events, quantity, seconds, kb, fee_fen }
}

/// Each product once, with all that lets the customer use it.
fn reasons(world: &World, life: &Life, month: i32) -> Vec<Reason> {
    let period = world.month(month);
    let (first, last) = (period.first_day(), period.last_day());
    let index = |day: jiff::civil::Date| days_between(first, day.clamp(first, last)) as usize;
    let mut reasons: Vec<Reason> = Vec::new();
    let mut add = |product: usize, scale: f64, from: usize, to: usize, is_covered: bool| match reasons.iter_mut().find(|known| known.product == product) {
        Some(known) => {
            known.scale = known.scale.max(scale);
            known.from = known.from.min(from);
            known.to = known.to.max(to);
            known.is_covered |= is_covered;
        }
        None => reasons.push(Reason { product, scale, from, to, is_covered }),
    };
    for (product, scale) in &life.by_use {
        add(*product, *scale, 0, index(last), false);
    }
    for held in &life.subscriptions {
        let end = held.to.map_or(last, |to| if to.day > held.from.day { days_after(to.day, -1) } else { to.day });
        if held.from.day <= last && end >= first {
            add(held.product, held.scale, index(held.from.day), index(end), held.enrolment.is_some());
        }
    }
    for enrolment in life.enrolments.iter().filter(|held| held.is_in_force_in(period)) {
        for (product, scale) in &enrolment.scales {
            if world.catalogue.products[*product].monthly_fee_fen == 0 {
                add(*product, *scale, index(enrolment.starts_on), index(enrolment.last_day()), true);
            }
        }
    }
    reasons.retain(|reason| reason.scale > 0.0);
    reasons.sort_by_key(|reason| reason.product);
    reasons
}

/// Most who leave use less in the two months before.
fn fading(world: &World, life: &Life, month: i32) -> f64 {
    let to_the_end = life.person.left_on.map(|left| days_between(world.month(month).first_day(), left));
    if life.person.fades && to_the_end.is_some_and(|days| days < 75) { 0.4 } else { 1.0 }
}

fn rhythm(product: &Product) -> Rhythm {
    match product.category {
        "mail" | "payment" | "newspaper" | "data" => Rhythm::Work,
        _ => Rhythm::Leisure,
    }
}
