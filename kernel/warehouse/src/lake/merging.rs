use std::{
    collections::{HashMap, HashSet},
    io,
    ops::Range,
    panic::AssertUnwindSafe,
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use datafusion::catalog::{CatalogProvider, TableProvider};
use datafusion_ducklake::{
    CompactionOutputFile, DuckLakeCatalog, DuckLakeError, DuckLakeTable, DuckLakeWriteOptions, MergeOptions, MetadataWriter, RewriteOptions,
    maintenance::{CleanupCriteria, cleanup_old_files_sqlite},
    metadata_provider::{DuckLakeFileMetadata, DuckLakeTableFile, FILE_METADATA_BATCH_SIZE, MetadataProvider},
};
use futures::FutureExt;
use tokio::time::timeout;

use super::{
    HeldMetadata, Lake, ROW_GROUP_BYTES_MAX, ROW_GROUP_ROWS_MAX, TableName,
    commit::landed_all_the_same,
    failed,
    noted_merge::{NotedMerge, NotingWriter},
};
use crate::{contract::CITY, error::WarehouseError};

// Limit: sizes of files in bytes. Those between two of these are merged with each other, so that a row is written anew a few times on its way up and not with
// each merge of its table; larger files stay as they are.
const SIZES: [u64; 4] = [0, 256 << 10, 4 << 20, 32 << 20];

// Limit: bytes of a file that is sorted when it is merged or written anew: all rows of a merge are in memory for that, ten times as large.
const SORTED_BYTES_MAX: u64 = 8 << 20;

// Limit: files of each size that may wait for others of their city, since every scan opens them. While commits go on, more, since
// merges take processor and disk from them.
const WAITING_MAX_BUSY: [usize; 3] = [7, 7, 31];
const WAITING_MAX_AT_REST: [usize; 3] = [1, 1, 7];

// Limit: files of a city that rows were removed from and that wait nevertheless. To write one anew costs its size twice, since earlier snapshots need what it was.
const WORN_MAX: usize = 7;

// Limit: rows removed from a file that is not written anew when no rows come, and their share of the file. Each scan reads which rows are gone; what is written anew stays
// on disk for earlier snapshots as it was, so that each row that goes leaves at most so many more there.
const REMOVED_MAX: i64 = 256;
const REMOVED_SHARE: i64 = 16;

// Limit: how often a merge is prepared while others commit, before it is made in one turn.
const BESIDE_MAX: usize = 2;

// Limit: rounds over one table while rows come, which bring files as fast as they are merged. Other tables have their turn then.
const BUSY_ROUNDS_MAX: usize = 4;

// Limit: files of one merge, and their bytes: some tens of milliseconds for many small ones, a second for few large ones.
const MERGED_FILES_MAX: usize = 128;
const MERGED_BYTES_MAX: u64 = 64 << 20;

// Limit: commits to a table after which it is looked at, which takes some milliseconds.
const COMMITS_BETWEEN_LOOKS: usize = 64;

// Limit: how long a file stays on disk after it was merged into another. Queries that had begun read it still, and no call is longer than an hour.
const MERGED_KEPT_FOR: Duration = Duration::from_hours(2);

// Limit: how long the kernel does not look for what may be deleted, nor try again what could not be merged.
const LOOKS_EVERY: Duration = Duration::from_mins(10);

/// What a merge may cost those who commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Busy,
    AtRest,
}

/// Small files of one city, or files that have rows of several, that are merged with each other.
struct Due {
    sizes: Range<u64>,
    files: HashSet<i64>,
    /// Those among them that are written anew first, each alone: a merge leaves out files that rows were removed from, and keeps those apart whose table had other
    /// columns.
    apart: Vec<i64>,
}

impl Due {
    /// Of such files those that are due, if more wait than may.
    fn of(sizes: Range<u64>, files: Vec<DuckLakeTableFile>, waiting_max: usize, pace: Pace) -> Option<Due> {
        let (worn, mut waiting): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.delete_file_id.is_some());
        let removed = |file: &DuckLakeTableFile| file.delete_count.unwrap_or(0);
        let rows = |file: &DuckLakeTableFile| file.max_row_count.unwrap_or(0);
        let costs_scans = |file: &&DuckLakeTableFile| pace == Pace::AtRest && removed(file) > REMOVED_MAX && REMOVED_SHARE * removed(file) >= rows(file);
        let apart: Vec<i64> = of_a_merge(worn.iter().filter(costs_scans)).map(|file| file.data_file_id).collect();
        if !apart.is_empty() {
            return Some(Due { sizes, files: apart.iter().copied().collect(), apart });
        }
        let all_are_due = worn.len() > WORN_MAX;
        waiting.extend(worn.into_iter().filter(|file| all_are_due || 2 * removed(file) >= rows(file)));
        if waiting.len() <= waiting_max {
            return None;
        }
        waiting.sort_by_key(|file| file.data_file_id);
        // One file alone is no merge.
        let count = of_a_merge(waiting.iter()).count().max(2);
        waiting.truncate(count);
        let newest_columns = waiting.iter().filter_map(|file| file.schema_version).max();
        let apart = waiting.iter().filter(|file| file.delete_file_id.is_some() || file.schema_version != newest_columns);
        Some(Due { sizes, apart: apart.map(|file| file.data_file_id).collect(), files: waiting.iter().map(|file| file.data_file_id).collect() })
    }
}

