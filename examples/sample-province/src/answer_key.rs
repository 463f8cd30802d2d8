//! What is planted, as it came out: counts and ids noted while the rows were written, so that a plugin can be scored against them.
//!
//! Start at [`CityKey`]; [`write`] joins those of the cities. Invariant: says nothing that the files do not show.

mod city_key;
mod facts;
mod silence;

pub(crate) use city_key::CityKey;
pub(crate) use facts::{write, write_json};
