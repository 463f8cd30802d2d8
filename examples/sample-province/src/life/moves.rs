use super::{Life, end_of_day};
use crate::{Moment, moment::days_after, world::World};

impl Life {
    /// BOSS closes what a customer holds in the old city on the last day there and opens it again in the new one. Moves are on the first of a month, so that
    /// no month of an enrolment has use in two cities.
    pub(super) fn move_holdings(&mut self, world: &World) {
        let Some((on, target)) = self.person.moved else { return };
        if on > world.last_day() {
            return;
        }
        let opened = Moment::new(on, 0);
        let closed = end_of_day(days_after(on, -1));
        for place in 0..self.enrolments.len() {
            let number = self.enrolments.len() as u32 + 1;
            let old = &mut self.enrolments[place];
            if old.at.day >= on || old.last_day() < on {
                continue;
            }
            let mut new = old.clone();
            old.cancelled_at = Some(closed);
            old.moved_away = true;
            new.number = number;
            new.continues = Some(old.number);
            new.city = target;
            new.at = opened.plus_seconds(i64::from(number));
            new.starts_on = new.starts_on.max(on);
            self.enrolments.push(new);
        }
        for place in 0..self.subscriptions.len() {
            let number = self.subscriptions.len() as u32 + 1;
            let old = &mut self.subscriptions[place];
            if old.from.day >= on || old.to.is_some_and(|to| to <= opened) {
                continue;
            }
            let mut new = old.clone();
            old.to = Some(opened);
            new.number = number;
            new.continues = Some(old.number);
            new.city = target;
            new.from = opened;
            self.subscriptions.push(new);
        }
        // What was agreed in the old city and begins after the move begins in the new one.
        for held in self.subscriptions.iter_mut().filter(|held| held.from.day >= on) {
            held.city = target;
            let carried_on = self.enrolments.iter().find(|new| new.continues.is_some() && new.continues == held.enrolment);
            held.enrolment = carried_on.map(|new| new.number).or(held.enrolment);
        }
    }
}
