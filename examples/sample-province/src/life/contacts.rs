use super::{Life, Order, enrolments::Story};
use crate::{
    Draw, Moment,
    calendar::{Rhythm, draw_time},
    moment::days_after,
    places, planted, public,
    ticket_text::{Cause, TicketKind},
    world::World,
};

/// A consultation or complaint.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    /// From 1, within the customer.
    pub(crate) number: u32,
    pub(crate) at: Moment,
    pub(crate) kind: TicketKind,
    pub(crate) via: usize,
    pub(crate) about: Option<usize>,
    pub(crate) product: Option<usize>,
    pub(crate) package: Option<usize>,
    pub(crate) cause: Cause,
    /// Agents leave a part uncoded.
    pub(crate) coded: bool,
    pub(crate) staff: Option<String>,
    pub(crate) closed_at: Option<Moment>,
    /// BOSS's code of how it was settled.
    pub(crate) resolution: &'static str,
    pub(crate) satisfied: Option<bool>,
    pub(crate) in_burst: bool,
}

const PRODUCT_CAUSES: [(Cause, u32); 8] = [
    (Cause::OpenedWithoutConsent, 22),
    (Cause::NotDelivered, 12),
    (Cause::WrongRingbackTone, 5),
    (Cause::ServiceDoesNotWork, 14),
    (Cause::UnknownCharge, 24),
    (Cause::ChargedTwice, 7),
    (Cause::ChargedAfterCancelling, 9),
    (Cause::CannotCancel, 7),
];
const PACKAGE_CAUSES: [(Cause, u32); 7] = [
    (Cause::EnrolledByAgent, 8),
    (Cause::NotAsAdvertised, 18),
    (Cause::GiftNotReceived, 22),
    (Cause::AllowanceFallsShort, 18),
    (Cause::PackageChargedWrongly, 16),
    (Cause::RenewedWithoutAsking, 8),
    (Cause::CannotChangePackage, 10),
];
const NETWORK_CAUSES: [(Cause, u32); 7] = [
    (Cause::NoCoverage, 22),
    (Cause::CallsDrop, 14),
    (Cause::SlowNetwork, 20),
    (Cause::NoData, 14),
    (Cause::UnwantedMessages, 18),
    (Cause::MessagesNotDelivered, 8),
    (Cause::RoamingCharge, 8),
];
const SERVICE_CAUSES: [(Cause, u32); 6] = [
    (Cause::PortalPageDoesNotOpen, 16),
    (Cause::CannotLogIn, 20),
    (Cause::PoorAttitude, 12),
    (Cause::LongWait, 18),
    (Cause::PointsExchange, 12),
    (Cause::TopUpNotCredited, 26),
];

impl Ticket {
    fn new(world: &World, draw: &mut Draw, at: Moment, kind: TicketKind, cause: Cause) -> Ticket {
        let hotline = world.catalogue.channel("hotline");
        let via = [hotline, world.catalogue.channel("web"), world.catalogue.channel("store"), world.catalogue.channel("sms")][draw.weighted(&[80, 10, 7, 3])];
        let is_open = draw.chance(0.03);
        let hours = draw.spread(if kind == TicketKind::Complaint { 30.0 } else { 0.4 }, 0.9);
        Ticket {
            number: 0,
            at,
            kind,
            via,
            about: None,
            product: None,
            package: None,
            cause,
            coded: draw.chance(0.72),
            staff: (via == hotline).then(|| places::hotline_id(1 + draw.below(places::HOTLINE_STAFF))),
            closed_at: (!is_open).then(|| at.plus_seconds((hours * 3600.0).min(2_000_000.0) as i64 + 60)),
            resolution: match kind {
                TicketKind::Complaint => ["1", "2", "3", "4", "5"][draw.weighted(&[38, 22, 20, 14, 6])],
                _ => "1",
            },
            satisfied: draw.chance(0.4).then(|| draw.chance(if kind == TicketKind::Complaint { 0.62 } else { 0.88 })),
            in_burst: false,
        }
    }

    /// The call in which an agent ordered for the customer, three minutes before.
    pub(super) fn consulted(order: &Order) -> Ticket {
        Ticket {
            number: 0,
            // Never the day before, when the number may have been somebody else's.
            at: Moment::new(order.at.day, order.at.second.saturating_sub(180)),
            kind: TicketKind::Consult,
            via: order.handler.channel,
            about: None,
            product: order.product,
            package: order.package,
            cause: Cause::ServiceDoesNotWork,
            coded: true,
            staff: order.handler.agent.clone(),
            closed_at: Some(order.at.plus_seconds(120)),
            resolution: "1",
            satisfied: None,
            in_burst: false,
        }
    }
}

