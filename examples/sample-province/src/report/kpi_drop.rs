use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use serde_json::Value;

use super::{
    figure::{Chart, Figure, Series},
    read_back,
};
use crate::{GenerateError, city::BRANDS, feeds, moment::days_between, planted};

/// Days shown before the drop and after it.
const DAYS_AROUND: i64 = 28;

/// Use of one product in one city, by brand, around the weeks in which it fails for one of them.
pub(super) fn figure(out: &Path) -> Result<Figure, GenerateError> {
    let brand_of_number = brands(out)?;
    let mut days = BTreeMap::new();
    for text in read_back::texts(out, &feeds::BASE_ACTIVITY, Some(planted::DROP_CITY))? {
        for line in text?.text.lines() {
            let Ok(row) = serde_json::from_str::<Value>(line) else { continue };
            if row["product_id"] == planted::DROP_PRODUCT
                && let (Some(number), Some(millis), Some(events)) = (row["msisdn"].as_str(), row["stat_time"].as_i64(), row["events"].as_f64())
                && let Some(brand) = brand_of_number.get(number)
            {
                let sums: &mut [f64; BRANDS.len()] = days.entry(read_back::day_of_millis(millis)).or_default();
                sums[*brand] += events;
            }
        }
    }
    // The drop is found from the file's own days: the month is the tenth.
    let first = days.keys().next().copied().unwrap_or_default();
    let month = crate::Month::of(first).plus(planted::DROP_MONTH);
    let (begins, ends) = (month.day(planted::DROP_FIRST_DAY), month.day(planted::DROP_FIRST_DAY + planted::DROP_DAYS - 1));
    days.retain(|day, _| days_between(*day, begins) <= DAYS_AROUND && days_between(ends, *day) <= DAYS_AROUND);
    let series = BRANDS.iter().enumerate().map(|(brand, name)| Series {
        name: (*name).to_owned(),
        values: days.values().map(|sums| sums[brand]).collect(),
        is_planted: brand + 1 == usize::from(planted::DROP_BRAND),
    });
    Ok(Figure {
        name: "kpi-drop",
        title: format!("Use of {} in {} by brand", planted::DROP_PRODUCT, read_back::city_name(planted::DROP_CITY)),
        caption: "Events by day. In the shaded weeks use falls for one brand, which is the driver.".to_owned(),
        chart: Chart::Lines {
            x_labels: days.keys().map(ToString::to_string).collect(),
            shaded: days.keys().map(|day| (begins..=ends).contains(day)).collect(),
            series: series.collect(),
        },
    })
}

/// The place of a number's brand in [`BRANDS`], by the customer who had it last.
fn brands(out: &Path) -> Result<HashMap<String, usize>, GenerateError> {
    let mut of_customer = HashMap::new();
    for text in read_back::texts(out, &feeds::BOSS_SUBSCRIBER, Some(planted::DROP_CITY))? {
        for line in text?.text.lines() {
            let fields = line.split('|').collect::<Vec<_>>();
            if let [customer, _, brand, ..] = fields[..]
                && let Ok(brand @ 1..=3) = brand.parse::<usize>()
            {
                of_customer.insert(customer.to_owned(), brand - 1);
            }
        }
    }
    let mut of_number = HashMap::new();
    for text in read_back::texts(out, &feeds::BOSS_NUMBER, Some(planted::DROP_CITY))? {
        for line in text?.text.lines() {
            if let Some((number, rest)) = line.split_once('|')
                && let Some(brand) = rest.split('|').next().and_then(|customer| of_customer.get(customer))
            {
                of_number.insert(number.to_owned(), *brand);
            }
        }
    }
    Ok(of_number)
}
