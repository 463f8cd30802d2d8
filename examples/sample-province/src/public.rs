//! Real public facts that the sample stands on: cities, number segments, holidays, browsers, handsets. Sources and licences: `data/README.md`.
//!
//! Start at [`cities`]. Everything is read from the files of `data/` that are compiled in; nothing is drawn here, nothing depends on the seed.

mod agents;
mod calendar;
mod cities;
mod devices;
mod segments;

pub use agents::user_agent;
pub use calendar::{holiday_name, is_day_off};
pub use cities::{City, cities, districts};
pub use devices::{Device, devices};
pub use segments::segments;
