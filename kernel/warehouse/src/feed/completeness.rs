use std::collections::{BTreeMap, BTreeSet, HashSet};

use backplane_proto::ingest::v1::{Completeness, ListCompletenessRequest, ListCompletenessResponse};
use jiff::{ToSpan, civil::Date};
use kernel_base::{CallContext, City, Scope};

use super::{Every, Expected, FeedContract, Importer, period::Period};
use crate::{
    contract::Visibility,
    day::{DAY_MICROS, HOUR_MICROS, SHANGHAI_OFFSET_MICROS, shanghai_day},
    error::WarehouseError,
};

/// Whether the files of a month are in, per feed that expects some and city in the caller's scope.
pub(crate) async fn list(importer: &Importer, context: &CallContext, request: ListCompletenessRequest) -> Result<ListCompletenessResponse, WarehouseError> {
    let invalid = || WarehouseError::FieldInvalid { field: "month", problem: "expected a month yyyyMM".to_owned() };
    let Some(month @ Period::Month(_)) = Period::read(&request.month) else {
        return Err(invalid());
    };
    let scope = context.rights.scope_of("ingest.read", None);
    let contracts = importer.contracts.feeds();
    let feeds = match request.feeds.as_slice() {
        [] => contracts.iter().filter(|feed| feed.expected.is_some()).collect(),
        names => names.iter().map(|name| contracts.get(name)).collect::<Result<Vec<_>, _>>()?,
    };
    let mut rows = Vec::new();
    for feed in feeds {
        rows.extend(completeness(importer, feed, month, &scope).await?);
    }
    Ok(ListCompletenessResponse { rows })
}

async fn completeness(importer: &Importer, feed: &FeedContract, month: Period, scope: &Scope) -> Result<Vec<Completeness>, WarehouseError> {
    let files = importer.slices.live_files(&feed.name);
    let mut waiting: BTreeMap<City, i64> = BTreeMap::new();
    // Only rows of a file of this month count against it.
    let of_month: HashSet<&str> = files
        .iter()
        .filter(|(_, file)| file.slice.period.is_some_and(|period| month.contains(period.first_day())))
        .map(|(key, _)| key.sha256.as_str())
        .collect();
    if feed.resolves_numbers() {
        for (city, sha256) in importer.waiting_for_numbers(&feed.name).await? {
            if of_month.contains(sha256.as_str()) {
                *waiting.entry(city.parse()?).or_default() += 1;
            }
        }
    }
    let (mut complete_periods, mut coming): (BTreeMap<City, Vec<Period>>, BTreeMap<City, Vec<Period>>) = Default::default();
    for (key, file) in &files {
        let periods = if file.is_complete { &mut complete_periods } else { &mut coming };
        periods.entry(key.city).or_default().extend(file.slice.period);
    }
    // A large file that restates one comes in by pieces, beside the rows that leave with its last: until then its period is not whole.
    for (city, coming) in &coming {
        let meets = |period: &Period| coming.iter().any(|other| other.contains(period.first_day()) || period.contains(other.first_day()));
        if let Some(complete) = complete_periods.get_mut(city) {
            complete.retain(|period| !meets(period));
        }
    }
    let now = importer.clock().now_micros();
    Ok(expected_cities(importer, feed, scope)
        .into_iter()
        .map(|city| {
            let missing = feed.expected.map_or_else(Vec::new, |expected| missing(expected, month, complete_periods.get(&city).map_or(&[], Vec::as_slice)));
            let late = feed.expected.map_or_else(Vec::new, |expected| missing.iter().filter(|period| due_at(expected, **period) < now).copied().collect());
            let rows_waiting = waiting.get(&city).copied().unwrap_or(0);
            Completeness {
                feed: feed.name.clone(),
                city: city.to_string(),
                complete: missing.is_empty() && rows_waiting == 0,
                missing: missing.iter().map(Period::to_string).collect(),
                late: late.iter().map(Period::to_string).collect(),
                rows_waiting,
            }
        })
        .collect())
}

/// The cities whose files are expected: those of the scope; of a province's scope those from which any feed of a city has come.
pub(super) fn expected_cities(importer: &Importer, feed: &FeedContract, scope: &Scope) -> BTreeSet<City> {
    if feed.dataset.visibility == Visibility::Shared {
        return BTreeSet::from([City::PROVINCE]);
    }
    match scope {
        Scope::Cities(cities) => cities.iter().copied().filter(|city| *city != City::PROVINCE).collect(),
        Scope::Province => importer.slices.cities(),
    }
}

/// The periods of the month that no file covers. A file of a month covers its days, and files of all days cover their month.
fn missing(expected: Expected, month: Period, there: &[Period]) -> Vec<Period> {
    let covers = |day: Date| there.iter().any(|period| period.contains(day));
    let days = days(month);
    match expected.every {
        Every::Day => days.filter(|day| !covers(*day)).map(Period::Day).collect(),
        Every::Month if days.into_iter().all(covers) => Vec::new(),
        Every::Month => vec![month],
    }
}

