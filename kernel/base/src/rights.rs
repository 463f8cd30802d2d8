use std::{
    collections::BTreeSet,
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, PoisonError, RwLock},
};

use crate::{City, Permission, Scope};

/// What a principal may do: permissions, each in a scope. Sorted and without repetition, so that equal rights are equal values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rights {
    grants: Vec<(Permission, Scope)>,
    by_city: ByCity,
}

/// The same rights held to one city, made once per city: every call in a city asks for them. No part of the value.
#[derive(Default)]
struct ByCity(RwLock<Vec<(City, Held)>>);

#[derive(Clone)]
enum Held {
    /// Narrowing takes nothing away.
    Same,
    Less(Arc<Rights>),
}

/// What the rights allow on one dataset, over all cities in `cities`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetRight {
    /// Whose rows may be read.
    pub cities: Scope,
    /// Granted in every one of those cities; `None` is all columns. Narrowing the call to one city may show more.
    pub columns: Option<BTreeSet<String>>,
    /// Whether personal columns are shown as they are, in every one of those cities.
    pub unmasked: bool,
}

impl Rights {
    pub fn new(grants: impl IntoIterator<Item = (Permission, Scope)>) -> Rights {
        let mut grants: Vec<_> = grants.into_iter().filter(|(_, scope)| !scope.is_nowhere()).collect();
        grants.sort();
        grants.dedup();
        Rights { grants, by_city: ByCity::default() }
    }

    pub fn grants(&self) -> &[(Permission, Scope)] {
        &self.grants
    }

    /// Where the permission is held, on `resource` if one is named.
    pub fn scope_of(&self, name: &str, resource: Option<&str>) -> Scope {
        self.grants.iter().filter(|(permission, _)| permission.covers(name, resource)).fold(Scope::NOWHERE, |scope, (_, granted)| scope.union(granted))
    }

    /// Whether the permission is held in `city`, on `resource` if one is named.
    pub fn holds(&self, name: &str, resource: Option<&str>, city: City) -> bool {
        self.grants.iter().any(|(permission, granted)| granted.contains(city) && permission.covers(name, resource))
    }

    /// What may be read of a dataset, if anything.
    pub fn dataset(&self, dataset: &str) -> Option<DatasetRight> {
        self.dataset_by("dataset.read", dataset)
    }

    /// What may be read of a dataset in cells of many customers, if anything.
    pub fn dataset_in_cells(&self, dataset: &str) -> Option<DatasetRight> {
        self.dataset_by("dataset.aggregate", dataset)
    }

    fn dataset_by(&self, name: &str, dataset: &str) -> Option<DatasetRight> {
        let covering: Vec<_> = self.grants.iter().filter(|(permission, _)| permission.covers(name, Some(dataset))).collect();
        let cities = covering.iter().fold(Scope::NOWHERE, |scope, (_, granted)| scope.union(granted));
        if cities.is_nowhere() {
            return None;
        }
        let unmasked = self.scope_of("dataset.unmask", Some(dataset)).covers(&cities);
        Some(DatasetRight { columns: columns_everywhere(&covering, &cities), unmasked, cities })
    }

    /// What both may do.
    pub fn intersect(&self, other: &Rights) -> Rights {
        let both = self.grants.iter().flat_map(|(mine, my_scope)| {
            other.grants.iter().filter_map(move |(theirs, their_scope)| Some((mine.intersect(theirs)?, my_scope.intersect(their_scope))))
        });
        Rights::new(both)
    }

    /// The same rights, held in no more than `scope`.
    pub fn narrowed(&self, scope: &Scope) -> Rights {
        Rights::new(self.grants.iter().map(|(permission, granted)| (permission.clone(), granted.intersect(scope))))
    }

    /// The same rights, held in no more than one city. Remembered, so that the calls of a caller in a city share one value.
    pub fn in_city(self: &Arc<Rights>, city: City) -> Arc<Rights> {
        let find = |by_city: &[(City, Held)]| by_city.iter().find(|(made_for, _)| *made_for == city).map(|(_, held)| held.clone());
        let found = find(&self.by_city.0.read().unwrap_or_else(PoisonError::into_inner));
        let held = found.unwrap_or_else(|| {
            let narrowed = self.narrowed(&Scope::city(city));
            let held = if narrowed == **self { Held::Same } else { Held::Less(Arc::new(narrowed)) };
            let mut by_city = self.by_city.0.write().unwrap_or_else(PoisonError::into_inner);
            // Another call may have been quicker: its value is the one that all share.
            find(&by_city).unwrap_or_else(|| {
                by_city.push((city, held.clone()));
                held
            })
        });
        match held {
            Held::Same => Arc::clone(self),
            Held::Less(rights) => rights,
        }
    }

