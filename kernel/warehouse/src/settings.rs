use std::{path::PathBuf, time::Duration};

/// Where the warehouse lives and what it may use.
#[derive(Debug, Clone)]
pub struct WarehouseSettings {
    /// Folder of the catalog, the Parquet files, the uploads and the visitor key.
    pub dir: PathBuf,
    pub query: QueryLimits,
    // Limit: text of a feed file that is committed together, and its lines. A commit costs two syncs of the disk, about 10 ms, which this much hides; more only
    // holds more rows in memory. A file of up to this size is one snapshot.
    pub chunk_bytes: usize,
    pub chunk_lines: usize,
    // Limit: size of one feed file, as it is sent and unpacked. A province's busiest portal writes about 1 GiB a day; a file of all cities for a month has ten; one beyond this is a mistake and would fill the inbox.
    pub file_bytes_max: u64,
    // Limit: keys of a slice that are held in memory to tell its duplicates, 16 bytes each and as many places as fill 2^23 of a hash table; earlier ones are on disk.
    // As many again of the other parts of its period.
    pub keys_in_memory: usize,
    // Limit: rows of other parts that the change of one sets aside or brings back. They are held in memory, with their keys some 500 MB; a part that holds another one whole is a mistake.
    pub moved_rows_max: usize,
    // Limit: text of quarantined rows that a replay holds at one time; a row may have 64 KiB, and ten thousand usual ones have one or two MiB.
    pub quarantine_bytes: usize,
    // Limit: Arrow bytes of the appends that are on their way, of all callers. Beyond it an append is refused before anything is done, and may be sent again: commits
    // come one after another, and what waits for them is in memory, some times as large. Those of streams have half as much of their own, and wait for it.
    pub append_bytes: usize,
    // Limit: rows of a table that is held in memory, if they are a mebibyte at most: terms, rules, agents and the like, which many queries look into and few change.
    // To lay out a scan and open a file takes longer than to look at all of them.
    pub held_rows: u64,
    // Limit: how long no rows come before the kernel is at rest and merges small files that it leaves alone while commits would wait for it.
    pub rest: Duration,
}

/// What one query may use. A request may ask for less, never for more.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    // Limit: rows of an answer. A caller that wants more wants an export, not an answer.
    pub rows_max: u64,
    // Limit: memory of a query's joins, sorts and groups, per query. What it holds beyond that goes to disk; it fails when it cannot.
    pub memory_bytes_max: u64,
    // Limit: queries that run at once; the others wait for their turn until their deadline. More than twice the cores only makes all of them slower.
    pub running_max: usize,
    /// Files of so many rows are looked into for rows to leave out; fewer are read as they are, which takes less time than to look. About a page of a column.
    pub looked_into_rows: usize,
    /// A query that only filters fewer rows than these runs on one core: it is done before others would be at work.
    pub one_core_rows: usize,
}

impl WarehouseSettings {
    /// The defaults, in `dir`.
    pub fn in_dir(dir: impl Into<PathBuf>) -> WarehouseSettings {
        WarehouseSettings {
            dir: dir.into(),
            query: QueryLimits::default(),
            chunk_bytes: 24 << 20,
            chunk_lines: 1_000_000,
            file_bytes_max: 16 << 30,
            keys_in_memory: 7 << 20,
            moved_rows_max: 1_000_000,
            quarantine_bytes: 64 << 20,
            append_bytes: 128 << 20,
            held_rows: 20_000,
            rest: Duration::from_secs(2),
        }
    }
}

impl Default for QueryLimits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        QueryLimits { rows_max: 1_000_000, memory_bytes_max: 1 << 30, running_max: cores * 2, looked_into_rows: 20_000, one_core_rows: 100_000 }
    }
}
