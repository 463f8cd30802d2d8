/// What a long run says while it works: once per city, when its files are closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub cities_done: usize,
    pub cities: usize,
    pub city: String,
    /// Rows written so far, all files together.
    pub rows: u64,
}