impl Life {
    /// Keeps a ticket and answers its number.
    pub(super) fn note(&mut self, mut ticket: Ticket) -> u32 {
        ticket.number = self.tickets.len() as u32 + 1;
        let number = ticket.number;
        self.tickets.push(ticket);
        number
    }

    pub(super) fn draw_contacts(&mut self, world: &World, draw: &mut Draw) {
        for month in 0..world.months {
            for _ in 0..draw.poisson(0.022 * self.person.activity.min(3.0)) {
                let at = world.calendar.months()[month as usize].draw_moment(draw, Rhythm::Work);
                let ticket = self.draw_ticket(world, draw, at);
                if self.person.is_served_on(at.day) {
                    self.note(ticket);
                }
            }
        }
        self.plant_tickets(world, draw);
    }

    fn draw_ticket(&self, world: &World, draw: &mut Draw, at: Moment) -> Ticket {
        let kind = [TicketKind::Consult, TicketKind::Complaint, TicketKind::Praise, TicketKind::Suggestion][draw.weighted(&[46, 46, 3, 5])];
        let packages: Vec<usize> =
            self.enrolments.iter().filter(|held| held.starts_on <= at.day && at.day <= held.last_day()).map(|held| held.package).collect();
        let products: Vec<usize> =
            self.subscriptions.iter().filter(|held| held.from <= at && held.to.is_none_or(|to| at < to)).map(|held| held.product).collect();
        let weights = [if products.is_empty() { 0 } else { 42 }, if packages.is_empty() { 0 } else { 24 }, 22, 18];
        let causes: &[(Cause, u32)] = [&PRODUCT_CAUSES[..], &PACKAGE_CAUSES, &NETWORK_CAUSES, &SERVICE_CAUSES][draw.weighted(&weights)];
        let cause = causes[draw.weighted(&causes.iter().map(|(_, weight)| *weight).collect::<Vec<_>>())].0;
        let mut ticket = Ticket::new(world, draw, at, kind, cause);
        match cause.code().as_bytes().first() {
            Some(b'V') if cause == Cause::WrongRingbackTone => ticket.product = Some(world.catalogue.product("P2001")),
            Some(b'V') => ticket.product = Some(*draw.pick(&products)),
            Some(b'P') => ticket.package = Some(*draw.pick(&packages)),
            Some(b'S') => ticket.about = about(world, cause),
            _ => {}
        }
        ticket
    }

    fn plant_tickets(&mut self, world: &World, draw: &mut Draw) {
        let index = self.person.index;
        let city = public::cities()[self.person.home].code;
        if city == planted::BURST_CITY && planted::BURSTS.has(index) {
            let first = world.month(planted::BURST_MONTH).day(planted::BURST_FIRST_DAY);
            let day = days_after(first, i64::from(draw.below(planted::BURST_DAYS)));
            let at = draw_time(draw, day, Rhythm::Work);
            let mut ticket = Ticket::new(world, draw, at, TicketKind::Complaint, Cause::UnknownCharge);
            ticket.product = Some(world.catalogue.product(planted::BURST_PRODUCT));
            ticket.in_burst = true;
            self.note(ticket);
        }
        if planted::TAKES_A_NUMBER.has(index) {
            let at = draw_time(draw, days_after(self.person.joined_on, 3), Rhythm::Work);
            if at.day <= self.last_day(world) {
                let ticket = Ticket::new(world, draw, at, TicketKind::Complaint, Cause::ReusedNumber);
                self.note(ticket);
            }
        }
        let flooded = self.enrolments.iter().find(|held| held.story == Story::Flood).map(|held| (held.at, held.package));
        if let Some((at, package)) = flooded.filter(|_| draw.chance(0.2)) {
            let day = days_after(at.day, draw.between(4, 30));
            let at = draw_time(draw, day, Rhythm::Work);
            if at.day <= self.last_day(world) {
                let mut ticket = Ticket::new(world, draw, at, TicketKind::Complaint, Cause::EnrolledByAgent);
                ticket.package = Some(package);
                ticket.about = Some(world.catalogue.channel("agent"));
                self.note(ticket);
            }
        }
    }
}

fn about(world: &World, cause: Cause) -> Option<usize> {
    match cause {
        Cause::PortalPageDoesNotOpen | Cause::CannotLogIn => Some(world.catalogue.channel("web")),
        Cause::PoorAttitude | Cause::LongWait => Some(world.catalogue.channel("store")),
        _ => None,
    }
}
