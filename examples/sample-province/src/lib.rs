//! Twelve months of a made-up operator in a real province: what six platforms would have sent, as the files that they would have sent.
//!
//! Start from [`generate`]. Every life is derived from the seed and the customer's place in the city, so nothing is kept: the memory needed is that of the
//! open files.
//!
//! Invariants: knows neither the kernel nor its tables, only the formats; reads no clock, no network and no file, but for the report, which reads back what was
//! written; the same [`Options`] give the same bytes, whatever the number of threads.

// What is asked for, and what comes back.
mod error;
mod generate;
mod options;
mod progress;
mod totals;

// What is true of the province whatever the seed.
mod calendar;
mod catalogue;
mod places;
pub mod public;
pub mod ticket_text;

// What is drawn.
mod draw;
mod life;
mod planted;
mod world;

// What is written.
mod answer_key;
mod city;
mod feed_file;
pub mod feeds;
pub mod portal;
mod reference;
mod report;

// How time is counted.
mod moment;
mod month;

pub use draw::{Draw, mix};
pub use error::GenerateError;
pub use feed_file::FeedFile;
pub use feeds::{Encoding, Feed, Flaw};
pub use generate::{Summary, generate};
pub use moment::{Moment, compact_day};
pub use month::{Month, day_period};
pub use options::Options;
pub use progress::Progress;
pub use totals::{DayTotal, FileTotal, OnDay, RowKind};
