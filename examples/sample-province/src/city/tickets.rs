use std::fmt::Write as _;

use super::{CityWriter, sendings};
use crate::{
    GenerateError, OnDay,
    life::{Life, Ticket},
    public,
    ticket_text::{self, TicketKind, TicketSubject},
};

/// The version of the taxonomy that tickets are coded with.
pub(crate) const TAXONOMY_VERSION: u32 = 1;

impl CityWriter<'_> {
    /// Sent when it comes; one that is closed in a later month is sent again with its end.
    pub(super) fn tickets(&mut self, life: &Life) -> Result<(), GenerateError> {
        let city = self.city;
        for ticket in life.tickets.iter().filter(|ticket| life.city_on(ticket.at.day) == city) {
            if ticket.at.day < self.world.first_day() || ticket.at.day > self.world.last_day() {
                continue;
            }
            let content = self.content(life, ticket);
            let (first, last) = sendings(self.world, ticket.at.day, ticket.closed_at.map(|at| at.day));
            let on_day = Some(OnDay { day: ticket.at.day, sums: &[] });
            if let Some(month) = first {
                self.ticket_row(life, ticket, &content, false);
                self.files.ticket[month].good(&self.text, on_day)?;
            }
            if let Some(month) = last {
                self.ticket_row(life, ticket, &content, true);
                let file = &mut self.files.ticket[month];
                if first.is_some() { file.replacing(&self.text, on_day)? } else { file.good(&self.text, on_day)? }
            }
            self.key.note_ticket(life, ticket);
        }
        Ok(())
    }

    fn content(&self, life: &Life, ticket: &Ticket) -> String {
        let catalogue = &self.world.catalogue;
        let product = ticket.product.unwrap_or_else(|| catalogue.product(if ticket.cause.code().starts_with("N2") { "P1003" } else { "P1001" }));
        let amount = ticket
            .package
            .map(|package| catalogue.packages[package].price_fen)
            .or(ticket.product.map(|product| catalogue.products[product].monthly_fee_fen))
            .filter(|amount| *amount > 0);
        let subject = TicketSubject {
            kind: ticket.kind,
            cause: ticket.cause,
            product_name_zh: catalogue.products[product].name_zh,
            package_name_zh: ticket.package.map(|package| catalogue.packages[package].name_zh),
            city_name_zh: public::cities()[self.city].name_zh,
            amount_fen: amount,
            day: ticket.at.day,
        };
        let mut draw = self.world.draw(crate::world::stream::MONTH, [life.person.home as u64, u64::from(life.person.index), 1_000 + u64::from(ticket.number)]);
        ticket_text::ticket(&mut || draw.bits(), &subject)
    }

    fn ticket_row(&mut self, life: &Life, ticket: &Ticket, content: &str, is_closed: bool) {
        let catalogue = &self.world.catalogue;
        let kind = match ticket.kind {
            TicketKind::Consult => "1",
            TicketKind::Complaint => "2",
            TicketKind::Praise => "3",
            TicketKind::Suggestion => "4",
        };
        let closed = ticket.closed_at.filter(|_| is_closed);
        let satisfied = ticket.satisfied.filter(|_| is_closed).map_or("", |yes| if yes { "1" } else { "0" });
        let (code, version) = if ticket.coded { (ticket.cause.code(), TAXONOMY_VERSION.to_string()) } else { ("", String::new()) };
        self.text.clear();
        let _ = write!(
            self.text,
            "{},{},{},{kind},{},{},{},{},{code},{version},\"{}\",{},{},{},{satisfied}",
            ticket_id(life.person.id, ticket.number),
            life.person.msisdn,
            ticket.at.local(),
            catalogue.channels[ticket.via].id,
            ticket.about.map_or("", |channel| catalogue.channels[channel].id),
            ticket.product.map_or("", |product| catalogue.products[product].id),
            ticket.package.map_or("", |package| catalogue.packages[package].id),
            content.replace('"', "\"\""),
            ticket.staff.as_deref().unwrap_or(""),
            closed.map_or(String::new(), |at| at.local()),
            closed.map_or("", |_| ticket.resolution),
        );
    }
}

pub(crate) fn ticket_id(customer: i64, number: u32) -> String {
    format!("T{customer}{number:02}")
}
