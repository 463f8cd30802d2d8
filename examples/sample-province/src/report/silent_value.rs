use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read,
    path::Path,
};

use flate2::read::GzDecoder;

use super::{
    bills,
    figure::{Chart, Figure, Series},
    read_back,
};
use crate::{GenerateError, feeds, public};

/// A component: its id and its price standing alone.
type Component = (String, f64);

/// What a month's packages booked, and how much of it is for what was not used. The verdicts are the answer key's, the amounts those of the bills; the
/// split follows prices without rounding and without the history of terms, so these are not the figures of a valuation.
pub(super) fn figure(out: &Path) -> Result<Figure, GenerateError> {
    let components = components(out)?;
    let mut months = BTreeMap::<String, [f64; 3]>::new();
    for city in public::cities() {
        let packages = packages(out, city.code)?;
        let booked = bills::booked(out, city.code)?;
        for ((_, month), fen) in &booked {
            months.entry(month.clone()).or_default()[0] += yuan(*fen);
        }
        for line in verdicts(out, city.code)?.lines().skip(1) {
            let [enrolment, month, component, used, entitlement, verdict] = line.split(',').collect::<Vec<_>>()[..] else { continue };
            let Some(of_package) = packages.get(enrolment).and_then(|package| components.get(package)) else { continue };
            let Some(amount) = booked.get(&(enrolment.to_owned(), month.to_owned())).map(|fen| yuan(*fen)) else { continue };
            let total = of_package.iter().map(|(_, price)| price).sum::<f64>();
            let price = of_package.iter().find(|(id, _)| id == component).map_or(0.0, |(_, price)| *price);
            let share = if total > 0.0 { amount * price / total } else { 0.0 };
            let sums = months.entry(month.to_owned()).or_default();
            match (verdict, used.parse::<f64>(), entitlement.parse::<f64>()) {
                ("silent", ..) => sums[1] += share,
                (_, Ok(used), Ok(entitlement)) if entitlement > 0.0 => sums[2] += share * (1.0 - used / entitlement),
                _ => {}
            }
        }
    }
    let series = [("booked", false), ("silent", true), ("under-used", false)].into_iter().enumerate();
    Ok(Figure {
        name: "silent-value",
        title: "What packages booked, and what of it was not used".to_owned(),
        caption: "In yuan by month. Silence as the answer key judges it; amounts from the bills, split by list price.".to_owned(),
        chart: Chart::Lines {
            x_labels: months.keys().cloned().collect(),
            shaded: vec![false; months.len()],
            series: series
                .map(|(place, (name, is_planted))| Series { name: name.to_owned(), values: months.values().map(|sums| sums[place]).collect(), is_planted })
                .collect(),
        },
    })
}

fn yuan(fen: i64) -> f64 {
    fen as f64 / 100.0
}

/// By package; of several terms the last.
fn components(out: &Path) -> Result<HashMap<String, Vec<Component>>, GenerateError> {
    let mut packages = HashMap::<String, Vec<Component>>::new();
    for text in read_back::texts(out, &feeds::BOSS_COMPONENT, None)? {
        for line in text?.text.lines() {
            let [component, package, _, _, price, ..] = line.split('|').collect::<Vec<_>>()[..] else { continue };
            let of_package = packages.entry(package.to_owned()).or_default();
            of_package.retain(|(id, _)| id != component);
            of_package.push((component.to_owned(), price.parse().unwrap_or(0.0)));
        }
    }
    Ok(packages)
}

/// The package of each enrolment.
fn packages(out: &Path, city: &str) -> Result<HashMap<String, String>, GenerateError> {
    let mut packages = HashMap::new();
    for text in read_back::texts(out, &feeds::BOSS_ENROLMENT, Some(city))? {
        for line in text?.text.lines() {
            if let [enrolment, _, _, _, package, ..] = line.split('|').collect::<Vec<_>>()[..] {
                packages.insert(enrolment.to_owned(), package.to_owned());
            }
        }
    }
    Ok(packages)
}

fn verdicts(out: &Path, city: &str) -> Result<String, GenerateError> {
    let path = out.join("answer-key").join(format!("silent.{city}.csv.gz"));
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| GzDecoder::new(file).read_to_string(&mut text));
    read.map(|_| text).map_err(|source| GenerateError::Read { path, source })
}
