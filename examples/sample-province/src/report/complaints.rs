use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use jiff::civil::Date;

use super::{
    figure::{Chart, Figure, Series},
    read_back,
};
use crate::{GenerateError, feeds, planted};

/// Cities shown beside the planted one.
const CITIES_SHOWN: usize = 4;

/// Complaints a day in the cities with most of them.
pub(super) fn figure(out: &Path) -> Result<Figure, GenerateError> {
    let mut seen = HashSet::new();
    let mut cities = BTreeMap::<String, BTreeMap<Date, f64>>::new();
    for text in read_back::texts(out, &feeds::SERVICE_TICKET, None)? {
        let text = text?;
        // A ticket begins where a line does; the rest of its text may look like anything.
        for line in text.text.lines() {
            let fields = line.split(',').collect::<Vec<_>>();
            if let [ticket, _, accepted, "2", ..] = fields[..]
                && ticket.starts_with('T')
                && let Some(day) = read_back::day(accepted)
                && seen.insert(ticket.to_owned())
            {
                *cities.entry(text.city.clone()).or_default().entry(day).or_default() += 1.0;
            }
        }
    }
    let mut days = cities.values().flat_map(BTreeMap::keys).copied().collect::<Vec<_>>();
    days.sort_unstable();
    days.dedup();
    let mut shown = cities.into_iter().collect::<Vec<_>>();
    shown.sort_by_key(|(city, by_day)| (city != planted::BURST_CITY, -(by_day.values().sum::<f64>() as i64)));
    shown.truncate(1 + CITIES_SHOWN);
    let series = shown.iter().map(|(city, by_day)| Series {
        name: read_back::city_name(city).to_owned(),
        values: days.iter().map(|day| by_day.get(day).copied().unwrap_or(0.0)).collect(),
        is_planted: city == planted::BURST_CITY,
    });
    Ok(Figure {
        name: "complaints",
        title: "Complaints by day and city".to_owned(),
        caption: format!("Cities with most complaints. The burst is about {} alone.", planted::BURST_PRODUCT),
        chart: Chart::Lines { x_labels: days.iter().map(ToString::to_string).collect(), shaded: vec![false; days.len()], series: series.collect() },
    })
}
