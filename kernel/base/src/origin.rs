/// Which file or call wrote a row.
pub const SOURCE: &str = "_source";
/// When a row was committed.
pub const INGESTED_AT: &str = "_ingested_at";
/// The columns that the kernel keeps in every dataset besides those of its contract, in the order of the tables. A query sees them when it names one.
pub const ORIGIN_COLUMNS: [&str; 2] = [SOURCE, INGESTED_AT];
