use std::{collections::BTreeMap, path::Path};

use jiff::civil::Date;

use super::{
    figure::{Chart, Figure, Series},
    read_back,
};
use crate::{GenerateError, Month, feeds, planted};

/// Rows of use by day in the month of the file that comes late, without it and with it.
pub(super) fn figure(out: &Path) -> Result<Figure, GenerateError> {
    let mut days = BTreeMap::<Date, [f64; 2]>::new();
    let mut late_on = None;
    for text in read_back::texts(out, &feeds::MISC_USAGE, Some(planted::LATE_CITY))? {
        let text = text?;
        for day in text.text.lines().filter_map(|line| read_back::day(line.split('\u{1}').nth(4)?)) {
            let [all, in_time] = days.entry(day).or_default();
            *all += 1.0;
            if text.is_late {
                late_on = Some(day);
            } else {
                *in_time += 1.0;
            }
        }
    }
    days.retain(|day, _| late_on.is_some_and(|late| Month::of(late).contains(*day)));
    let series = [("all that came", false), ("came in time", true)].into_iter().enumerate();
    Ok(Figure {
        name: "late-file",
        title: format!("Rows of {} in {} by day", feeds::MISC_USAGE.name, read_back::city_name(planted::LATE_CITY)),
        caption: "The file of one day waits outside the folders of the feeds. The day is shaded.".to_owned(),
        chart: Chart::Lines {
            x_labels: days.keys().map(ToString::to_string).collect(),
            shaded: days.keys().map(|day| Some(*day) == late_on).collect(),
            series: series
                .map(|(place, (name, is_planted))| Series { name: name.to_owned(), values: days.values().map(|rows| rows[place]).collect(), is_planted })
                .collect(),
        },
    })
}