/// The first of some files, as many as one merge takes.
fn of_a_merge<'f>(files: impl Iterator<Item = &'f DuckLakeTableFile>) -> impl Iterator<Item = &'f DuckLakeTableFile> {
    let mut bytes = 0;
    files.take(MERGED_FILES_MAX).take_while(move |file| {
        let fits = bytes < MERGED_BYTES_MAX;
        bytes += file.file.file_size_bytes.unsigned_abs();
        fits
    })
}

impl Lake {
    /// Merges while rows come and when none came for a while, and deletes what was merged long enough ago, until it is stopped.
    pub(crate) async fn keep_merged(&self, rest: Duration) {
        let mut deleted: Option<Instant> = None;
        while !self.merging_stopped.load(Ordering::SeqCst) {
            let is_busy = timeout(rest, self.written.notified()).await.is_ok();
            if is_busy {
                let often = self.tables.lock().unwrap_or_else(PoisonError::into_inner).take_written(COMMITS_BETWEEN_LOOKS);
                self.merge_all(often, Pace::Busy).await;
            } else {
                let unmerged = self.tables.lock().unwrap_or_else(PoisonError::into_inner).take_unmerged();
                self.merge_all(unmerged, Pace::AtRest).await;
            }
            if deleted.is_none_or(|deleted| deleted.elapsed() >= LOOKS_EVERY) {
                deleted = Some(Instant::now());
                if let Err(error) = caught(self.delete_merged(MERGED_KEPT_FOR)).await {
                    tracing::warn!(%error, "files that were merged into others could not be deleted: it is tried again in ten minutes");
                }
            }
            if !is_busy {
                // Whether rows came or the time is over: either way the kernel waits for its rest.
                let _ = timeout(LOOKS_EVERY, self.written.notified()).await;
            }
        }
    }

    async fn merge_all(&self, tables: Vec<TableName>, pace: Pace) {
        for table in tables {
            let merged = caught(self.merge(&table, pace)).await;
            // What fails from here on fails because the kernel closes; the next start merges what is left.
            if self.merging_stopped.load(Ordering::SeqCst) {
                return;
            }
            if let Err(error) = merged {
                tracing::warn!(%error, table = table.name, "some files of a table could not be merged: its queries open all of them, and it is tried again at the next rest");
                self.tables.lock().unwrap_or_else(PoisonError::into_inner).note_unmerged(&table);
            }
        }
    }

    /// Lets no merge begin any more, and waits for the one that goes on.
    pub(crate) async fn stop_merging(&self) {
        self.merging_stopped.store(true, Ordering::SeqCst);
        let _merge = self.merging.lock().await;
        // And for the deletion of files.
        drop(self.committing.lock().await);
    }

