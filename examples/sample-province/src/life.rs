//! One customer from joining to leaving: everything that does not depend on the month, drawn at once from the seed and the place in the city.
//!
//! Start at [`Life::of`]. Invariant: nothing of a life depends on any other customer but the one whose number is taken over, and that one is found by
//! arithmetic; so cities can be written in any order, by any number of threads.

mod contacts;
mod enrolments;
mod moves;
mod orders;
mod person;
mod subscriptions;

use jiff::civil::Date;

use crate::{Moment, catalogue::Catalogue, moment::days_after, world::World};

pub(crate) use contacts::Ticket;
pub(crate) use enrolments::{Enrolment, Story, exclusive_days};
pub(crate) use orders::{Handler, Order};
pub(crate) use person::Person;
pub(crate) use subscriptions::Subscription;

/// A subscription in the sense of a service number's life, with all that it holds and asks for.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) person: Person,
    /// Products charged by use that this customer uses, and how much.
    pub(crate) by_use: Vec<(usize, f64)>,
    pub(crate) enrolments: Vec<Enrolment>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) orders: Vec<Order>,
    pub(crate) tickets: Vec<Ticket>,
}

impl Life {
    pub(crate) fn of(world: &World, city: usize, index: u32) -> Life {
        let mut draw = world.draw(crate::world::stream::LIFE, [city as u64, u64::from(index), 0]);
        let person = Person::draw(world, &mut draw, city, index);
        let mut life = Life { person, by_use: Vec::new(), enrolments: Vec::new(), subscriptions: Vec::new(), orders: Vec::new(), tickets: Vec::new() };
        life.draw_enrolments(world, &mut draw);
        life.draw_subscriptions(world, &mut draw);
        life.draw_by_use(world, &mut draw);
        life.draw_contacts(world, &mut draw);
        life.draw_other_orders(world, &mut draw);
        life.move_holdings(world);
        life
    }

    /// The city that facts of a day belong to.
    pub(crate) fn city_on(&self, day: Date) -> usize {
        match self.person.moved {
            Some((on, target)) if day >= on => target,
            _ => self.person.home,
        }
    }

    /// The last day on which anything can happen to this customer within the window.
    pub(crate) fn last_day(&self, world: &World) -> Date {
        match self.person.left_on {
            Some(left) => days_after(left, -1),
            None => world.last_day(),
        }
    }
}

/// Sorted by what billing and the platforms sort by: time, then the order of drawing.
pub(crate) fn end_of_day(day: Date) -> Moment {
    Moment::new(day, 86_399)
}

/// Whether a handset can do what a product needs.
pub(crate) fn is_able(catalogue: &Catalogue, product: usize, device: usize) -> bool {
    use crate::catalogue::Needs;
    let device = &crate::public::devices()[device];
    match catalogue.products[product].needs {
        Needs::Nothing => true,
        Needs::Mms => device.mms,
        Needs::Wap => device.wap,
        // The smartphones run their own programs, not Java ME; what was made for it came to them as well.
        Needs::Java => device.java || device.os != "proprietary",
        Needs::Streaming => device.streaming,
    }
}
