use std::fmt::Write as _;

use jiff::civil::Date;

use super::{CityWriter, sendings};
use crate::{GenerateError, compact_day, life::Life, public};

impl CityWriter<'_> {
    /// One row for each time in which nothing of the description changed; sent when it begins and again when it ends.
    pub(super) fn subscriber(&mut self, life: &Life) -> Result<(), GenerateError> {
        let person = &life.person;
        let mut changes: Vec<Date> = vec![person.joined_on];
        changes.extend(person.devices.iter().map(|(from, _)| *from));
        changes.extend(person.tariffs.iter().map(|(from, _)| *from));
        changes.extend(person.moved.map(|(on, _)| on));
        changes.extend(person.suspended.iter().flat_map(|(from, to)| [*from, *to]));
        let left = person.left_on.filter(|left| *left <= self.world.last_day());
        changes.retain(|day| *day <= self.world.last_day() && left.is_none_or(|left| *day < left));
        changes.extend(left);
        changes.sort_unstable();
        changes.dedup();
        for (place, from) in changes.iter().enumerate() {
            let to = changes.get(place + 1).copied();
            if life.city_on(*from) != self.city {
                continue;
            }
            let (first, last) = sendings(self.world, *from, to);
            if let Some(month) = first {
                self.subscriber_row(life, *from, None);
                self.files.subscriber[month].good(&self.text, None)?;
            }
            if let Some(month) = last {
                self.subscriber_row(life, *from, to);
                let file = &mut self.files.subscriber[month];
                if first.is_some() { file.replacing(&self.text, None)? } else { file.good(&self.text, None)? }
            }
        }
        Ok(())
    }

    fn subscriber_row(&mut self, life: &Life, from: Date, to: Option<Date>) {
        let person = &life.person;
        let has_left = person.left_on == Some(from);
        let is_suspended = person.suspended.is_some_and(|(start, end)| start <= from && from < end);
        let status = if has_left {
            "3"
        } else if is_suspended {
            "2"
        } else {
            "1"
        };
        let left = if has_left { compact_day(from) } else { "\\N".to_owned() };
        let device = public::devices()[person.device_on(from)].model;
        self.text.clear();
        let _ = write!(
            self.text,
            "{}|{}|{}|{}|{}|{}|{left}|{status}|{}|{}|{device}|{}|{}",
            person.id,
            person.account,
            person.brand,
            person.gender,
            compact_day(person.birth),
            compact_day(person.joined_on),
            person.tariff_on(from),
            person.tier,
            compact_day(from),
            to.map_or("\\N".to_owned(), compact_day),
        );
    }

    pub(super) fn number(&mut self, life: &Life) -> Result<(), GenerateError> {
        let person = &life.person;
        let moved = person.moved.map(|(on, _)| on).filter(|on| *on <= self.world.last_day());
        let (from, to) = match moved {
            Some(on) if self.city == person.home => (person.joined_on, Some(on)),
            Some(on) => (on, person.left_on),
            None => (person.joined_on, person.left_on),
        };
        let (first, last) = sendings(self.world, from, to);
        let open = format!("{}|{}|{}|", person.msisdn, person.id, compact_day(from));
        if let Some(month) = first {
            self.files.number[month].good(&format!("{open}\\N"), None)?;
        }
        if let (Some(month), Some(to)) = (last, to) {
            let closed = format!("{open}{}", compact_day(to));
            let file = &mut self.files.number[month];
            if first.is_some() { file.replacing(&closed, None)? } else { file.good(&closed, None)? }
        }
        Ok(())
    }
}
