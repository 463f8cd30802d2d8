use std::path::Path;

use jiff::civil::Date;

use super::{
    access_line::access_line,
    click_line::click_line,
    crawler,
    journal::{Journal, STREAM, from_start_ms},
    session::Session,
};
use crate::{
    Draw, FeedFile, FileTotal, GenerateError, Month, OnDay, RowKind,
    calendar::{MonthDays, Rhythm},
    feeds, public,
    world::World,
};

/// Lines of the access log per customer and month, without crawlers.
const LINES_PER_CUSTOMER: f64 = 0.57;
const CRAWLER_LINES_PER_CUSTOMER: f64 = 0.03;

/// Growth of the portals a month.
const GROWTH: f64 = 0.012;

/// Of so many clicks one is reported twice, as a page does that got no answer.
const CLICKS_PER_DUPLICATE: u32 = 250;

const DAY_MS: i64 = 86_400_000;

/// Writes `portal.access` and `portal.click` of a city, a file of each a month. Returns what was written.
///
/// # Errors
/// When the disk does not take it.
pub(crate) fn write(world: &World, city: usize, out: &Path) -> Result<Vec<FileTotal>, GenerateError> {
    let mut totals = Vec::new();
    for (index, days) in world.calendar.months().iter().enumerate() {
        let journal = journal_of(world, city, index, days);
        let create = |feed| FeedFile::create(out, "", feed, public::cities()[city].code, &days.month.period());
        totals.push(write_requests(create(&feeds::PORTAL_ACCESS)?, days.month, &journal)?);
        totals.push(write_clicks(create(&feeds::PORTAL_CLICK)?, days.month, &journal)?);
    }
    Ok(totals)
}

/// All that happened in a month, in order. Visits that begin in it and go past its end are cut there.
fn journal_of(world: &World, city: usize, index: usize, days: &MonthDays) -> Journal {
    let mut draw = Draw::named(world.seed, &[STREAM, city as u64, index as u64]);
    let mut journal = Journal::default();
    let customers = f64::from(world.customers[city]) * (1.0 + GROWTH * index as f64);
    let lines = (customers * LINES_PER_CUSTOMER) as usize;
    while journal.requests.len() < lines {
        let at_ms = from_start_ms(days.draw_moment(&mut draw, Rhythm::Leisure)) + i64::from(draw.below(1_000));
        Session::begin(world, city, at_ms, &mut draw, &mut journal).walk(days.month, world.first_month);
    }
    for _ in 0..draw.poisson(customers * CRAWLER_LINES_PER_CUSTOMER) {
        crawler::crawl(world, days.month, &mut draw, &mut journal);
    }
    for _ in 0..draw.poisson(customers * CRAWLER_LINES_PER_CUSTOMER / 50.0) {
        crawler::scan(days.month, &mut draw, &mut journal);
    }
    let end_ms = i64::from(days.month.length_days()) * DAY_MS;
    journal.requests.retain(|request| request.at_ms < end_ms);
    journal.clicks.retain(|click| click.at_ms < end_ms);
    journal.requests.sort_by_key(|request| request.at_ms);
    journal.clicks.sort_by_key(|click| click.at_ms);
    journal
}

fn write_requests(mut file: FeedFile, month: Month, journal: &Journal) -> Result<FileTotal, GenerateError> {
    for request in &journal.requests {
        let sums = [("bytes", request.bytes.unwrap_or(0)), ("latency_ms", request.micros / 1_000)];
        file.row(RowKind::Good, &access_line(month, request), Some(OnDay { day: day_of(month, request.at_ms), sums: &sums }))?;
    }
    file.finish()
}

fn write_clicks(mut file: FeedFile, month: Month, journal: &Journal) -> Result<FileTotal, GenerateError> {
    for (click, number) in journal.clicks.iter().zip(1..) {
        let line = click_line(month, click).map_err(|source| GenerateError::Json { path: "portal.click".into(), source })?;
        let sums = [("dwell_ms", click.dwell_ms), ("latency_ms", click.cost_ms)];
        file.row(RowKind::Good, &line, Some(OnDay { day: day_of(month, click.at_ms), sums: &sums }))?;
        if number % CLICKS_PER_DUPLICATE == 0 {
            file.row(RowKind::Duplicate, &line, None)?;
        }
    }
    file.finish()
}

/// The day of so many milliseconds from the start of the month; none of them is past its end.
fn day_of(month: Month, at_ms: i64) -> Date {
    month.day((at_ms / DAY_MS) as u32)
}