    /// A text that is equal for equal rights only: the key under which anything computed with these rights may be kept.
    pub fn fingerprint(&self) -> String {
        self.grants.iter().map(|(permission, scope)| format!("{permission}@{scope}")).collect::<Vec<_>>().join(";")
    }
}

impl Clone for ByCity {
    fn clone(&self) -> ByCity {
        ByCity::default()
    }
}

impl PartialEq for ByCity {
    fn eq(&self, _: &ByCity) -> bool {
        true
    }
}

impl Eq for ByCity {}

impl Hash for ByCity {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for ByCity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The columns that are granted in each city of `cities`: per city the union of its grants, over cities the intersection.
fn columns_everywhere(covering: &[&(Permission, Scope)], cities: &Scope) -> Option<BTreeSet<String>> {
    let in_scope = |place: &Scope| -> Option<BTreeSet<String>> {
        let mut columns = BTreeSet::new();
        for (permission, granted) in covering {
            if granted.covers(place) {
                columns.extend(permission.columns()?.iter().cloned());
            }
        }
        Some(columns)
    };
    let Scope::Cities(cities) = cities else {
        return in_scope(&Scope::Province);
    };
    cities.iter().filter_map(|city| in_scope(&Scope::city(*city))).reduce(|all, here| &all & &here)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn rights(grants: &[(&str, &[&str])]) -> Rights {
        Rights::new(grants.iter().map(|(permission, cities)| (permission.parse().unwrap(), cities.iter().map(|city| city.parse::<City>().unwrap()).collect())))
    }

    #[test]
    fn intersection_keeps_the_narrower_resource_columns_and_scope() {
        let caller = rights(&[("dataset.read:*", &["440600", "441900"]), ("warehouse.query", &["440600"])]);
        let plugin = rights(&[("dataset.read:interaction(at,page)", &["440000"]), ("ingest.append", &["440000"])]);
        assert_eq!(caller.intersect(&plugin).fingerprint(), "dataset.read:interaction(at,page)@440600,441900");
        assert_eq!(caller.intersect(&plugin), plugin.intersect(&caller));
    }

    #[test]
    fn a_column_exists_only_where_every_city_of_the_call_grants_it() {
        let mixed = rights(&[("dataset.read:interaction", &["440600"]), ("dataset.read:interaction(at)", &["441900"])]);
        assert_eq!(mixed.dataset("interaction").unwrap().columns, Some(["at".to_owned()].into()));
        let foshan = mixed.narrowed(&Scope::city("440600".parse().unwrap()));
        assert_eq!(foshan.dataset("interaction").unwrap().columns, None);
    }

    #[test]
    fn personal_columns_stay_masked_unless_every_city_unmasks_them() {
        let mixed = rights(&[("dataset.read:interaction", &["440600", "441900"]), ("dataset.unmask:interaction", &["440600"])]);
        assert!(!mixed.dataset("interaction").unwrap().unmasked);
        assert!(mixed.narrowed(&Scope::city("440600".parse().unwrap())).dataset("interaction").unwrap().unmasked);
    }

    #[test]
    fn rights_held_to_a_city_are_one_value_and_equal_to_those_made_anew() {
        let both = Arc::new(rights(&[("dataset.read:interaction", &["440600", "441900"]), ("warehouse.query", &["440600"])]));
        let foshan: City = "440600".parse().unwrap();
        let held = both.in_city(foshan);
        assert_eq!(*held, both.narrowed(&Scope::city(foshan)));
        assert!(Arc::ptr_eq(&held, &both.in_city(foshan)));
        assert!(Arc::ptr_eq(&held, &held.in_city(foshan)), "nothing is left to take away");
        assert_eq!(both.in_city("441900".parse().unwrap()).fingerprint(), "dataset.read:interaction@441900");
    }

    #[test]
    fn what_is_not_granted_does_not_exist() {
        let none = rights(&[("dataset.read:interaction", &[])]);
        assert_eq!(none.dataset("interaction"), None);
        assert_eq!(rights(&[("dataset.read:inter", &["440600"])]).dataset("interaction"), None);
        assert!(rights(&[("*", &["440000"])]).dataset("interaction").unwrap().unmasked);
    }
}
