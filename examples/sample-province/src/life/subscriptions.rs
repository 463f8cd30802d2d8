use super::{Enrolment, Handler, Life, Order, Ticket, is_able};
use crate::{
    Draw, Moment,
    calendar::{Rhythm, draw_time},
    moment::{days_after, days_between},
    world::World,
};

/// A product that a customer holds (订购关系), alone or through a package.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    /// From 1, within the customer.
    pub(crate) number: u32,
    pub(crate) continues: Option<u32>,
    pub(crate) city: usize,
    pub(crate) product: usize,
    pub(crate) from: Moment,
    /// The first second without it.
    pub(crate) to: Option<Moment>,
    /// The number of the enrolment that brings it.
    pub(crate) enrolment: Option<u32>,
    /// How much it is used; 0 is silent.
    pub(crate) scale: f64,
}

impl Subscription {
    pub(crate) fn id(&self, customer: i64) -> String {
        format!("D{customer}{:03}", self.number)
    }
}

impl Life {
    pub(super) fn draw_subscriptions(&mut self, world: &World, draw: &mut Draw) {
        for place in 0..self.enrolments.len() {
            let enrolment = self.enrolments[place].clone();
            self.bring(world, &enrolment);
        }
        let device = self.person.device_on(world.last_day());
        for product in 0..world.catalogue.products.len() {
            let terms = &world.catalogue.products[product];
            if terms.monthly_fee_fen == 0 {
                continue;
            }
            let taste = libm::exp(f64::from(terms.youth_permille) / 1000.0 * self.person.youth()) * libm::pow(self.person.activity, 0.4);
            // Some order what their handset cannot do.
            let able = is_able(&world.catalogue, product, device) || draw.chance(0.4);
            if draw.chance((f64::from(terms.holders_permille) / 1000.0 * taste).min(0.8)) && able {
                self.subscribe(world, draw, product);
            }
        }
    }

    pub(super) fn draw_by_use(&mut self, world: &World, draw: &mut Draw) {
        let device = self.person.device_on(world.last_day());
        for (product, terms) in world.catalogue.products.iter().enumerate() {
            let taste = libm::exp(f64::from(terms.youth_permille) / 1000.0 * self.person.youth());
            let scale = draw.spread(self.person.activity, 0.4);
            if terms.monthly_fee_fen == 0
                && is_able(&world.catalogue, product, device)
                && draw.chance(f64::from(terms.holders_permille) / 1000.0 * taste.min(2.0))
            {
                self.by_use.push((product, scale));
            }
        }
    }

    /// The products of a package that one can hold.
    fn bring(&mut self, world: &World, enrolment: &Enrolment) {
        if enrolment.last_day() < enrolment.starts_on || enrolment.starts_on > world.last_day() {
            return;
        }
        for (product, scale) in &enrolment.scales {
            if world.catalogue.products[*product].monthly_fee_fen > 0 {
                let number = self.subscriptions.len() as u32 + 1;
                let from = if enrolment.starts_on == enrolment.at.day { enrolment.at } else { Moment::new(enrolment.starts_on, 0) };
                let to = enrolment.cancelled_at.unwrap_or(Moment::new(days_after(enrolment.ends_on, 1), 0));
                self.subscriptions.push(Subscription {
                    number,
                    continues: None,
                    city: enrolment.city,
                    product: *product,
                    from,
                    to: Some(to),
                    enrolment: Some(enrolment.number),
                    scale: *scale,
                });
            }
        }
    }

    fn subscribe(&mut self, world: &World, draw: &mut Draw, product: usize) {
        let last = self.last_day(world);
        let first = self.person.joined_on.max(days_after(world.first_day(), -720));
        let started = if draw.chance(0.55) {
            let length = days_between(first, world.first_day());
            days_after(first, if length > 0 { draw.between(0, length - 1) } else { 0 })
        } else {
            let first = first.max(world.first_day());
            days_after(first, draw.between(0, days_between(first, last).max(0)))
        };
        if started > last {
            return;
        }
        let mut from = draw_time(draw, started, Rhythm::Leisure);
        let is_new = started >= world.first_day();
        let assisted = is_new && draw.chance(0.1);
        let mut handler = Handler::draw(world, draw, self.city_on(started), self.person.youth());
        if assisted {
            handler = Handler::at(world, draw, self.city_on(started), world.catalogue.channel("hotline"));
            from = draw_time(draw, started, Rhythm::Work);
        }
        let to = self.draw_end(world, draw, from, assisted);
        let grade_is_low = world.catalogue.products[product].provider == Some("901005");
        let silent = draw.chance(if grade_is_low { 0.6 } else { 0.2 });
        let scale = draw.spread(self.person.activity, 0.5);
        let number = self.subscriptions.len() as u32 + 1;
        let left = self.person.left_on.map(|left| Moment::new(left, 0));
        self.subscriptions.push(Subscription {
            number,
            continues: None,
            city: self.city_on(started),
            product,
            from,
            to: to.or(left),
            enrolment: None,
            scale: if silent { 0.0 } else { scale },
        });
        self.order_subscription(world, draw, product, (from, to), handler, assisted);
    }

    /// When the customer cancels. Who was talked into it often regrets it within days.
    fn draw_end(&self, world: &World, draw: &mut Draw, from: Moment, assisted: bool) -> Option<Moment> {
        let last = self.last_day(world);
        let days = if assisted && draw.chance(0.3) {
            draw.between(0, 4)
        } else if draw.chance(0.3) {
            draw.between(1, 400)
        } else {
            return None;
        };
        let day = days_after(from.day, days);
        let end = draw_time(draw, day, Rhythm::Work);
        (day <= last && day >= world.first_day() && end > from).then_some(end)
    }

    fn order_subscription(&mut self, world: &World, draw: &mut Draw, product: usize, span: (Moment, Option<Moment>), handler: Handler, assisted: bool) {
        let mut order = Order::new(world.catalogue.operation("order"), span.0, handler);
        order.product = Some(product);
        if assisted {
            order.ticket = Some(self.note(Ticket::consulted(&order)));
        }
        self.ask_in_vain(world, draw, &order);
        let number = self.ask(world, order);
        if let Some(at) = span.1 {
            let handler = Handler::draw(world, draw, self.city_on(at.day), self.person.youth());
            let mut cancel = Order::new(world.catalogue.operation("cancel"), at, handler);
            cancel.product = Some(product);
            cancel.cancels = number;
            self.ask(world, cancel);
        }
    }
}