    /// Merges the small files of a table where too many of a city and size wait for it. No snapshot shows other rows than before.
    ///
    /// # Errors
    /// The first one; what it does not concern was merged.
    pub(crate) async fn merge(&self, table: &TableName, pace: Pace) -> Result<(), WarehouseError> {
        self.open_writers_anew().await?;
        let mut failure = None;
        for round in 1.. {
            let mut is_merged = false;
            for due in self.due(table, pace)? {
                // Commits that wait have their turn in between.
                match self.merge_files(table, due).await {
                    Ok(merged) => is_merged |= merged,
                    Err(error) => drop(failure.get_or_insert(error)),
                }
            }
            // What is merged is a file less, and a file that is written anew lacks no rows, so that this ends when no others come.
            if !is_merged || (pace == Pace::Busy && round == BUSY_ROUNDS_MAX) {
                break;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Writes the files of a merge while others commit, and commits it in its turn.
    async fn merge_files(&self, table: &TableName, due: Due) -> Result<bool, WarehouseError> {
        let _one_at_a_time = self.merging.lock().await;
        for _ in 0..BESIDE_MAX {
            if self.merging_stopped.load(Ordering::SeqCst) {
                return Ok(false);
            }
            self.refuse_in_doubt()?;
            let Some(merge) = self.prepare(table, &due).await? else {
                return Ok(false);
            };
            let _turn = self.committing.lock().await;
            if self.commit_merge(table, &merge).await? {
                return Ok(true);
            }
        }
        // Rows keep leaving the files. Once more, and now nobody else commits.
        let _turn = self.committing.lock().await;
        match self.prepare(table, &due).await? {
            Some(merge) => self.commit_merge(table, &merge).await,
            None => Ok(false),
        }
    }

    /// Commits a merge, whose turn it is; false when rows were removed from its files while it was prepared. What did not land leaves no files.
    async fn commit_merge(&self, table: &TableName, merge: &NotedMerge) -> Result<bool, WarehouseError> {
        // What a panic leaves behind is looked at as after any other failure.
        let committing = || std::panic::catch_unwind(AssertUnwindSafe(|| merge.commit(self.metadata())));
        let committed = self.refuse_in_doubt().and_then(|()| match committing() {
            Ok(Err(DuckLakeError::Conflict(_))) => Ok(false),
            Ok(committed) => self.note_merged(table, committed).map(|()| true),
            Err(_) => self.note_merged(table, Err(DuckLakeError::Internal("the commit of a merge panicked".to_owned()))).map(|()| true),
        });
        // In doubt they may be a snapshot's.
        if !matches!(committed, Ok(true) | Err(WarehouseError::InDoubt)) {
            self.discard(table, merge).await;
        }
        committed
    }

    /// Writes the merged files; no snapshot has them yet. `None` when nothing was to be merged after all.
    async fn prepare(&self, table: &TableName, due: &Due) -> Result<Option<NotedMerge>, WarehouseError> {
        let writer = Arc::new(NotingWriter::new(self.metadata().clone()));
        let opened = self.open_to_merge(table, due.files.clone(), writer.clone()).await?;
        let (opened, session) = (duck_lake(opened.as_ref())?, self.session().state());
        let merging = async {
            if due.apart.is_empty() {
                let options = MergeOptions { target_file_size: due.sizes.end, max_merged_files: MERGED_FILES_MAX, min_file_size: due.sizes.start };
                opened.merge_adjacent_files(&session, options).await
            } else {
                let options = RewriteOptions { data_file_ids: Some(due.apart.clone()), ..RewriteOptions::default() };
                opened.rewrite_data_files(&session, options).await
            }
        };
        let merged = AssertUnwindSafe(merging).catch_unwind().await;
        merged.unwrap_or_else(|_| Err(DuckLakeError::Internal("a merge panicked".to_owned()))).map_err(failed("merging files"))?;
        Ok(writer.take())
    }

    /// Deletes the files of a merge that no snapshot will have. One that stays costs room and nothing else.
    async fn discard(&self, table: &TableName, merge: &NotedMerge) {
        for CompactionOutputFile { file, .. } in &merge.outputs {
            let deleted = match self.metadata().get_data_path() {
                Ok(data) if file.path_is_relative => tokio::fs::remove_file(Path::new(&data).join(&*table.schema).join(&table.name).join(&file.path)).await,
                Ok(_) => tokio::fs::remove_file(&file.path).await,
                Err(error) => Err(io::Error::other(error)),
            };
            if let Err(error) = deleted {
                tracing::warn!(%error, table = table.name, file = file.path, "a file that no snapshot names could not be deleted");
            }
        }
    }

    /// The files that are due, those of each city and size by themselves.
    fn due(&self, table: &TableName, pace: Pace) -> Result<Vec<Due>, WarehouseError> {
        let waiting_max = match pace {
            Pace::Busy => WAITING_MAX_BUSY,
            Pace::AtRest => WAITING_MAX_AT_REST,
        };
        let mut waiting: HashMap<(usize, Option<String>), Vec<DuckLakeTableFile>> = HashMap::new();
        let bytes_max = if self.is_sorted(table)? { SORTED_BYTES_MAX } else { u64::MAX };
        for (city, file) in self.files_of(table).map_err(failed("listing data files"))? {
            let bytes = file.file.file_size_bytes.unsigned_abs();
            if bytes > bytes_max {
                continue;
            }
            if let Some(size) = SIZES.windows(2).position(|sizes| (sizes[0]..sizes[1]).contains(&bytes)) {
                waiting.entry((size, city)).or_default().push(file);
            }
        }
        Ok(waiting.into_iter().filter_map(|((size, _), files)| Due::of(SIZES[size]..SIZES[size + 1], files, waiting_max[size], pace)).collect())
    }

    /// The files of the newest snapshot, each with the city of its rows if all are of one: a file is written for one, but reference rows may be of several.
    fn files_of(&self, table: &TableName) -> Result<Vec<(Option<String>, DuckLakeTableFile)>, DuckLakeError> {
        let (catalog, newest) = (&self.provider, self.newest());
        let Some(table_id) = self.table_id(table, newest)? else {
            return Ok(Vec::new());
        };
        let city = catalog.get_table_structure(table_id, newest)?.into_iter().find(|column| column.column_name == CITY).map(|column| column.column_id);
        let mut files: Vec<DuckLakeFileMetadata> = Vec::new();
        loop {
            let after = files.last().map(|last| last.file.data_file_id);
            let page = catalog.get_table_file_metadata_page(table_id, newest, after, FILE_METADATA_BATCH_SIZE)?;
            let is_last = page.len() < FILE_METADATA_BATCH_SIZE;
            files.extend(page);
            if is_last {
                return Ok(files.into_iter().map(|file| (city.and_then(|city| one_text(&file, city)), file.file)).collect());
            }
        }
    }

    /// The table at the newest snapshot, as one that a merge of these files writes.
    async fn open_to_merge(&self, table: &TableName, files: HashSet<i64>, writer: Arc<NotingWriter>) -> Result<Arc<dyn TableProvider>, WarehouseError> {
        let mut options = DuckLakeWriteOptions::default();
        options.max_row_group_rows = Some(ROW_GROUP_ROWS_MAX);
        options.max_row_group_bytes = Some(ROW_GROUP_BYTES_MAX);
        let metadata = Arc::new(HeldMetadata::of_files(self.provider.clone(), files));
        let catalog = DuckLakeCatalog::with_writer(metadata, writer).map_err(failed("opening the catalog"))?.with_write_options(options);
        let schema = catalog.schema(&table.schema).ok_or_else(|| WarehouseError::broken("a table that is merged has no schema"))?;
        let opened = schema.table(&table.name).await.map_err(|source| WarehouseError::Storage { doing: "opening a table", source: Box::new(source) })?;
        opened.ok_or_else(|| WarehouseError::broken("a table that is merged is gone"))
    }

    /// What this process knows of the table follows the commit.
    fn note_merged(&self, table: &TableName, committed: Result<(), DuckLakeError>) -> Result<(), WarehouseError> {
        let snapshot = match committed.and_then(|()| self.current_snapshot()) {
            Ok(snapshot) => snapshot,
            Err(error) => landed_all_the_same(self, self.newest(), error)?,
        };
        self.tables.lock().unwrap_or_else(PoisonError::into_inner).note_merged(table, snapshot);
        self.newest.store(snapshot, Ordering::SeqCst);
        Ok(())
    }

    /// Deletes files that were merged into others so long ago.
    async fn delete_merged(&self, kept_for: Duration) -> Result<(), WarehouseError> {
        let _one_at_a_time = self.committing.lock().await;
        if self.merging_stopped.load(Ordering::SeqCst) {
            return Ok(());
        }
        let merged_before = CleanupCriteria::OlderThan((SystemTime::now() - kept_for).into());
        cleanup_old_files_sqlite(self.metadata(), self.files.clone(), merged_before, false)
            .await
            .map(drop)
            .map_err(self.write_failed("deleting files that were merged"))
    }
}

/// A panic is an error like others.
async fn caught(work: impl Future<Output = Result<(), WarehouseError>>) -> Result<(), WarehouseError> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(WarehouseError::broken("the merging of files panicked")))
}

/// The text that a column has in all rows of a file.
fn one_text(file: &DuckLakeFileMetadata, column: i64) -> Option<String> {
    let statistics = file.column_statistics.iter().find(|statistics| statistics.column_id == column)?;
    statistics.min_value.clone().filter(|min| statistics.max_value.as_ref() == Some(min))
}

fn duck_lake(opened: &dyn TableProvider) -> Result<&DuckLakeTable, WarehouseError> {
    opened.downcast_ref::<DuckLakeTable>().ok_or_else(|| WarehouseError::broken("a table of the lake is no DuckLake table"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::{collections::BTreeMap, iter, path::Path};

    use arrow_array::{Int64Array, RecordBatch, StringArray, cast::AsArray, types::Int64Type};
    use arrow_schema::{DataType, Field, Schema, SchemaRef};
    use datafusion::{
        logical_expr::Expr,
        prelude::{DataFrame, col, lit},
    };
    use proptest::prelude::*;
    use sqlx::{Connection, SqliteConnection};
    use tempfile::TempDir;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::lake::{Changes, Layout};

    fn some() -> TableName {
        TableName::dataset("some")
    }

    fn schema() -> SchemaRef {
        let fields = vec![Field::new("city", DataType::Utf8, false), Field::new("number", DataType::Int64, false), Field::new("text", DataType::Utf8, false)];
        Arc::new(Schema::new(fields))
    }

    fn batch(city: &str, numbers: &[i64], text: &str) -> RecordBatch {
        let (cities, texts) = (StringArray::from(vec![city; numbers.len()]), StringArray::from(vec![text; numbers.len()]));
        RecordBatch::try_new(schema(), vec![Arc::new(cities), Arc::new(Int64Array::from(numbers.to_vec())), Arc::new(texts)]).unwrap()
    }

    async fn open(dir: &TempDir) -> Lake {
        let lake = Lake::open(dir.path()).await.unwrap();
        sort(&lake, &[]).await;
        lake
    }

    async fn sort(lake: &Lake, by: &[&str]) {
        let sorted_by = by.iter().map(|column| (*column).to_owned()).collect();
        lake.reconcile(&[Layout { table: some(), schema: schema(), sorted_by }]).await.unwrap();
    }

    async fn append(lake: &Lake, city: &str, numbers: &[i64], text: &str) -> i64 {
        let mut transaction = lake.begin().await.unwrap();
        transaction.append(&some(), &schema(), &[batch(city, numbers, text)]).await.unwrap();
        transaction.commit(|_| ()).await.unwrap().snapshot_id
    }

    async fn numbers(lake: &Lake, snapshot: i64, condition: Option<Expr>) -> Vec<i64> {
        let mut numbers = numbers_as_they_stand(lake, snapshot, condition).await;
        numbers.sort_unstable();
        numbers
    }

    async fn numbers_as_they_stand(lake: &Lake, snapshot: i64, condition: Option<Expr>) -> Vec<i64> {
        let batches = lake.rows(snapshot, &some(), condition, &["number"]).await.unwrap();
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    /// A text that cannot be compressed and makes a file one of the second size.
    fn of_the_second_size(seed: u64) -> String {
        incompressible(seed, 400 << 10)
    }

    fn incompressible(seed: u64, bytes: usize) -> String {
        let mut state = seed | 1;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b' ' + u8::try_from((state >> 33) % 90).unwrap())
        };
        iter::repeat_with(next).take(bytes).collect()
    }

    /// How many files of each city the newest snapshot has, beside those that rows were removed from.
    fn files(lake: &Lake) -> Vec<usize> {
        let mut cities: BTreeMap<_, usize> = BTreeMap::new();
        for (city, file) in lake.files_of(&some()).unwrap() {
            *cities.entry(city).or_default() += usize::from(file.delete_file_id.is_none());
        }
        cities.into_values().collect()
    }

    /// How many Parquet files are on disk.
    fn on_disk(dir: &Path) -> usize {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { on_disk(&path) } else { usize::from(path.extension().is_some_and(|end| end == "parquet")) }).sum()
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append(&'static str, u8),
        /// Numbers that leave a rest go, and one comes.
        Replace(i64, i64),
        Merge(Pace),
        /// What is due is written, and committed some steps later.
        BeginMerge,
        EndMerge,
        SortBy(&'static [&'static str]),
        Restart,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (prop_oneof![Just("a"), Just("b"), Just("c")], 1..20u8).prop_map(|(city, rows)| Step::Append(city, rows)),
            2 => (2..5i64, 0..5i64).prop_map(|(divisor, rest)| Step::Replace(divisor, rest)),
            2 => prop_oneof![Just(Pace::Busy), Just(Pace::AtRest)].prop_map(Step::Merge),
            2 => Just(Step::BeginMerge),
            2 => Just(Step::EndMerge),
            1 => prop_oneof![Just([].as_slice()), Just(["number"].as_slice()), Just(["text", "number"].as_slice())].prop_map(Step::SortBy),
            1 => Just(Step::Restart),
        ]
    }

