//! The planted facts as plots: `report/*.svg` and an `index.html` that shows them.
//!
//! Start at [`write`]. Invariant: everything is read back from the files that were written, as a reader would, so that the plots are a witness and no copy of
//! the answer key; of the key only the verdicts on silence are used, and the plot says so.

mod agents;
mod complaints;
mod daily_use;
mod delivery;
mod dwell;
mod figure;
mod growth;
mod index;
mod kpi_drop;
mod read_back;
mod silent_value;

#[cfg(test)]
mod tests;

pub(crate) use index::write;
