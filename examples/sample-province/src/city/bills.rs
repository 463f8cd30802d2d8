use std::fmt::Write as _;

use super::{CityWriter, usage::Used};
use crate::{
    Draw, GenerateError, Moment, Month, OnDay,
    catalogue::Component,
    life::{Enrolment, Life, Story},
    planted,
    ticket_text::TicketKind,
};

/// A line of a bill, before it has its place.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) product: Option<usize>,
    /// The enrolment, by its number within the customer.
    pub(crate) enrolment: Option<u32>,
    pub(crate) component: Option<&'static str>,
    item: u32,
    pub(crate) amount_fen: i64,
    pub(crate) kind: Kind,
    adjusts: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Fee,
    Package,
    GiftCredit,
    Discount,
    Refund,
    Adjustment,
}

/// Bill items (账目项) in BOSS's codes: what they begin with.
mod item {
    pub(super) const RENT: u32 = 1001;
    pub(super) const USE: u32 = 2000;
    pub(super) const FUNCTION: u32 = 3000;
    pub(super) const PACKAGE: u32 = 4000;
    pub(super) const GIFT: u32 = 5001;
    pub(super) const DISCOUNT: u32 = 5002;
    pub(super) const REFUND: u32 = 6001;
    pub(super) const ADJUSTMENT: u32 = 6002;
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Fee => "fee",
            Kind::Package => "package",
            Kind::GiftCredit => "gift_credit",
            Kind::Discount => "discount",
            Kind::Refund => "refund",
            Kind::Adjustment => "adjustment",
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Kind::Fee => "01",
            Kind::Package => "02",
            Kind::GiftCredit => "03",
            Kind::Discount => "04",
            Kind::Refund => "05",
            Kind::Adjustment => "06",
        }
    }
}

impl Line {
    fn new(kind: Kind, item: u32, amount_fen: i64) -> Line {
        Line { product: None, enrolment: None, component: None, item, amount_fen, kind, adjusts: None }
    }

    fn product(self, product: usize) -> Line {
        Line { product: Some(product), ..self }
    }

    fn enrolment(self, enrolment: &Enrolment) -> Line {
        Line { enrolment: Some(enrolment.number), ..self }
    }
}

