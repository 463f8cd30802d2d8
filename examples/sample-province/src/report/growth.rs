use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    figure::{Chart, Figure, Series},
    read_back,
};
use crate::{GenerateError, Month, feeds};

/// Customers who joined and who left, by month.
pub(super) fn figure(out: &Path) -> Result<Figure, GenerateError> {
    // The newest row of a customer knows the most; files are read in the order of their months within a city.
    let mut customers = BTreeMap::new();
    for text in read_back::texts(out, &feeds::BOSS_SUBSCRIBER, None)? {
        for line in text?.text.lines() {
            let fields = line.split('|').collect::<Vec<_>>();
            if let [customer, _, _, _, _, joined, left, _, _, _, _, _, _] = fields[..]
                && let Some(joined) = read_back::day(joined)
            {
                customers.insert(customer.to_owned(), (Month::of(joined), read_back::day(left).map(Month::of)));
            }
        }
    }
    let months = window(out)?;
    let (mut joined, mut left) = (BTreeMap::<Month, f64>::new(), BTreeMap::<Month, f64>::new());
    for (joined_in, left_in) in customers.into_values() {
        *joined.entry(joined_in).or_default() += 1.0;
        if let Some(left_in) = left_in {
            *left.entry(left_in).or_default() += 1.0;
        }
    }
    let by_month = |counts: &BTreeMap<Month, f64>| months.iter().map(|month| counts.get(month).copied().unwrap_or(0.0)).collect();
    Ok(Figure {
        name: "growth",
        title: "Customers who joined and left".to_owned(),
        caption: "By month, all cities.".to_owned(),
        chart: Chart::Lines {
            x_labels: months.iter().map(ToString::to_string).collect(),
            shaded: vec![false; months.len()],
            series: vec![
                Series { name: "joined".to_owned(), values: by_month(&joined), is_planted: false },
                Series { name: "left".to_owned(), values: by_month(&left), is_planted: true },
            ],
        },
    })
}

/// The months that there are bills for.
fn window(out: &Path) -> Result<BTreeSet<Month>, GenerateError> {
    let mut months = BTreeSet::new();
    for text in read_back::texts(out, &feeds::BOSS_CHARGE, None)? {
        let text = text?.text;
        let posted = text.lines().next().and_then(|line| line.split('|').nth(4)).and_then(read_back::day);
        // Bills are posted on the first days of the next month.
        months.extend(posted.map(|day| Month::of(day).plus(-1)));
    }
    Ok(months)
}
