use std::fmt::Write as _;

use super::CityWriter;
use crate::{Draw, GenerateError, OnDay, calendar::Rhythm, life::Life, public};

/// Products that are sent to the handset: content class as the platforms code it, and deliveries that a month's extract holds of each holder.
const DELIVERED: [(&str, &str, f64); 9] = [
    ("P4001", "1", 2.4),
    ("P4002", "1", 1.6),
    ("P4003", "1", 1.2),
    ("P4010", "2", 0.8),
    ("P4017", "3", 1.5),
    ("P4008", "4", 0.8),
    ("P4004", "5", 0.7),
    ("P4007", "5", 0.8),
    ("P4011", "5", 0.6),
];
const MMS: &str = "1";
const STREAM: &str = "4";
/// The gateway's codes of what happens to anybody, the likelier first.
const MISHAPS: [(&str, &str, u32); 4] =
    [("EXPIRED", "ABSENT", 40), ("EXPIRED", "POWER_OFF", 30), ("REJECTD", "MEMORY_FULL", 20), ("UNDELIV", "GATEWAY_BUSY", 10)];
const MISHAP: f64 = 0.045;

impl CityWriter<'_> {
    /// What was sent to the handset: newspapers come to those who never read them as well.
    pub(super) fn deliveries(&mut self, life: &Life, month: i32, draw: &mut Draw) -> Result<(), GenerateError> {
        let days = self.world.month(month);
        let mut number = 0;
        for (id, class, mean) in DELIVERED {
            let product = self.world.catalogue.product(id);
            let Some(held) = life
                .subscriptions
                .iter()
                .find(|held| held.product == product && held.from.day <= days.last_day() && held.to.is_none_or(|to| to.day >= days.first_day()))
            else {
                continue;
            };
            if class != MMS && held.scale == 0.0 {
                continue;
            }
            for _ in 0..draw.poisson(mean) {
                let at = self.world.calendar.months()[month as usize].draw_moment(draw, Rhythm::Leisure);
                let (state, reason) = outcome(draw, class, life.person.device_on(at.day));
                let issue = draw.below(3);
                if held.from <= at && held.to.is_none_or(|to| at < to) && life.person.is_served_on(at.day) {
                    number += 1;
                    let device = &public::devices()[life.person.device_on(at.day)];
                    self.text.clear();
                    let _ = write!(
                        self.text,
                        "{{\"delivery_id\":\"L{}{month:02}{number:03}\",\"msisdn\":\"{}\",\"send_time\":{},\"product_id\":\"{id}\",\"content_id\":\"{id}-{}-{issue}\",\"content_type\":\"{class}\",\"terminal\":\"{}\",\"user_agent\":\"{}\",\"stat\":\"{state}\",\"err_code\":{}}}",
                        life.person.id,
                        life.person.msisdn,
                        at.epoch_millis(),
                        crate::compact_day(at.day),
                        device.model,
                        user_agent(device),
                        reason.map_or("null".to_owned(), |reason| format!("\"{reason}\"")),
                    );
                    self.files.delivery[month as usize].good(&self.text, Some(OnDay { day: at.day, sums: &[] }))?;
                    self.key.note_delivery(class == MMS, device, reason.is_some());
                }
            }
        }
        Ok(())
    }
}

fn outcome(draw: &mut Draw, class: &str, device: usize) -> (&'static str, Option<&'static str>) {
    let device = &public::devices()[device];
    let mishap = draw.chance(MISHAP);
    let (state, reason, _) = MISHAPS[draw.weighted(&MISHAPS.map(|(_, _, weight)| weight))];
    match class {
        MMS if !device.mms => ("UNDELIV", Some("MMS_UNSUPPORTED")),
        STREAM if !device.streaming => ("UNDELIV", Some("STREAM_UNSUPPORTED")),
        _ if mishap => (state, Some(reason)),
        _ => ("DELIVRD", None),
    }
}

fn user_agent(device: &public::Device) -> String {
    match device.os {
        "iOS" => "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148".to_owned(),
        "proprietary" => format!("{}/1.0 Profile/MIDP-2.0 Configuration/CLDC-1.1", device.model.replace(' ', "-")),
        _ => format!("Mozilla/5.0 (Linux; Android; {}) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36", device.model),
    }
}
