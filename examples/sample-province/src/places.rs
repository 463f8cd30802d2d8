use crate::public::City;

/// The people and shops of a city, by number from 1. What they are called stands in the reference files.
pub(crate) fn agents(city: &City) -> u32 {
    8 + city.weight / 150
}

pub(crate) fn own_stores(city: &City) -> u32 {
    3 + city.weight / 300
}

pub(crate) fn star_stores(city: &City) -> u32 {
    4 + city.weight / 200
}

/// The hotline of the province: all staff sit in one city.
pub(crate) const HOTLINE_CITY: &str = "440600";
pub(crate) const HOTLINE_STAFF: u32 = 60;

pub(crate) fn agent_id(city_code: &str, number: u32) -> String {
    format!("A{city_code}{number:03}")
}

pub(crate) fn store_id(city_code: &str, number: u32) -> String {
    format!("S{city_code}{number:03}")
}

/// Star-rated stores count on where own stores end.
pub(crate) fn star_store_id(city_code: &str, number: u32) -> String {
    format!("X{city_code}{number:03}")
}

pub(crate) fn hotline_id(number: u32) -> String {
    format!("H10086{number:03}")
}
