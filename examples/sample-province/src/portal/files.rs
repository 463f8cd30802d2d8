use std::path::Path;

use super::{
    access_line::access_line,
    click_line::click_line,
    crawler,
    journal::{Journal, STREAM, from_start_ms},
    session::Session,
};
use crate::{
    Draw, FeedFile, FileTotal, GenerateError, Month, RowKind,
    calendar::{MonthDays, Rhythm},
    day_period, feeds, public,
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

/// Writes `portal.access` and `portal.click` of a city: a file a month, and of the last month, as an operator has them when a system comes into use, a file a
/// day. Returns what was written.
///
/// # Errors
/// When the disk does not take it.
pub(crate) fn write(world: &World, city: usize, out: &Path) -> Result<Vec<FileTotal>, GenerateError> {
    let mut totals = Vec::new();
    for (index, days) in world.calendar.months().iter().enumerate() {
        let journal = journal_of(world, city, index, days);
        let is_last = index + 1 == world.calendar.months().len();
        write_month(out, city, days.month, is_last, &journal, &mut totals)?;
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

fn write_month(out: &Path, city: usize, month: Month, is_daily: bool, journal: &Journal, totals: &mut Vec<FileTotal>) -> Result<(), GenerateError> {
    let days = i64::from(month.length_days());
    let periods = if is_daily {
        (0..days).map(|day| (day_period(month.day(day as u32)), day * DAY_MS..(day + 1) * DAY_MS)).collect()
    } else {
        vec![(month.period(), 0..days * DAY_MS)]
    };
    for (period, span_ms) in periods {
        let code = public::cities()[city].code;
        let mut access = FeedFile::create(out, "", &feeds::PORTAL_ACCESS, code, &period)?;
        for request in journal.requests.iter().filter(|request| span_ms.contains(&request.at_ms)) {
            let sums = [("bytes", request.bytes.unwrap_or(0)), ("latency_ms", request.micros / 1_000)];
            access.row(RowKind::Good, &access_line(month, request), &sums)?;
        }
        totals.push(access.finish()?);
        totals.push(write_clicks(FeedFile::create(out, "", &feeds::PORTAL_CLICK, code, &period)?, month, journal, span_ms)?);
    }
    Ok(())
}

fn write_clicks(mut file: FeedFile, month: Month, journal: &Journal, span_ms: std::ops::Range<i64>) -> Result<FileTotal, GenerateError> {
    for (click, number) in journal.clicks.iter().zip(1..).filter(|(click, _)| span_ms.contains(&click.at_ms)) {
        let line = click_line(month, click).map_err(|source| GenerateError::Json { path: "portal.click".into(), source })?;
        file.row(RowKind::Good, &line, &[("dwell_ms", click.dwell_ms), ("latency_ms", click.cost_ms)])?;
        if number % CLICKS_PER_DUPLICATE == 0 {
            file.row(RowKind::Duplicate, &line, &[])?;
        }
    }
    file.finish()
}
