use std::{collections::BTreeSet, fmt};

use crate::City;

/// Where a right holds: the whole province, or a set of cities (an empty one is nowhere).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Province,
    Cities(BTreeSet<City>),
}

impl Scope {
    pub const NOWHERE: Scope = Scope::Cities(BTreeSet::new());

    /// One city; the code of the province gives the whole of it.
    pub fn city(city: City) -> Scope {
        [city].into_iter().collect()
    }

    pub fn is_nowhere(&self) -> bool {
        matches!(self, Scope::Cities(cities) if cities.is_empty())
    }

    pub fn is_province(&self) -> bool {
        matches!(self, Scope::Province)
    }

    /// Whether the right holds in `city`; in the province's code only when it holds everywhere.
    pub fn contains(&self, city: City) -> bool {
        match self {
            Scope::Province => true,
            Scope::Cities(cities) => cities.contains(&city),
        }
    }

    /// Whether the right holds wherever `other` does.
    pub fn covers(&self, other: &Scope) -> bool {
        match (self, other) {
            (Scope::Province, _) => true,
            (Scope::Cities(_), Scope::Province) => false,
            (Scope::Cities(mine), Scope::Cities(theirs)) => theirs.is_subset(mine),
        }
    }

    pub fn intersect(&self, other: &Scope) -> Scope {
        match (self, other) {
            (Scope::Province, scope) | (scope, Scope::Province) => scope.clone(),
            (Scope::Cities(a), Scope::Cities(b)) => Scope::Cities(a & b),
        }
    }

    pub fn union(&self, other: &Scope) -> Scope {
        match (self, other) {
            (Scope::Province, _) | (_, Scope::Province) => Scope::Province,
            (Scope::Cities(a), Scope::Cities(b)) => Scope::Cities(a | b),
        }
    }

    /// The only city that the scope has, if it has exactly one.
    pub fn only_city(&self) -> Option<City> {
        match self {
            Scope::Cities(cities) if cities.len() == 1 => cities.first().copied(),
            _ => None,
        }
    }

    /// The codes: `440000` alone for the province.
    pub fn codes(&self) -> Vec<String> {
        match self {
            Scope::Province => vec![City::PROVINCE.to_string()],
            Scope::Cities(cities) => cities.iter().map(City::to_string).collect(),
        }
    }
}

impl FromIterator<City> for Scope {
    fn from_iter<I: IntoIterator<Item = City>>(cities: I) -> Scope {
        let cities: BTreeSet<City> = cities.into_iter().collect();
        if cities.contains(&City::PROVINCE) { Scope::Province } else { Scope::Cities(cities) }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.codes().join(","))
    }
}
