use std::fmt::Write as _;

use super::{CityWriter, sendings};
use crate::{
    GenerateError, OnDay, compact_day,
    life::{Enrolment, Life, Subscription},
};

impl CityWriter<'_> {
    pub(super) fn enrolments(&mut self, life: &Life) -> Result<(), GenerateError> {
        let city = self.city;
        for enrolment in life.enrolments.iter().filter(|held| held.city == city) {
            // The end of a cancelled one is known on the day; the agreed end is reached.
            let end = enrolment.cancelled_at.map_or(enrolment.ends_on, |at| at.day);
            let (first, last) = sendings(self.world, enrolment.at.day, Some(end));
            let on_day = Some(OnDay { day: enrolment.at.day, sums: &[] });
            if let Some(month) = first {
                self.enrolment_row(life, enrolment, false);
                self.files.enrolment[month].good(&self.text, on_day)?;
            }
            if let Some(month) = last {
                self.enrolment_row(life, enrolment, true);
                let file = &mut self.files.enrolment[month];
                if first.is_some() { file.replacing(&self.text, on_day)? } else { file.good(&self.text, on_day)? }
            }
        }
        Ok(())
    }

    fn enrolment_row(&mut self, life: &Life, enrolment: &Enrolment, is_over: bool) {
        let catalogue = &self.world.catalogue;
        let customer = life.person.id;
        let status = match (is_over, enrolment.moved_away, enrolment.cancelled_at) {
            (false, _, _) => "1",
            (true, true, _) => "4",
            (true, false, Some(_)) => "3",
            (true, false, None) => "2",
        };
        self.text.clear();
        let _ = write!(
            self.text,
            "{}|{}|{customer}|{}|{}|{}|{}|{}|{}|{status}|{}",
            enrolment.id(customer),
            enrolment.continues.map_or("\\N".to_owned(), |number| format!("E{customer}{number:02}")),
            enrolment.at.local(),
            catalogue.packages[enrolment.package].id,
            catalogue.channels[enrolment.handler.channel].id,
            enrolment.handler.agent.as_deref().unwrap_or("\\N"),
            compact_day(enrolment.starts_on),
            compact_day(enrolment.ends_on),
            enrolment.cancelled_at.filter(|_| is_over).map_or("\\N".to_owned(), |at| at.local()),
        );
    }

    pub(super) fn subscriptions(&mut self, life: &Life) -> Result<(), GenerateError> {
        let city = self.city;
        for subscription in life.subscriptions.iter().filter(|held| held.city == city) {
            // What ends at midnight is known to have ended on the day before.
            let end = subscription.to.map(|to| to.plus_seconds(-1).day.max(subscription.from.day));
            let (first, last) = sendings(self.world, subscription.from.day, end);
            if let Some(month) = first {
                self.subscription_row(life, subscription, false);
                self.files.subscription[month].good(&self.text, None)?;
            }
            if let Some(month) = last {
                self.subscription_row(life, subscription, true);
                let file = &mut self.files.subscription[month];
                if first.is_some() { file.replacing(&self.text, None)? } else { file.good(&self.text, None)? }
            }
        }
        Ok(())
    }

    fn subscription_row(&mut self, life: &Life, subscription: &Subscription, is_over: bool) {
        let product = &self.world.catalogue.products[subscription.product];
        let customer = life.person.id;
        let fields = [
            subscription.id(customer),
            subscription.continues.map_or(String::new(), |number| format!("D{customer}{number:03}")),
            life.person.msisdn.to_string(),
            product.provider.unwrap_or_default().to_owned(),
            product.service_code.to_owned(),
            product.id.to_owned(),
            subscription.from.compact(),
            subscription.to.filter(|_| is_over).map_or(String::new(), |to| to.compact()),
            if subscription.enrolment.is_some() { "1" } else { "0" }.to_owned(),
            subscription.enrolment.map_or(String::new(), |number| format!("E{customer}{number:02}")),
        ];
        self.text.clear();
        self.text.push_str(&fields.join("\u{1}"));
    }
}
