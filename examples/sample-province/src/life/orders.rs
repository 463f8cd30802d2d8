use super::Life;
use crate::{Draw, Moment, calendar::Rhythm, places, public, world::World};

/// Something that a customer asked for within the window.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) at: Moment,
    pub(crate) operation: usize,
    pub(crate) product: Option<usize>,
    pub(crate) package: Option<usize>,
    pub(crate) handler: Handler,
    pub(crate) ticket: Option<u32>,
    /// Number of the order that it undoes.
    pub(crate) cancels: Option<u32>,
    /// Why it failed.
    pub(crate) reason: Option<&'static str>,
}

/// Over which channel, and by whom.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handler {
    pub(crate) channel: usize,
    pub(crate) agent: Option<String>,
    pub(crate) store: Option<String>,
}

/// Reasons in BOSS's codes, the likelier first.
const REASONS: [(&str, u32); 6] =
    [("BALANCE_LOW", 40), ("USER_SUSPENDED", 8), ("DUPLICATE", 18), ("MUTEX_PACKAGE", 14), ("SYSTEM_BUSY", 15), ("DEVICE_UNFIT", 5)];

impl Handler {
    pub(super) fn draw(world: &World, draw: &mut Draw, city: usize, youth: f64) -> Handler {
        let weights: Vec<u32> = world
            .catalogue
            .channels
            .iter()
            .map(|channel| {
                let taste = if channel.family == "electronic" { 1.0 + 0.5 * youth } else { 1.0 - 0.3 * youth };
                (f64::from(channel.weight) * taste.max(0.1)) as u32
            })
            .collect();
        let channel = draw.weighted(&weights);
        Handler::at(world, draw, city, channel)
    }

    /// Somebody of the channel in the city.
    pub(super) fn at(world: &World, draw: &mut Draw, city: usize, channel: usize) -> Handler {
        let city = &public::cities()[city];
        let (mut agent, mut store) = (None, None);
        match world.catalogue.channels[channel].id {
            "agent" => agent = Some(places::agent_id(city.code, 1 + draw.below(places::agents(city)))),
            "store" => store = Some(places::store_id(city.code, 1 + draw.below(places::own_stores(city)))),
            "star_store" => store = Some(places::star_store_id(city.code, 1 + draw.below(places::star_stores(city)))),
            "hotline" => agent = Some(places::hotline_id(1 + draw.below(places::HOTLINE_STAFF))),
            _ => {}
        }
        Handler { channel, agent, store }
    }
}

impl Order {
    pub(super) fn new(operation: usize, at: Moment, handler: Handler) -> Order {
        Order { at, operation, product: None, package: None, handler, ticket: None, cancels: None, reason: None }
    }
}

impl Life {
    /// Keeps an order that falls into the window and answers its number.
    pub(super) fn ask(&mut self, world: &World, order: Order) -> Option<u32> {
        if order.at.day < world.first_day() || order.at.day > world.last_day() {
            return None;
        }
        self.orders.push(order);
        u32::try_from(self.orders.len()).ok()
    }

    /// Some orders fail first and are asked for again.
    pub(super) fn ask_in_vain(&mut self, world: &World, draw: &mut Draw, order: &Order) {
        if !draw.chance(0.05) {
            return;
        }
        let weights = REASONS.map(|(_, weight)| weight);
        let mut failed = order.clone();
        failed.at = order.at.plus_seconds(-draw.between(40, 5400));
        failed.ticket = None;
        failed.reason = Some(REASONS[draw.weighted(&weights)].0);
        if failed.at.day >= self.person.joined_on {
            self.ask(world, failed);
        }
    }

    /// Payments, questions, passwords: what customers do apart from products.
    pub(super) fn draw_other_orders(&mut self, world: &World, draw: &mut Draw) {
        const OTHERS: [(&str, u32); 9] = [
            ("payment", 46),
            ("query", 18),
            ("balance", 16),
            ("itemised", 5),
            ("points", 4),
            ("password_change", 5),
            ("tariff_change", 2),
            ("replace_card", 3),
            ("transfer", 1),
        ];
        let weights = OTHERS.map(|(_, weight)| weight);
        let youth = self.person.youth();
        for month in 0..world.months {
            let count = draw.poisson(0.34 * self.person.activity.min(2.5));
            for _ in 0..count {
                let at = world.calendar.months()[month as usize].draw_moment(draw, Rhythm::Work);
                let operation = world.catalogue.operation(OTHERS[draw.weighted(&weights)].0);
                let mut handler = Handler::draw(world, draw, self.city_on(at.day), youth);
                if world.catalogue.operations[operation].manual_only {
                    handler = Handler::at(world, draw, self.city_on(at.day), world.catalogue.channel("store"));
                }
                if self.person.is_served_on(at.day) {
                    let mut order = Order::new(operation, at, handler);
                    if draw.chance(0.03) {
                        order.reason = Some(REASONS[draw.weighted(&weights[..6])].0);
                    }
                    self.ask(world, order);
                }
            }
        }
    }
}
