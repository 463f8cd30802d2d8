use std::{collections::BTreeMap, path::Path};

use super::{
    figure::{Chart, Figure, Series},
    read_back,
};
use crate::{GenerateError, feeds, public};

/// Events a day, of what leisure drives and of what work drives; holidays are shaded.
pub(super) fn figure(out: &Path) -> Result<Figure, GenerateError> {
    let mut days = BTreeMap::new();
    for text in read_back::texts(out, &feeds::MISC_USAGE, None)? {
        for line in text?.text.lines() {
            let fields = line.split('\u{1}').collect::<Vec<_>>();
            if let [_, _, _, product, day, events, ..] = fields[..]
                && let (Some(day), Ok(events)) = (read_back::day(day), events.parse::<f64>())
            {
                let sums: &mut [f64; 3] = days.entry(day).or_default();
                match product {
                    "P1001" => sums[0] += events,
                    "P1002" => sums[1] += events,
                    "P1003" => sums[2] += events,
                    _ => {}
                }
            }
        }
    }
    let series = ["calls", "text messages", "data sessions"].into_iter().enumerate();
    Ok(Figure {
        name: "daily-use",
        title: "Use by day".to_owned(),
        caption: "All cities. Holidays are shaded; text messages rise when everybody greets everybody.".to_owned(),
        chart: Chart::Lines {
            x_labels: days.keys().map(ToString::to_string).collect(),
            shaded: days.keys().map(|day| public::holiday_name(*day).is_some()).collect(),
            series: series
                .map(|(place, name)| Series { name: name.to_owned(), values: days.values().map(|sums| sums[place]).collect(), is_planted: false })
                .collect(),
        },
    })
}
