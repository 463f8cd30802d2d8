//! Writes one city: every customer of it once, all months at the same time, into files that stay open until the last customer.
//!
//! Start at [`write`]. Invariant: keeps one life, the open files and the answer key's counts; the longest of these grow with the number of files.

mod bills;
mod deliveries;
mod files;
mod holdings;
mod people;
mod requests;
mod sheet;
mod tickets;
mod usage;

use std::path::Path;

use crate::{FileTotal, GenerateError, answer_key::CityKey, life::Life, planted, portal, world::World};

pub(crate) use bills::{Line, bill_id};
use files::Files;
pub(crate) use tickets::{TAXONOMY_VERSION, ticket_id};
pub(crate) use usage::Used;

/// By BOSS's code, from 1.
pub(crate) const BRANDS: [&str; 3] = ["gotone", "easyown", "mzone"];

/// All of a city, and what is planted there.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) files: Vec<FileTotal>,
    pub(crate) key: CityKey,
}

/// # Errors
/// When the disk does not take it.
pub(crate) fn write(world: &World, city: usize, out: &Path) -> Result<Written, GenerateError> {
    let mut writer = CityWriter { world, city, files: Files::create(world, city, out)?, key: CityKey::create(city, out)?, text: String::with_capacity(512) };
    for index in 0..world.customers[city] {
        writer.customer(&Life::of(world, city, index))?;
    }
    for (home, customers) in world.customers.iter().enumerate() {
        for index in planted::MOVES.places(*customers) {
            if world.move_of(home, index).is_some_and(|(target, _)| target == city) {
                writer.customer(&Life::of(world, home, index))?;
            }
        }
    }
    let CityWriter { files, mut key, .. } = writer;
    key.finish()?;
    let mut files = files.finish()?;
    files.extend(portal::write(world, city, out)?);
    Ok(Written { files, key })
}

struct CityWriter<'a> {
    world: &'a World,
    city: usize,
    files: Files,
    key: CityKey,
    /// The row being made; kept to spare an allocation a row.
    text: String,
}

impl CityWriter<'_> {
    fn customer(&mut self, life: &Life) -> Result<(), GenerateError> {
        self.subscriber(life)?;
        self.number(life)?;
        self.enrolments(life)?;
        self.subscriptions(life)?;
        self.orders(life)?;
        self.tickets(life)?;
        self.key.note_life(self.world, life);
        for month in 0..self.world.months {
            let first = self.world.month(month).first_day();
            if life.city_on(first) == self.city {
                self.month(life, month)?;
            }
        }
        Ok(())
    }

    fn month(&mut self, life: &Life, month: i32) -> Result<(), GenerateError> {
        let person = &life.person;
        let days = self.world.month(month);
        if person.joined_on > days.last_day() || person.left_on.is_some_and(|left| left <= days.first_day()) {
            return Ok(());
        }
        let mut draw = self.world.draw(crate::world::stream::MONTH, [person.home as u64, u64::from(person.index), month as u64]);
        let used = self.usage(life, month, &mut draw)?;
        self.deliveries(life, month, &mut draw)?;
        self.ringback_settings(life, month, &mut draw)?;
        self.bill(life, month, &used, &mut draw)?;
        self.key.note_use(self.world, life, month, &used)
    }
}

/// The file in which a platform first tells of something, and the one in which it tells of its end: months of the window.
fn sendings(world: &World, from: jiff::civil::Date, to: Option<jiff::civil::Date>) -> (Option<usize>, Option<usize>) {
    let inside = |month: i32| usize::try_from(month).ok().filter(|_| month < world.months);
    let last = to.map(|to| world.month_of(to));
    if last.is_some_and(|last| last < 0) {
        return (None, None);
    }
    let first = inside(world.month_of(from).max(0));
    let last = last.and_then(inside);
    if first.is_none() || first == last { (None, last.filter(|_| first.is_some())) } else { (first, last) }
}
