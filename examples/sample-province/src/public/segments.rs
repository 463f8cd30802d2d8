use std::sync::LazyLock;

/// Number segments of China Mobile in a city: the first seven digits of a service number. Empty for an unknown code.
pub fn segments(city_code: &str) -> &'static [u32] {
    static SEGMENTS: LazyLock<Vec<(&str, Vec<u32>)>> = LazyLock::new(|| {
        include_str!("../../data/segments.txt")
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(code, numbers)| (code, numbers.split(' ').filter_map(|number| number.parse().ok()).collect()))
            .collect()
    });
    SEGMENTS.iter().find(|(code, _)| *code == city_code).map_or(&[], |(_, numbers)| numbers)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::public::cities;

    #[test]
    fn every_city_has_60_segments_and_shares_none() {
        let mut seen = HashSet::new();
        for city in cities() {
            assert_eq!(segments(city.code).len(), 60, "{}", city.name_zh);
            assert!(segments(city.code).iter().all(|segment| (1_300_000..2_000_000).contains(segment) && seen.insert(*segment)));
        }
    }
}
