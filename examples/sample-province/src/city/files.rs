use std::path::Path;

use super::sheet::Sheet;
use crate::{Draw, Feed, FeedFile, FileTotal, GenerateError, compact_day, feeds, planted, public, world::World};

/// Every file of a city, open. By month; use of the last month by day.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) subscriber: Vec<Sheet>,
    pub(super) number: Vec<Sheet>,
    pub(super) enrolment: Vec<Sheet>,
    pub(super) order: Vec<Sheet>,
    pub(super) charge: Vec<Sheet>,
    pub(super) subscription: Vec<Sheet>,
    pub(super) usage: Vec<Sheet>,
    pub(super) usage_by_day: Vec<Sheet>,
    pub(super) ringback_order: Vec<Sheet>,
    pub(super) ringback_setting: Vec<Sheet>,
    pub(super) activity: Vec<Sheet>,
    pub(super) delivery: Vec<Sheet>,
    pub(super) ticket: Vec<Sheet>,
}

impl Files {
    pub(super) fn create(world: &World, city: usize, out: &Path) -> Result<Files, GenerateError> {
        let opening = Opening { world, city, out };
        let last = world.months - 1;
        Ok(Files {
            subscriber: opening.monthly(&feeds::BOSS_SUBSCRIBER, world.months)?,
            number: opening.monthly(&feeds::BOSS_NUMBER, world.months)?,
            enrolment: opening.monthly(&feeds::BOSS_ENROLMENT, world.months)?,
            order: opening.monthly(&feeds::BOSS_ORDER, world.months)?,
            charge: opening.monthly(&feeds::BOSS_CHARGE, world.months)?,
            subscription: opening.monthly(&feeds::MISC_SUBSCRIPTION, world.months)?,
            usage: opening.monthly(&feeds::MISC_USAGE, last)?,
            usage_by_day: opening.daily(&feeds::MISC_USAGE, last)?,
            ringback_order: opening.monthly(&feeds::RINGBACK_ORDER, world.months)?,
            ringback_setting: opening.monthly(&feeds::RINGBACK_SETTING, world.months)?,
            activity: opening.monthly(&feeds::BASE_ACTIVITY, world.months)?,
            delivery: opening.monthly(&feeds::BASE_DELIVERY, world.months)?,
            ticket: opening.monthly(&feeds::SERVICE_TICKET, world.months)?,
        })
    }

    /// Closes them in a fixed order.
    pub(super) fn finish(self) -> Result<Vec<FileTotal>, GenerateError> {
        let all = [
            self.subscriber,
            self.number,
            self.enrolment,
            self.order,
            self.charge,
            self.subscription,
            self.usage,
            self.usage_by_day,
            self.ringback_order,
            self.ringback_setting,
            self.activity,
            self.delivery,
            self.ticket,
        ];
        all.into_iter().flatten().map(Sheet::finish).collect()
    }
}

struct Opening<'a> {
    world: &'a World,
    city: usize,
    out: &'a Path,
}

impl Opening<'_> {
    fn monthly(&self, feed: &'static Feed, months: i32) -> Result<Vec<Sheet>, GenerateError> {
        (0..months).map(|month| self.open("", feed, &self.world.month(month).period())).collect()
    }

    fn daily(&self, feed: &'static Feed, month: i32) -> Result<Vec<Sheet>, GenerateError> {
        let is_late = |day: usize| public::cities()[self.city].code == planted::LATE_CITY && day == planted::LATE_DAY as usize;
        let folder = |day: usize| if is_late(day) { planted::LATE_FOLDER } else { "" };
        self.world.month(month).days().enumerate().map(|(day, date)| self.open(folder(day), feed, &compact_day(date))).collect()
    }

    fn open(&self, folder: &str, feed: &'static Feed, period: &str) -> Result<Sheet, GenerateError> {
        let file = FeedFile::create(self.out, folder, feed, public::cities()[self.city].code, period)?;
        // Feeds differ by their names' bytes, periods by their digits.
        let name = feed.name.bytes().chain(period.bytes()).fold(0_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add(u64::from(byte)));
        let mut draw: Draw = self.world.draw(crate::world::stream::FLAW, [self.city as u64, name, 0]);
        let nobody = u64::from(self.world.customers[self.city]) + 100 + u64::from(draw.below(5_000));
        Ok(Sheet::new(file, feed.flaw, &mut draw, self.world.msisdn(self.city, nobody)))
    }
}
