//! The web and WAP portals: the access log that the server writes and the clicks that its pages report.
//!
//! Start at [`write`]. Visitors come by the calendar, walk from a landing page over the pages and through one of the [`flows`], and leave; both files tell of the
//! same walks. Crawlers come at all hours and walk nowhere.
//!
//! Invariants: a city and month has a stream of draws of its own; nothing here knows a customer, since the portals do not; addresses are of ranges that
//! belong to nobody.

mod access_line;
mod campaign;
mod click_line;
mod crawler;
mod files;
mod flow;
mod journal;
mod landing;
mod page;
mod planted_dwell;
mod session;
mod visitor;

#[cfg(test)]
mod tests;

pub use flow::{FlowStep, flows};
pub use planted_dwell::{PLANTED_DWELL, PlantedDwell};

pub(crate) use files::write;
