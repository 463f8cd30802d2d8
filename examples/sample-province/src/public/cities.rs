use std::sync::LazyLock;

/// A city of Guangdong.
#[derive(Debug, Clone, PartialEq)]
pub struct City {
    /// GB/T 2260, six digits.
    pub code: &'static str,
    /// With 市 at the end.
    pub name_zh: &'static str,
    pub name_en: &'static str,
    /// WGS 84, degrees.
    pub latitude: f64,
    pub longitude: f64,
    /// Residents in units of ten thousand: the share of customers.
    pub weight: u32,
}

/// The 21 cities, by code.
pub fn cities() -> &'static [City] {
    static CITIES: LazyLock<Vec<City>> = LazyLock::new(|| include_str!("../../data/cities.csv").lines().skip(1).filter_map(city).collect());
    &CITIES
}

/// Districts and counties of a city (towns where it has none); empty for an unknown code.
pub fn districts(city_code: &str) -> &'static [&'static str] {
    static DISTRICTS: LazyLock<Vec<(&str, Vec<&str>)>> = LazyLock::new(|| {
        include_str!("../../data/districts.txt")
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(code, names)| (code, names.split(' ').collect()))
            .collect()
    });
    DISTRICTS.iter().find(|(code, _)| *code == city_code).map_or(&[], |(_, names)| names)
}

fn city(line: &'static str) -> Option<City> {
    let mut fields = line.split(',');
    Some(City {
        code: fields.next()?,
        name_zh: fields.next()?,
        name_en: fields.next()?,
        latitude: fields.next()?.parse().ok()?,
        longitude: fields.next()?.parse().ok()?,
        weight: fields.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guangdong_has_21_cities_and_each_has_places() {
        assert_eq!(cities().len(), 21);
        for city in cities() {
            assert!(districts(city.code).len() >= 3, "{}", city.name_zh);
            assert!(city.name_zh.ends_with('市') && city.weight > 200);
        }
        assert!(districts("110000").is_empty());
    }
}
