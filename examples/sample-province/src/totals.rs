use serde::Serialize;

/// What a row is, from the reader's side. The kernel's counts must come to the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    Good,
    /// Good, and replaces an earlier row with the same key.
    Replacing,
    /// Says again what an earlier row of the file says.
    Duplicate,
    /// Breaks the feed's contract and must end in quarantine.
    Corrupt,
    /// Carries a number that nobody has: it waits.
    UnknownNumber,
}

/// One file as the generator knows it.
#[derive(Debug, Clone, Serialize)]
pub struct FileTotal {
    pub feed: &'static str,
    pub city: String,
    pub period: String,
    /// Path below the output folder.
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
    pub rows_good: u64,
    /// Of the good ones, those that replace a row that an earlier file of the city sent.
    pub rows_replacing: u64,
    pub rows_duplicate: u64,
    pub rows_corrupt: u64,
    pub rows_unknown_number: u64,
    /// Sums over the good rows, by column of the dataset.
    pub sums: std::collections::BTreeMap<&'static str, i64>,
}

impl FileTotal {
    pub fn rows(&self) -> u64 {
        self.rows_good + self.rows_duplicate + self.rows_corrupt + self.rows_unknown_number
    }
}
