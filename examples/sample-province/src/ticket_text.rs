//! Texts of consultations, complaints, praise and suggestions (咨询投诉), as hotline agents type them and customers write them on the web and by SMS.
//!
//! Start at [`ticket`]. What can be said stands in `data/ticket-text/*.txt`, a grammar for a Chinese colleague to read and extend; the code only chooses.
//! Invariants: knows no files and no seed, all chance comes through `draw`; the same subject and draws give the same text.

mod cause;
mod composer;
mod grammar;
mod misspelling;
mod punctuation;
mod slot;
mod taxonomy;
mod voice;

#[cfg(test)]
mod tests;

pub use cause::Cause;
pub use composer::{TicketKind, TicketSubject, ticket};
pub use taxonomy::{TaxonomyNode, taxonomy};