fn days(period: Period) -> impl Iterator<Item = Date> {
    period.first_day().series(1.day()).take_while(move |day| *day < period.end())
}

/// When the file of a period is due, microseconds since 1970.
pub(super) fn due_at(expected: Expected, period: Period) -> i64 {
    let days = period.end().duration_since(Date::constant(1970, 1, 1)).as_hours() / 24;
    days * DAY_MICROS - SHANGHAI_OFFSET_MICROS + i64::from(expected.within_hours) * HOUR_MICROS
}

/// How long the file after the newest one is overdue, in seconds. Where none ever came it is the first that was due after `since`, when the city began to send
/// other files, and of a city that sends nothing the last one that is due.
pub(super) fn late_seconds(expected: Expected, newest: Option<Period>, since: Option<i64>, now_micros: i64) -> i64 {
    let after = |period: Period| match expected.every {
        Every::Day => Period::Day(period.end()),
        Every::Month => Period::Month(period.end()),
    };
    let next = newest.or_else(|| since.map(|since| last_due(expected, since))).map_or_else(|| last_due(expected, now_micros), after);
    ((now_micros - due_at(expected, next)) / 1_000_000).max(0)
}

/// The last period whose file is due by now.
fn last_due(expected: Expected, now_micros: i64) -> Period {
    let ended_by = shanghai_day(now_micros - i64::from(expected.within_hours) * HOUR_MICROS);
    let ended_by = Date::constant(1970, 1, 1).saturating_add(i64::from(ended_by).days());
    match expected.every {
        Every::Day => Period::Day(ended_by.saturating_sub(1.day())),
        Every::Month => Period::Month(ended_by.first_of_month().saturating_sub(1.month())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn periods(texts: &[&str]) -> Vec<Period> {
        texts.iter().map(|text| Period::read(text).unwrap()).collect()
    }

    #[test]
    fn a_month_is_complete_by_its_file_or_by_its_days() {
        let (daily, monthly) = (Expected { every: Every::Day, within_hours: 8 }, Expected { every: Every::Month, within_hours: 120 });
        let month = Period::read("202602").unwrap();
        let days: Vec<String> = (1..=28).map(|day| format!("202602{day:02}")).collect();
        let days: Vec<&str> = days.iter().map(String::as_str).collect();
        for expected in [daily, monthly] {
            assert_eq!(missing(expected, month, &periods(&["202602"])), []);
            assert_eq!(missing(expected, month, &periods(&days)), []);
        }
        assert_eq!(missing(daily, month, &periods(&days[1..27])), periods(&["20260201", "20260228"]));
        assert_eq!(missing(monthly, month, &periods(&days[1..])), periods(&["202602"]));
        assert_eq!(missing(monthly, month, &periods(&["202601", "202603"])), periods(&["202602"]));
    }

    #[test]
    fn a_file_is_due_some_hours_after_its_period_ended() {
        let daily = Expected { every: Every::Day, within_hours: 8 };
        // 2026-03-02 08:00 in Shanghai is midnight UTC.
        assert_eq!(due_at(daily, Period::read("20260301").unwrap()), 1_772_409_600_000_000);
        assert_eq!(late_seconds(daily, Period::read("20260228"), None, 1_772_409_660_000_000), 60);
        assert_eq!(late_seconds(daily, Period::read("20260301"), Some(0), 1_772_409_660_000_000), 0);
    }

    #[test]
    fn a_feed_that_sent_nothing_is_late_with_the_last_period_that_is_due() {
        let (daily, monthly) = (Expected { every: Every::Day, within_hours: 8 }, Expected { every: Every::Month, within_hours: 8 });
        // A second after 2026-03-01 is due, and a second before.
        assert_eq!(last_due(daily, 1_772_409_601_000_000), Period::read("20260301").unwrap());
        assert_eq!(last_due(daily, 1_772_409_599_000_000), Period::read("20260228").unwrap());
        assert_eq!((late_seconds(daily, None, None, 1_772_409_601_000_000), late_seconds(daily, None, None, 1_772_409_599_000_000)), (1, 86_399));
        // The city began to send a second before 28 February was due, and that was a day and two seconds ago.
        assert_eq!(late_seconds(daily, None, Some(1_772_323_199_000_000), 1_772_409_601_000_000), 86_401);
        assert_eq!(late_seconds(daily, None, Some(1_772_409_600_000_000), 1_772_409_601_000_000), 0, "the next is not due yet");
        // 2026-03-01 08:00 in Shanghai, when February is due.
        let due = 1_772_323_200_000_000;
        assert_eq!(due_at(monthly, Period::read("202602").unwrap()), due);
        assert_eq!((last_due(monthly, due), last_due(monthly, due - 1)), (Period::read("202602").unwrap(), Period::read("202601").unwrap()));
    }
}
