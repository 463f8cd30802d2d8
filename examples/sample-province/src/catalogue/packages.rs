use super::{
    Product,
    table::{lines, optional},
};

/// A package (营销案) or promotion (促销案).
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) id: &'static str,
    pub(crate) name_zh: &'static str,
    /// `1` marketing, `2` promotion.
    pub(crate) kind: &'static str,
    pub(crate) price_fen: i64,
    pub(crate) months: i32,
    pub(crate) gift_fen: i64,
    pub(crate) gift_months: i32,
    /// The only brand that may take it; 0 for any.
    pub(crate) brand: u8,
    pub(crate) weight: u32,
    /// Whether billing writes a line for each component instead of one for the package.
    pub(crate) split_lines: bool,
    /// Months of the window, the last exclusive.
    pub(crate) sold_from: i32,
    pub(crate) sold_to: i32,
    /// By id and validity.
    pub(crate) components: Vec<Component>,
}

/// A component (营销案构成) as it is from a month on.
#[derive(Debug)]
pub(crate) struct Component {
    pub(crate) id: &'static str,
    pub(crate) product: usize,
    /// `1` paid, `2` gift, `3` voice.
    pub(crate) role: &'static str,
    pub(crate) list_price_fen: i64,
    /// 0 stands for none, like a missing one.
    pub(crate) entitlement: Option<i64>,
    pub(crate) measure: Measure,
    pub(crate) from: i32,
    pub(crate) to: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Events,
    Quantity,
    Seconds,
    Kb,
}

#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) package: usize,
    pub(crate) other: usize,
    pub(crate) exclusive: bool,
    pub(crate) reason: &'static str,
    pub(crate) from: i32,
    pub(crate) to: Option<i32>,
}

impl Package {
    /// The components valid at the start of a month of the window; of overlapping validity the later start wins.
    pub(crate) fn valid_in(&self, month: i32) -> impl Iterator<Item = &Component> {
        let valid = move |component: &Component| component.from <= month && component.to.is_none_or(|to| month < to);
        self.components.iter().filter(move |component| {
            valid(component) && !self.components.iter().any(|other| other.id == component.id && other.from > component.from && valid(other))
        })
    }
}

impl Measure {
    /// As BOSS sends it.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Measure::Events => "1",
            Measure::Quantity => "2",
            Measure::Seconds => "3",
            Measure::Kb => "4",
        }
    }
}

pub(super) fn read(packages: &'static str, components: &'static str, products: &[Product]) -> Vec<Package> {
    let mut packages: Vec<Package> = lines(packages).filter_map(|fields| package(&fields)).collect();
    for fields in lines(components) {
        let owner = packages.iter_mut().find(|package| fields.get(1) == Some(&package.id));
        if let (Some(package), Some(component)) = (owner, component(&fields, products)) {
            package.components.push(component);
        }
    }
    packages
}

pub(super) fn read_relations(text: &'static str, packages: &[Package]) -> Vec<Relation> {
    let package = |id: &str| packages.iter().position(|package| package.id == id);
    lines(text)
        .filter_map(|fields| {
            let [one, other, relation, reason, from, to] = *fields.as_slice() else { return None };
            Some(Relation {
                package: package(one)?,
                other: package(other)?,
                exclusive: relation == "0",
                reason,
                from: from.parse().ok()?,
                to: optional(to).ok()?,
            })
        })
        .collect()
}

fn package(fields: &[&'static str]) -> Option<Package> {
    let [id, name_zh, kind, price, months, gift, gift_months, brand, weight, lines, sold_from, sold_to] = *fields else { return None };
    Some(Package {
        id,
        name_zh,
        kind,
        price_fen: price.parse().ok()?,
        months: months.parse().ok()?,
        gift_fen: gift.parse().ok()?,
        gift_months: gift_months.parse().ok()?,
        brand: brand.parse().ok()?,
        weight: weight.parse().ok()?,
        split_lines: lines == "split",
        sold_from: sold_from.parse().ok()?,
        sold_to: sold_to.parse().ok()?,
        components: Vec::new(),
    })
}

fn component(fields: &[&'static str], products: &[Product]) -> Option<Component> {
    let [id, _, product, role, price, entitlement, measure, from, to] = *fields else { return None };
    Some(Component {
        id,
        product: products.iter().position(|known| known.id == product)?,
        role: match role {
            "paid" => "1",
            "gift" => "2",
            "voice" => "3",
            _ => return None,
        },
        list_price_fen: price.parse().ok()?,
        entitlement: optional(entitlement).ok()?,
        measure: match measure {
            "events" => Measure::Events,
            "quantity" => Measure::Quantity,
            "seconds" => Measure::Seconds,
            "kb" => Measure::Kb,
            _ => return None,
        },
        from: from.parse().ok()?,
        to: optional(to).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use crate::catalogue::Catalogue;

    #[test]
    fn the_later_of_two_validities_wins() {
        let catalogue = Catalogue::read();
        let package = &catalogue.packages[catalogue.package("K013")];
        let price = |month| package.valid_in(month).filter(|component| component.id == "K013C2").map(|component| component.list_price_fen).collect::<Vec<_>>();
        assert_eq!((price(7), price(8)), (vec![500], vec![300]));
        let late = &catalogue.packages[catalogue.package("K026")];
        assert_eq!((late.valid_in(7).count(), late.valid_in(8).count()), (0, 2));
    }
}