    async fn every_snapshot_stays_as_it_was(steps: Vec<Step>) {
        let dir = TempDir::new().unwrap();
        let (mut lake, mut next, mut rows) = (open(&dir).await, 0, Vec::new());
        let (mut snapshots, mut cities): (BTreeMap<i64, Vec<i64>>, BTreeMap<i64, &str>) = Default::default();
        let mut begun: Option<NotedMerge> = None;
        for step in steps {
            match step {
                Step::Append(city, count) => {
                    let added: Vec<i64> = (next..next + i64::from(count)).rev().collect();
                    next += i64::from(count);
                    let snapshot = append(&lake, city, &added, "text").await;
                    cities.extend(added.iter().map(|number| (*number, city)));
                    rows.extend(added.into_iter().rev());
                    snapshots.insert(snapshot, rows.clone());
                }
                Step::Replace(divisor, rest) => {
                    let mut transaction = lake.begin().await.unwrap();
                    let (name, schema) = (some(), schema());
                    let removed =
                        transaction.replace(&name, &schema, &[batch("a", &[next], "text")], (col("number") % lit(divisor)).eq(lit(rest))).await.unwrap();
                    let snapshot = transaction.commit(|_| ()).await.unwrap().snapshot_id;
                    let before = rows.len();
                    rows.retain(|number| number % divisor != rest);
                    assert_eq!(removed, (before - rows.len()) as u64);
                    rows.push(next);
                    cities.insert(next, "a");
                    next += 1;
                    snapshots.insert(snapshot, rows.clone());
                }
                Step::Merge(pace) => {
                    lake.merge(&some(), pace).await.unwrap();
                    if pace == Pace::AtRest {
                        assert!(files(&lake).into_iter().all(|files| files <= 1), "one small file of a city");
                    }
                    lake.delete_merged(Duration::ZERO).await.unwrap();
                }
                Step::BeginMerge => {
                    if let Some(due) = lake.due(&some(), Pace::AtRest).unwrap().first() {
                        begun = lake.prepare(&some(), due).await.unwrap();
                    }
                }
                Step::EndMerge => match begun.take().map(|merge| (merge.commit(lake.metadata()), merge)) {
                    None => {}
                    Some((Err(DuckLakeError::Conflict(_)), merge)) => lake.discard(&some(), &merge).await,
                    Some((committed, _)) => lake.note_merged(&some(), committed).unwrap(),
                },
                Step::SortBy(columns) => sort(&lake, columns).await,
                Step::Restart => {
                    begun = None;
                    drop(lake);
                    lake = open(&dir).await;
                }
            }
            for (snapshot, expected) in &snapshots {
                assert_eq!(&numbers(&lake, *snapshot, None).await, expected, "snapshot {snapshot}");
                let of_city: Vec<i64> = expected.iter().copied().filter(|number| cities[number] == "a").collect();
                assert_eq!(numbers(&lake, *snapshot, Some(col("city").eq(lit("a")))).await, of_city, "snapshot {snapshot}");
                let count = lake.frame(*snapshot, &some()).await.unwrap().unwrap().count().await.unwrap();
                assert_eq!(count, expected.len(), "snapshot {snapshot}");
            }
        }
        let all = || iter::once((0, Vec::new())).chain(snapshots.clone());
        for (after, before) in all() {
            for (until, now) in all().filter(|(until, _)| *until >= after) {
                let only_in = |these: &[i64], others: &[i64]| these.iter().copied().filter(|number| !others.contains(number)).collect::<Vec<_>>();
                let expected = (only_in(&now, &before), only_in(&before, &now));
                assert_eq!(changes(&lake, after, until).await, expected, "after {after} until {until}");
            }
        }
    }