impl CityWriter<'_> {
    /// The bill of a month, posted on the second of the next; a late adjustment stands in a later file and names the month and line that it adjusts.
    pub(super) fn bill(&mut self, life: &Life, month: i32, used: &[Used], draw: &mut Draw) -> Result<(), GenerateError> {
        let mut lines = Vec::with_capacity(8);
        self.rent(life, month, &mut lines);
        for used in used.iter().filter(|used| used.fee_fen > 0) {
            lines.push(Line::new(Kind::Fee, item::USE + used.product as u32, used.fee_fen).product(used.product));
        }
        self.function_fees(life, month, &mut lines);
        let period = self.world.month(month);
        for enrolment in life.enrolments.iter().filter(|held| held.city == self.city && held.is_in_force_in(period)) {
            self.package_lines(enrolment, month, &mut lines);
        }
        self.refunds(life, month, &mut lines);
        for (place, line) in lines.iter().enumerate() {
            self.charge_row(life, month, month, place as u32 + 1, line)?;
        }
        self.late_adjustment(life, month, &lines, draw)
    }

    fn rent(&self, life: &Life, month: i32, lines: &mut Vec<Line>) {
        let tariff = life.person.tariff_on(self.world.month(month).first_day().max(life.person.joined_on));
        if let Some(terms) = self.world.catalogue.tariff(tariff, month).filter(|terms| terms.monthly_fee_fen > 0) {
            lines.push(Line::new(Kind::Fee, item::RENT, terms.monthly_fee_fen));
        }
    }

    /// Stand-alone subscriptions cost their fee in every month that they touch; a second one of the same product costs nothing more.
    fn function_fees(&self, life: &Life, month: i32, lines: &mut Vec<Line>) {
        let period = self.world.month(month);
        let (first, last) = (period.first_day(), period.last_day());
        for held in life.subscriptions.iter().filter(|held| held.enrolment.is_none() && held.city == self.city) {
            let is_held = held.from.day <= last && held.to.is_none_or(|to| to > Moment::new(first, 0));
            let item = item::FUNCTION + held.product as u32;
            if is_held && !lines.iter().any(|line| line.item == item) {
                lines.push(Line::new(Kind::Fee, item, self.world.catalogue.products[held.product].monthly_fee_fen).product(held.product));
            }
        }
    }

    /// One line of the package's price, or one a component that come to it; the credit that it gives; what its components would cost more alone.
    fn package_lines(&self, enrolment: &Enrolment, month: i32, lines: &mut Vec<Line>) {
        let package = &self.world.catalogue.packages[enrolment.package];
        let item = item::PACKAGE + enrolment.package as u32;
        let components: Vec<&Component> = package.valid_in(month).collect();
        let list_price: i64 = components.iter().map(|component| component.list_price_fen).sum();
        if package.split_lines && list_price > 0 {
            for (component, amount) in components.iter().zip(split(package.price_fen, &components)) {
                let line = Line::new(Kind::Package, item, amount).product(component.product).enrolment(enrolment);
                lines.push(Line { component: Some(component.id), ..line });
            }
        } else if package.price_fen > 0 {
            lines.push(Line::new(Kind::Package, item, package.price_fen).enrolment(enrolment));
        }
        // A move does not give the credit again.
        let since = self.world.month(month).since(Month::of(enrolment.agreed_start));
        if since < package.gift_months {
            lines.push(Line::new(Kind::GiftCredit, item::GIFT, package.gift_fen / i64::from(package.gift_months)).enrolment(enrolment));
        }
        if since == 0 && list_price > package.price_fen {
            lines.push(Line::new(Kind::Discount, item::DISCOUNT, list_price - package.price_fen).enrolment(enrolment));
        }
    }

    fn refunds(&self, life: &Life, month: i32, lines: &mut Vec<Line>) {
        let period = self.world.month(month);
        let catalogue = &self.world.catalogue;
        for ticket in life.tickets.iter().filter(|ticket| ticket.kind == TicketKind::Complaint && ticket.resolution == "3") {
            let is_settled = ticket.closed_at.is_some_and(|at| period.contains(at.day));
            if let (true, Some(product)) = (is_settled, ticket.product) {
                let fee = catalogue.products[product].monthly_fee_fen;
                if fee > 0 {
                    lines.push(Line::new(Kind::Refund, item::REFUND, -fee).product(product));
                }
            }
            let enrolment = life.enrolments.iter().find(|held| Some(held.package) == ticket.package && held.city == self.city && held.is_in_force_in(period));
            if let (true, Some(enrolment)) = (is_settled, enrolment) {
                let price = catalogue.packages[enrolment.package].price_fen;
                if price > 0 {
                    lines.push(Line::new(Kind::Refund, item::REFUND, -price / 2).enrolment(enrolment));
                }
            }
        }
        for enrolment in life.enrolments.iter().filter(|held| held.city == self.city && held.story == Story::RefundedMore) {
            let since = period.since(Month::of(enrolment.starts_on));
            if since == 2 && enrolment.is_in_force_in(period) {
                let amount = catalogue.packages[enrolment.package].price_fen * 5 / 2;
                lines.push(Line::new(Kind::Refund, item::REFUND, -amount).enrolment(enrolment));
            }
        }
    }

    fn late_adjustment(&mut self, life: &Life, month: i32, lines: &[Line], draw: &mut Draw) -> Result<(), GenerateError> {
        let is_planted = planted::IS_ADJUSTED_LATE.has(life.person.index) && (month == 3 || month == 6);
        let by_chance = draw.chance(0.0015);
        let months_later = draw.between(1, 2) as i32;
        let share = draw.between(-60, 30);
        if !(is_planted || by_chance) || lines.is_empty() || month + months_later >= self.world.months {
            return Ok(());
        }
        // A line of a package, if there is one: its value of the month must be counted anew.
        let place = lines.iter().position(|line| line.kind == Kind::Package).unwrap_or(0);
        let adjusted = &lines[place];
        let amount = adjusted.amount_fen * share / 100;
        let line = Line { kind: Kind::Adjustment, item: item::ADJUSTMENT, amount_fen: amount, adjusts: Some(place as u32 + 1), ..adjusted.clone() };
        let number = lines.len() as u32 + 1;
        self.charge_row(life, month, month + months_later, number, &line)?;
        self.key.note_adjustment(self.world, life, (month, month + months_later), number, &line);
        Ok(())
    }

    fn charge_row(&mut self, life: &Life, month: i32, posted_in: i32, number: u32, line: &Line) -> Result<(), GenerateError> {
        let customer = life.person.id;
        let period = self.world.month(month).period();
        let posted = Moment::new(self.world.month(posted_in + 1).day(1), (crate::mix(customer.cast_unsigned()) % 14_400) as u32);
        self.text.clear();
        let _ = write!(self.text, "{}|{number}|{customer}|{period}|{}|", bill_id(&period, customer), posted.local());
        match line.product {
            Some(product) => self.text.push_str(self.world.catalogue.products[product].id),
            None => self.text.push_str("\\N"),
        }
        match line.enrolment {
            Some(enrolment) => {
                let _ = write!(self.text, "|E{customer}{enrolment:02}|");
            }
            None => self.text.push_str("|\\N|"),
        }
        let _ = write!(self.text, "{}|{}|{}|{}|", line.component.unwrap_or("\\N"), line.item, line.amount_fen, line.kind.code());
        match line.adjusts {
            Some(adjusts) => {
                let _ = write!(self.text, "{adjusts}");
            }
            None => self.text.push_str("\\N"),
        }
        self.files.charge[posted_in as usize].good(&self.text, Some(OnDay { day: posted.day, sums: &[("amount_fen", line.amount_fen)] }))?;
        self.key.note_charge(month, line);
        Ok(())
    }
}

pub(crate) fn bill_id(period: &str, customer: i64) -> String {
    format!("B{period}{customer}")
}

/// Parts of an amount in proportion to the list prices, by largest remainder, ties by id. Invariant: they come to the amount.
fn split(amount: i64, components: &[&Component]) -> Vec<i64> {
    let total: i64 = components.iter().map(|component| component.list_price_fen).sum();
    let exact = |component: &Component| amount * component.list_price_fen;
    let mut parts: Vec<i64> = components.iter().map(|component| exact(component) / total).collect();
    let mut order: Vec<usize> = (0..components.len()).collect();
    order.sort_by_key(|place| (-(exact(components[*place]) % total), components[*place].id));
    let missing = amount - parts.iter().sum::<i64>();
    for place in order.into_iter().take(missing.max(0) as usize) {
        parts[place] += 1;
    }
    debug_assert_eq!(parts.iter().sum::<i64>(), amount);
    parts
}
