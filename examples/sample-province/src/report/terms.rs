use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use jiff::civil::Date;

use super::{
    read_back,
    table::{Table, cells, yuan},
};
use crate::{GenerateError, feeds};

/// What a component is from a day on.
struct Terms {
    package: String,
    price_fen: i64,
    entitlement: Option<i64>,
    to: Option<Date>,
}

/// Components by id and first day.
type Components = BTreeMap<(String, Date), Terms>;

/// Components whose terms a valuation must not take as they come.
pub(super) fn table(out: &Path) -> Result<Table, GenerateError> {
    let (components, sold_from) = (components(out)?, sold_from(out)?);
    let rows = components.iter().filter_map(|((id, from), terms)| {
        let what = peculiarities(&components, &sold_from, id, *from, terms);
        let entitlement = terms.entitlement.map_or_else(String::new, |entitlement| entitlement.to_string());
        let to = terms.to.map_or_else(String::new, |to| to.to_string());
        (!what.is_empty()).then(|| cells([id, &terms.package, &yuan(terms.price_fen), &entitlement, from, &to, &what.join(", ")]))
    });
    Ok(Table {
        title: "Components with terms to look at twice",
        caption: "Of the catalogue: terms that change or overlap, components without a price or a limit, packages sold before their components are valid."
            .to_owned(),
        columns: &["component", "package", "price in yuan", "entitlement", "from", "until", "what"],
        rows: rows.collect(),
    })
}

fn peculiarities(components: &Components, sold_from: &HashMap<String, Date>, id: &str, from: Date, terms: &Terms) -> Vec<&'static str> {
    let earlier = components.iter().filter(|((other, other_from), _)| other == id && *other_from < from).map(|(_, terms)| terms).collect::<Vec<_>>();
    let of_package = || components.iter().filter(|(_, other)| other.package == terms.package);
    let is_sold_before = sold_from.get(&terms.package).is_some_and(|sold| of_package().all(|((_, from), _)| from > sold));
    let all = [
        (!earlier.is_empty(), "changed"),
        (earlier.iter().any(|earlier| earlier.to.is_none()), "earlier terms stay open"),
        (terms.price_fen == 0, "free"),
        (terms.entitlement.is_none_or(|entitlement| entitlement == 0), "unlimited"),
        (is_sold_before, "package sold before"),
    ];
    all.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what).collect()
}

/// Of the rows of a validity the last knows its end.
fn components(out: &Path) -> Result<Components, GenerateError> {
    let mut components = Components::new();
    for text in read_back::texts(out, &feeds::BOSS_COMPONENT, None)? {
        for line in text?.text.lines() {
            if let [id, package, _, _, price, entitlement, _, from, to] = line.split('|').collect::<Vec<_>>()[..]
                && let (Ok(price_fen), Some(from)) = (price.parse(), read_back::day(from))
            {
                let terms = Terms { package: package.to_owned(), price_fen, entitlement: entitlement.parse().ok(), to: read_back::day(to) };
                components.insert((id.to_owned(), from), terms);
            }
        }
    }
    Ok(components)
}

/// The first day on which each package may be taken.
fn sold_from(out: &Path) -> Result<HashMap<String, Date>, GenerateError> {
    let mut sold_from = HashMap::new();
    for text in read_back::texts(out, &feeds::BOSS_PACKAGE, None)? {
        for line in text?.text.lines() {
            if let [package, _, _, starts, ..] = line.split('|').collect::<Vec<_>>()[..]
                && let Some(starts) = read_back::day(starts)
            {
                sold_from.insert(package.to_owned(), starts);
            }
        }
    }
    Ok(sold_from)
}