    /// The numbers that came and those that went.
    async fn changes(lake: &Lake, after: i64, until: i64) -> (Vec<i64>, Vec<i64>) {
        let Some(Changes { inserted, removed }) = lake.changes(after, until, &some()).await.unwrap() else {
            return (Vec::new(), Vec::new());
        };
        let numbers = async |rows: DataFrame| {
            let batches = rows.select_columns(&["number"]).unwrap().collect().await.unwrap();
            let mut numbers: Vec<i64> = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
            numbers.sort_unstable();
            numbers
        };
        (numbers(inserted).await, numbers(removed).await)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_snapshot_stays_as_it_was_whatever_is_merged(steps in prop::collection::vec(step(), 1..24)) {
            Runtime::new().unwrap().block_on(every_snapshot_stays_as_it_was(steps));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn files_are_sorted_as_the_table_is_to_be_from_then_on() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        append(&lake, "a", &[5, 3], "").await;
        sort(&lake, &["number"]).await;
        let sorted_at = lake.newest();
        sort(&lake, &["number"]).await;
        assert_eq!(lake.newest(), sorted_at, "said once");
        let snapshot = append(&lake, "b", &[4, 2, 6], "").await;
        assert_eq!(numbers_as_they_stand(&lake, snapshot, Some(col("city").eq(lit("a")))).await, [5, 3], "what is there stays as it is");
        assert_eq!(numbers_as_they_stand(&lake, snapshot, Some(col("city").eq(lit("b")))).await, [2, 4, 6]);
        append(&lake, "a", &[7, 1], "").await;
        lake.merge(&some(), Pace::AtRest).await.unwrap();
        assert_eq!(files(&lake), [1, 1]);
        assert_eq!(numbers_as_they_stand(&lake, lake.newest(), Some(col("city").eq(lit("a")))).await, [1, 3, 5, 7], "a merge sorts");
        sort(&lake, &[]).await;
        let snapshot = append(&lake, "c", &[9, 8], "").await;
        assert_eq!(numbers_as_they_stand(&lake, snapshot, Some(col("city").eq(lit("c")))).await, [9, 8]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_that_is_to_be_sorted_is_made_before_its_first_rows() {
        let dir = TempDir::new().unwrap();
        let lake = Lake::open(dir.path()).await.unwrap();
        sort(&lake, &["number"]).await;
        assert!(lake.is_there(&some()));
        assert!(numbers(&lake, lake.newest(), None).await.is_empty());
        let snapshot = append(&lake, "a", &[2, 1], "").await;
        assert_eq!(numbers_as_they_stand(&lake, snapshot, None).await, [1, 2]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn files_of_two_sizes_are_not_merged_with_each_other() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        append(&lake, "a", &[0], &of_the_second_size(0)).await;
        append(&lake, "a", &[1], "").await;
        lake.merge(&some(), Pace::AtRest).await.unwrap();
        assert_eq!(files(&lake), [2]);
        append(&lake, "a", &[2], &of_the_second_size(2)).await;
        lake.merge(&some(), Pace::Busy).await.unwrap();
        assert_eq!(files(&lake), [3], "while rows come they wait");
        lake.merge(&some(), Pace::AtRest).await.unwrap();
        assert_eq!(files(&lake), [2]);
        assert_eq!(numbers(&lake, lake.newest(), None).await, [0, 1, 2]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn while_rows_come_only_many_files_are_merged_and_a_column_more_does_not_keep_them_apart() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        for number in 0..7 {
            append(&lake, "a", &[number], "").await;
        }
        append(&lake, "b", &[7], "").await;
        lake.merge(&some(), Pace::Busy).await.unwrap();
        assert_eq!(files(&lake), [7, 1]);

        let mut fields = schema().fields().to_vec();
        fields.push(Arc::new(Field::new("more", DataType::Int64, true)));
        let wider: SchemaRef = Arc::new(Schema::new(fields));
        lake.reconcile(&[Layout::unsorted(some(), wider.clone())]).await.unwrap();
        let mut columns = batch("a", &[8], "").columns().to_vec();
        columns.push(Arc::new(Int64Array::from(vec![1])));
        let mut transaction = lake.begin().await.unwrap();
        transaction.append(&some(), &wider, &[RecordBatch::try_new(wider.clone(), columns).unwrap()]).await.unwrap();
        transaction.commit(|_| ()).await.unwrap();
        let changed_at = lake.changed_at(&some());
        lake.merge(&some(), Pace::Busy).await.unwrap();
        assert_eq!(files(&lake), [1, 1]);
        assert_eq!(lake.changed_at(&some()), changed_at, "its rows are the same");
        assert_eq!(numbers(&lake, lake.newest(), None).await, (0..9).collect::<Vec<_>>());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_merged_stays_on_disk_for_its_time_and_goes_then() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        for number in 0..3 {
            append(&lake, "a", &[number], "").await;
        }
        lake.merge(&some(), Pace::AtRest).await.unwrap();
        append(&lake, "a", &[3], "").await;
        lake.merge(&some(), Pace::AtRest).await.unwrap();
        lake.delete_merged(Duration::from_hours(1)).await.unwrap();
        assert_eq!(on_disk(dir.path()), 6, "four of rows, two of merges");
        lake.delete_merged(Duration::ZERO).await.unwrap();
        assert_eq!(on_disk(dir.path()), 1);
        assert_eq!(numbers(&lake, lake.newest(), None).await, [0, 1, 2, 3]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn files_that_rows_were_removed_from_wait_until_it_pays_to_write_them_anew() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        append(&lake, "a", &(0..10).collect::<Vec<_>>(), "").await;
        let remove = async |condition: Expr| {
            let mut transaction = lake.begin().await.unwrap();
            transaction.replace(&some(), &schema(), &[batch("a", &[100], "")], condition).await.unwrap();
            transaction.commit(|_| ()).await.unwrap();
            lake.merge(&some(), Pace::AtRest).await.unwrap();
            on_disk(dir.path())
        };
        // The rows, a delete file, the row that came.
        assert_eq!(remove(col("number").lt(lit(4))).await, 3);
        // Half of the rows are gone: another delete file and row, the first file anew, and the merge of all.
        assert_eq!(remove(col("number").lt(lit(5))).await, 7);
        assert_eq!(files(&lake), [1]);
        assert_eq!(numbers(&lake, lake.newest(), None).await, [5, 6, 7, 8, 9, 100, 100]);
    }

    /// Appends so many numbers from 0 on as one file, the first with a text.
    async fn append_many(lake: &Lake, count: i64, text: &str) {
        let all: Vec<i64> = (0..count).collect();
        let texts = all.iter().map(|number| if *number == 0 { text } else { "" });
        let (cities, texts) = (StringArray::from(vec!["a"; all.len()]), StringArray::from_iter_values(texts));
        let rows = RecordBatch::try_new(schema(), vec![Arc::new(cities), Arc::new(Int64Array::from(all)), Arc::new(texts)]).unwrap();
        let mut transaction = lake.begin().await.unwrap();
        transaction.append(&some(), &schema(), &[rows]).await.unwrap();
        transaction.commit(|_| ()).await.unwrap();
    }

    /// Removes the numbers below one, and says how many files lack rows while rows come and when none do.
    async fn worn_without(lake: &Lake, below: i64) -> (usize, usize) {
        let worn = || lake.files_of(&some()).unwrap().iter().filter(|(_, file)| file.delete_file_id.is_some()).count();
        let mut transaction = lake.begin().await.unwrap();
        transaction.replace(&some(), &schema(), &[], col("number").lt(lit(below))).await.unwrap();
        transaction.commit(|_| ()).await.unwrap();
        lake.merge(&some(), Pace::Busy).await.unwrap();
        let busy = worn();
        lake.merge(&some(), Pace::AtRest).await.unwrap();
        (busy, worn())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_of_which_many_rows_are_gone_is_written_anew_when_no_rows_come() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        let count = REMOVED_SHARE * (REMOVED_MAX + 2);
        append_many(&lake, count, &of_the_second_size(0)).await;
        assert_eq!(worn_without(&lake, REMOVED_MAX + 1).await, (1, 1), "few of so many rows");
        assert_eq!(worn_without(&lake, REMOVED_MAX + 2).await, (1, 0));
        assert_eq!(numbers(&lake, lake.newest(), None).await, (REMOVED_MAX + 2..count).collect::<Vec<_>>());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn few_rows_that_are_gone_are_read_by_each_scan() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        append_many(&lake, 3 * REMOVED_MAX, &of_the_second_size(0)).await;
        assert_eq!(worn_without(&lake, REMOVED_MAX).await, (1, 1));
        assert_eq!(worn_without(&lake, REMOVED_MAX + 1).await, (1, 0));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_too_large_to_be_sorted_stays_as_it_is() {
        let text = incompressible(0, usize::try_from(SORTED_BYTES_MAX).unwrap());
        for (sorted_by, left) in [([].as_slice(), 0), (["number"].as_slice(), 1)] {
            let dir = TempDir::new().unwrap();
            let lake = open(&dir).await;
            sort(&lake, sorted_by).await;
            append_many(&lake, 3 * REMOVED_MAX, &text).await;
            assert_eq!(worn_without(&lake, 2 * REMOVED_MAX).await, (1, left), "{sorted_by:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn files_with_rows_of_several_cities_are_merged_among_themselves() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        for number in 0..2 {
            append(&lake, "a", &[number], "").await;
            let mut transaction = lake.begin().await.unwrap();
            transaction.append(&some(), &schema(), &[batch("a", &[10 + number], ""), batch("b", &[20 + number], "")]).await.unwrap();
            transaction.commit(|_| ()).await.unwrap();
        }
        lake.merge(&some(), Pace::AtRest).await.unwrap();
        assert_eq!(files(&lake), [1, 1]);
        assert_eq!(numbers(&lake, lake.newest(), Some(col("city").eq(lit("b")))).await, [20, 21]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_cannot_be_read_keeps_its_own_city_from_being_merged_and_no_other() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        for (city, number) in [("a", 0), ("a", 1), ("b", 2), ("b", 3)] {
            append(&lake, city, &[number], "").await;
        }
        let (_, first) = lake.files_of(&some()).unwrap().into_iter().find(|(city, _)| city.as_deref() == Some("a")).unwrap();
        std::fs::write(dir.path().join("data/main/some").join(&first.file.path), "no Parquet").unwrap();
        lake.merge(&some(), Pace::AtRest).await.unwrap_err();
        assert_eq!(files(&lake), [2, 1]);
        assert_eq!(numbers(&lake, lake.newest(), Some(col("city").eq(lit("b")))).await, [2, 3]);
        assert!(lake.refuse_in_doubt().is_ok(), "commits go on");
    }

    /// Ids of the files of the newest snapshot.
    fn ids(lake: &Lake) -> Vec<i64> {
        let mut ids: Vec<i64> = lake.files_of(&some()).unwrap().iter().map(|(_, file)| file.data_file_id).collect();
        ids.sort_unstable();
        ids
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_id_of_a_file_is_never_given_twice_in_a_catalog_of_an_earlier_build_either() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        append(&lake, "a", &[0], "").await;
        drop(lake);
        // As the library makes the table.
        let as_made = "alter table ducklake_data_file drop column file_order; alter table ducklake_data_file drop column file_format;
            create table made (data_file_id integer primary key, table_id integer not null, path varchar not null, path_is_relative boolean not null default 1,
            file_size_bytes integer not null, footer_size integer, encryption_key varchar, record_count integer, row_id_start integer, mapping_id integer,
            begin_snapshot integer not null, end_snapshot integer, partial_max integer, partition_id integer);
            insert into made select * from ducklake_data_file; drop table ducklake_data_file; alter table made rename to ducklake_data_file;";
        let mut catalog = SqliteConnection::connect(&format!("sqlite:{}", dir.path().join("catalog.db").display())).await.unwrap();
        sqlx::raw_sql(as_made).execute(&mut catalog).await.unwrap();
        catalog.close().await.unwrap();

        let lake = open(&dir).await;
        append(&lake, "a", &[1], "").await;
        assert_eq!(ids(&lake), [1, 2]);
        lake.merge(&some(), Pace::AtRest).await.unwrap();
        assert_eq!(ids(&lake), [3], "both are out of the catalog, and neither's id is used again");
        assert_eq!(numbers(&lake, lake.newest(), None).await, [0, 1]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_come_while_files_are_merged() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        append(&lake, "a", &[0], "").await;
        let before = append(&lake, "a", &[1], "").await;
        let due = lake.due(&some(), Pace::AtRest).unwrap().remove(0);
        let merge = lake.prepare(&some(), &due).await.unwrap().unwrap();
        let beside = append(&lake, "a", &[2], "").await;
        lake.note_merged(&some(), merge.commit(lake.metadata())).unwrap();
        assert_eq!((files(&lake), lake.newest()), (vec![2], beside + 1));
        for (snapshot, expected) in [(before, &[0, 1][..]), (beside, &[0, 1, 2]), (beside + 1, &[0, 1, 2])] {
            assert_eq!(numbers(&lake, snapshot, None).await, expected, "at {snapshot}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_that_go_while_files_are_merged_stay_gone() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        append(&lake, "a", &[0], "").await;
        append(&lake, "a", &[1], "").await;
        let before = append(&lake, "a", &[2], "").await;
        let mut transaction = lake.begin().await.unwrap();
        let replacing = async {
            // The merge has written its file and waits for its turn.
            while on_disk(dir.path()) < 4 {
                tokio::task::yield_now().await;
            }
            let (name, schema) = (some(), schema());
            transaction.replace(&name, &schema, &[batch("a", &[5], "")], col("number").eq(lit(0_i64))).await.unwrap();
            transaction.commit(|_| ()).await.unwrap().snapshot_id
        };
        let name = some();
        let both = async { tokio::join!(lake.merge(&name, Pace::AtRest), replacing) };
        let (merged, replaced) = timeout(Duration::from_mins(1), both).await.unwrap();
        merged.unwrap();
        assert_eq!((numbers(&lake, before, None).await, numbers(&lake, replaced, None).await), (vec![0, 1, 2], vec![1, 2, 5]));
        assert_eq!(numbers(&lake, lake.newest(), None).await, [1, 2, 5]);
        // The first merge was thrown away; a second left the file out that a row is gone from, and a third took the new file in.
        assert_eq!(files(&lake), [1]);
        lake.delete_merged(Duration::ZERO).await.unwrap();
        assert_eq!(on_disk(dir.path()), 3, "what is merged, and the file that a row is gone from with the list of such rows");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_is_merged_once_it_was_stopped() {
        let dir = TempDir::new().unwrap();
        let lake = open(&dir).await;
        append(&lake, "a", &[1], "").await;
        append(&lake, "a", &[2], "").await;
        lake.stop_merging().await;
        lake.merge(&some(), Pace::AtRest).await.unwrap();
        assert_eq!(files(&lake), [2]);
    }
}
