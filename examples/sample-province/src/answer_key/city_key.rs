use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use super::silence::Silence;
use crate::{
    GenerateError,
    city::{BRANDS, Line, Used, bill_id, ticket_id},
    life::{Enrolment, Life, Story, Ticket, exclusive_days},
    planted::{self, Phase},
    public::{self, Device},
    world::World,
};

/// What was planted in one city.
#[derive(Debug)]
pub(crate) struct CityKey {
    city: usize,
    pub(super) silence: Silence,
    pub(super) exclusive: Vec<ExclusivePair>,
    pub(super) moves: Vec<Moved>,
    pub(super) reused: Vec<ReusedNumber>,
    pub(super) flood: Vec<String>,
    pub(super) arbitrage: Vec<Arbitrage>,
    pub(super) refunded: Vec<String>,
    pub(super) burst: Vec<String>,
    /// By brand: events and failures before and while the use was down.
    pub(super) drop: BTreeMap<&'static str, Drop>,
    pub(super) adjustments: Vec<Adjustment>,
    /// Messages by model: sent and failed.
    pub(super) deliveries: BTreeMap<&'static str, (u64, u64)>,
    /// By month and kind.
    pub(super) charges: BTreeMap<(i32, String), i64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ExclusivePair {
    city: &'static str,
    customer_id: i64,
    enrolment_id: String,
    package_id: &'static str,
    other_enrolment_id: String,
    other_package_id: &'static str,
    first_day: String,
    last_day: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Moved {
    customer_id: i64,
    from_city: &'static str,
    to_city: &'static str,
    on: String,
    /// Old and new.
    enrolments: Vec<(String, String)>,
    subscriptions: Vec<(String, String)>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ReusedNumber {
    city: &'static str,
    msisdn: String,
    left_by: i64,
    taken_by: i64,
    taken_on: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Arbitrage {
    city: &'static str,
    customer_id: i64,
    package_id: &'static str,
    enrolments: Vec<String>,
    gift_credit_fen: i64,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct Drop {
    events_before: i64,
    failed_before: i64,
    events_during: i64,
    failed_during: i64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Adjustment {
    city: &'static str,
    bill_id: String,
    line_no: u32,
    month: String,
    sent_in: String,
    enrolment_id: Option<String>,
    amount_fen: i64,
}

impl CityKey {
    pub(crate) fn create(city: usize, out: &Path) -> Result<CityKey, GenerateError> {
        Ok(CityKey {
            city,
            silence: Silence::create(public::cities()[city].code, out)?,
            exclusive: Vec::new(),
            moves: Vec::new(),
            reused: Vec::new(),
            flood: Vec::new(),
            arbitrage: Vec::new(),
            refunded: Vec::new(),
            burst: Vec::new(),
            drop: BTreeMap::new(),
            adjustments: Vec::new(),
            deliveries: BTreeMap::new(),
            charges: BTreeMap::new(),
        })
    }

    pub(super) fn code(&self) -> &'static str {
        public::cities()[self.city].code
    }

    pub(crate) fn finish(&mut self) -> Result<(), GenerateError> {
        self.silence.finish()
    }

    pub(crate) fn note_life(&mut self, world: &World, life: &Life) {
        self.note_exclusive(world, life);
        let person = &life.person;
        let home = person.home == self.city;
        let package = |enrolment: &Enrolment| world.catalogue.packages[enrolment.package].id;
        let city = self.city;
        let of_story = |story: Story| life.enrolments.iter().filter(move |held| held.story == story && held.city == city);
        let ids = |story: Story| of_story(story).map(|held| held.id(person.id)).collect::<Vec<_>>();
        let flood = ids(Story::Flood);
        let refunded = ids(Story::RefundedMore);
        let taken = ids(Story::Arbitrage);
        if let Some(first) = of_story(Story::Arbitrage).next() {
            let gift = world.catalogue.packages[first.package].gift_fen * taken.len() as i64;
            let arbitrage = Arbitrage { city: self.code(), customer_id: person.id, package_id: package(first), enrolments: taken, gift_credit_fen: gift };
            self.arbitrage.push(arbitrage);
        }
        self.flood.extend(flood);
        self.refunded.extend(refunded);
        if let Some((on, target)) = person.moved.filter(|(on, _)| home && *on <= world.last_day()) {
            let enrolments = life.enrolments.iter().filter_map(|new| Some((format!("E{}{:02}", person.id, new.continues?), new.id(person.id)))).collect();
            let subscriptions = life.subscriptions.iter().filter_map(|new| Some((format!("D{}{:03}", person.id, new.continues?), new.id(person.id)))).collect();
            let to_city = public::cities()[target].code;
            self.moves.push(Moved { customer_id: person.id, from_city: self.code(), to_city, on: on.to_string(), enrolments, subscriptions });
        }
        if home && planted::TAKES_A_NUMBER.has(person.index) && person.joined_on <= world.last_day() {
            self.reused.push(ReusedNumber {
                city: self.code(),
                msisdn: person.msisdn.to_string(),
                left_by: person.id - 1,
                taken_by: person.id,
                taken_on: person.joined_on.to_string(),
            });
        }
    }

    /// Every pair with a common day on which a rule excludes it, whether it was planted or came about.
    fn note_exclusive(&mut self, world: &World, life: &Life) {
        let sent = |held: &&Enrolment| held.city == self.city && held.cancelled_at.map_or(held.ends_on, |at| at.day) >= world.first_day();
        let held: Vec<&Enrolment> = life.enrolments.iter().filter(sent).collect();
        for (place, one) in held.iter().enumerate() {
            for other in &held[place + 1..] {
                if let Some((first, last)) = exclusive_days(world, one, other) {
                    self.exclusive.push(ExclusivePair {
                        city: public::cities()[self.city].code,
                        customer_id: life.person.id,
                        enrolment_id: one.id(life.person.id),
                        package_id: world.catalogue.packages[one.package].id,
                        other_enrolment_id: other.id(life.person.id),
                        other_package_id: world.catalogue.packages[other.package].id,
                        first_day: first.to_string(),
                        last_day: last.to_string(),
                    });
                }
            }
        }
    }

    pub(crate) fn note_ticket(&mut self, life: &Life, ticket: &Ticket) {
        if ticket.in_burst {
            self.burst.push(ticket_id(life.person.id, ticket.number));
        }
    }

    pub(crate) fn note_drop(&mut self, phase: Option<Phase>, brand: u8, events: i64, failed: i64) {
        let Some(phase) = phase else { return };
        let drop = self.drop.entry(BRANDS[usize::from(brand) - 1]).or_default();
        let (sum, failures) = match phase {
            Phase::Before => (&mut drop.events_before, &mut drop.failed_before),
            Phase::During => (&mut drop.events_during, &mut drop.failed_during),
        };
        *sum += events;
        *failures += failed;
    }

    pub(crate) fn note_delivery(&mut self, is_mms: bool, device: &Device, failed: bool) {
        if is_mms {
            let (sent, failures) = self.deliveries.entry(device.model).or_default();
            *sent += 1;
            *failures += u64::from(failed);
        }
    }

    pub(crate) fn note_adjustment(&mut self, world: &World, life: &Life, months: (i32, i32), number: u32, line: &Line) {
        let customer = life.person.id;
        self.adjustments.push(Adjustment {
            city: self.code(),
            bill_id: bill_id(&world.month(months.0).period(), customer),
            line_no: number,
            month: world.month(months.0).to_string(),
            sent_in: world.month(months.1).to_string(),
            enrolment_id: line.enrolment.map(|enrolment| format!("E{customer}{enrolment:02}")),
            amount_fen: line.amount_fen,
        });
    }

    pub(crate) fn note_charge(&mut self, month: i32, line: &Line) {
        let scope = if line.enrolment.is_some() { "enrolment" } else { "other" };
        *self.charges.entry((month, format!("{}.{scope}", line.kind.name()))).or_default() += line.amount_fen;
    }

    pub(crate) fn note_use(&mut self, world: &World, life: &Life, month: i32, used: &[Used]) -> Result<(), GenerateError> {
        self.silence.judge(world, life, self.city, month, used)
    }
}
