//! The planted facts as plots and tables: `report/*.svg` and an `index.html` that shows them all.
//!
//! Start at [`write`]. Invariant: everything is read back from the files that were written, as a reader would, so that the plots are a witness and no copy of
//! the answer key; of the key only the verdicts on silence are used, and the plot says so.

// The page, and what it is made of.
mod figure;
mod index;
mod table;

// What is read back.
mod bills;
mod enrolments;
mod numbers;
mod read_back;

// Plots.
mod agents;
mod complaints;
mod daily_use;
mod delivery;
mod dwell;
mod growth;
mod kpi_drop;
mod late_file;
mod silent_value;

// Tables.
mod arbitrage;
mod exclusive;
mod flaws;
mod late_adjustments;
mod moves;
mod refunded_more;
mod reused_numbers;
mod terms;

#[cfg(test)]
mod tests;

pub(crate) use index::write;
