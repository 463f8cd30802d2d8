use std::fmt::Write as _;

use super::CityWriter;
use crate::{
    Draw, GenerateError, OnDay,
    calendar::Rhythm,
    life::{Life, Order},
};

/// The ring-back platform's codes of the channels it knows; what comes over another is taken as a text message.
const ACCESS_TYPES: [(&str, &str); 7] = [("web", "1"), ("wap", "2"), ("sms", "3"), ("ivr", "4"), ("ussd", "5"), ("hotline", "6"), ("store", "7")];
const TONES: u32 = 4_000;

impl CityWriter<'_> {
    /// Orders for tones are taken by their platform, all others by BOSS.
    pub(super) fn orders(&mut self, life: &Life) -> Result<(), GenerateError> {
        for (place, order) in life.orders.iter().enumerate() {
            let number = place as u32 + 1;
            if life.city_on(order.at.day) != self.city {
                continue;
            }
            let Ok(month) = usize::try_from(self.world.month_of(order.at.day)) else { continue };
            let on_day = Some(OnDay { day: order.at.day, sums: &[] });
            let is_tone = order.product.is_some_and(|product| self.world.catalogue.products[product].platform == "ringback");
            if is_tone {
                self.ringback_order_row(life, order, number);
                self.files.ringback_order[month].good(&self.text, on_day)?;
            } else {
                self.order_row(life, order, number);
                self.files.order[month].good(&self.text, on_day)?;
            }
        }
        Ok(())
    }

    fn order_row(&mut self, life: &Life, order: &Order, number: u32) {
        let catalogue = &self.world.catalogue;
        let customer = life.person.id;
        self.text.clear();
        let _ = write!(
            self.text,
            "{}|{customer}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}",
            order_id(customer, number),
            order.at.local(),
            catalogue.operations[order.operation].id,
            order.product.map_or("\\N", |product| catalogue.products[product].id),
            order.package.map_or("\\N", |package| catalogue.packages[package].id),
            catalogue.channels[order.handler.channel].id,
            order.handler.agent.as_deref().unwrap_or("\\N"),
            order.handler.store.as_deref().unwrap_or("\\N"),
            order.ticket.map_or("\\N".to_owned(), |ticket| super::tickets::ticket_id(customer, ticket)),
            order.cancels.map_or("\\N".to_owned(), |number| order_id(customer, number)),
            u8::from(order.reason.is_some()),
            order.reason.unwrap_or("\\N"),
        );
    }

    fn ringback_order_row(&mut self, life: &Life, order: &Order, number: u32) {
        let catalogue = &self.world.catalogue;
        let customer = life.person.id;
        let channel = catalogue.channels[order.handler.channel].id;
        let access = ACCESS_TYPES.iter().find(|(known, _)| *known == channel).map_or("3", |(_, code)| code);
        self.text.clear();
        let _ = write!(
            self.text,
            "{},{},{},{},{},{access},{},{},{}",
            order_id(customer, number),
            life.person.msisdn,
            order.at.local(),
            if catalogue.operations[order.operation].id == "cancel" { "2" } else { "1" },
            order.product.map_or("", |product| catalogue.products[product].id),
            order.cancels.map_or(String::new(), |number| order_id(customer, number)),
            u8::from(order.reason.is_some()),
            order.reason.unwrap_or(""),
        );
    }

    /// Who uses the tones sets some; who only pays for them sets none.
    pub(super) fn ringback_settings(&mut self, life: &Life, month: i32, draw: &mut Draw) -> Result<(), GenerateError> {
        let tone = self.world.catalogue.product("P2001");
        let days = self.world.month(month);
        let holds = life
            .subscriptions
            .iter()
            .find(|held| held.product == tone && held.scale > 0.0 && held.from.day <= days.first_day() && held.to.is_none_or(|to| to.day > days.last_day()));
        let Some(held) = holds else { return Ok(()) };
        for number in 0..draw.poisson(0.55 * held.scale.min(3.0)) {
            let at = self.world.calendar.months()[month as usize].draw_moment(draw, Rhythm::Leisure);
            // The square of a uniform draw: few tones are set by many.
            let rank = (draw.unit() * draw.unit() * f64::from(TONES)) as u32;
            let scope = ["0", "1", "2"][draw.weighted(&[70, 18, 12])];
            let action = ["1", "2"][draw.weighted(&[82, 18])];
            if life.person.is_served_on(at.day) {
                self.text.clear();
                let _ = write!(self.text, "R{}{month:02}{number},{},{},600902{rank:06},{scope},{action}", life.person.id, life.person.msisdn, at.local());
                self.files.ringback_setting[month as usize].good(&self.text, Some(OnDay { day: at.day, sums: &[] }))?;
            }
        }
        Ok(())
    }
}

fn order_id(customer: i64, number: u32) -> String {
    format!("O{customer}{number:03}")
}
