use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow_select::concat::concat_batches;
use datafusion::{catalog::TableProvider, datasource::MemTable, error::Result, prelude::SessionContext};
use tokio::sync::OnceCell;

use super::{TableName, held_metadata::HeldMetadata};

// Limit: tables kept open. Each holds its columns and statistics, some tens of kilobytes, and its rows if it is small; a busy kernel reads a few tables at its
// newest two or three snapshots and a few pins.
const TABLES_MAX: usize = 128;
// Limit: bytes in files of a table whose rows are read to be held in memory, and their bytes there. The setting `held_rows` limits the rows, of which files may have
// any number in few bytes.
const FILE_BYTES_MAX: u64 = 256 << 10;
const HELD_BYTES_MAX: usize = 1 << 20;

/// Which tables there are and when each changed; and opened tables by snapshot, of which the one that was opened first leaves first. Entries never go stale,
/// because a snapshot does not change.
#[derive(Default)]
pub(super) struct Tables {
    known: HashMap<TableName, Known>,
    opened: HashMap<(i64, TableName), Arc<Opened>>,
    order: VecDeque<(i64, TableName)>,
}

/// What this process did to a table.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// The newest snapshot in which its rows or columns changed, 0 for none.
    pub(super) changed_at: i64,
    /// The newest in which its files did, those that a merge put in the place of others included.
    pub(super) files_at: i64,
    /// How often rows came since it was looked at for files to merge.
    written: usize,
    /// Whether rows came since it was merged at rest.
    is_unmerged: bool,
}

/// A table at one snapshot.
pub(super) struct Opened {
    pub(super) files: Arc<dyn TableProvider>,
    /// What is known of the files; `None` for a table of the kernel's own.
    metadata: Option<Arc<HeldMetadata>>,
    /// Whether a query asked for it.
    is_asked: AtomicBool,
    /// Its rows, once they were read; `None` when they are too many.
    held: OnceCell<Option<Arc<dyn TableProvider>>>,
}

impl Opened {
    pub(super) fn new(files: Arc<dyn TableProvider>, metadata: Option<Arc<HeldMetadata>>) -> Opened {
        Opened { files, metadata, is_asked: AtomicBool::new(false), held: OnceCell::new() }
    }

    /// The rows in memory if the table is small, and else the files. The first query reads the files, since a table may change before there is a second.
    pub(super) async fn to_query(&self, rows_max: u64, session: impl FnOnce() -> SessionContext) -> Arc<dyn TableProvider> {
        if !self.is_asked.swap(true, Ordering::Relaxed) {
            return self.files.clone();
        }
        match self.held.get_or_try_init(async || if self.is_small(rows_max) { self.read(&session()).await } else { Ok(None) }).await {
            Ok(held) => held.as_ref().unwrap_or(&self.files).clone(),
            Err(error) => {
                // A query of another city's rows may not meet the file that cannot be read.
                tracing::warn!(%error, "a small table cannot be held in memory");
                self.files.clone()
            }
        }
    }

    fn is_small(&self, rows_max: u64) -> bool {
        self.metadata.as_ref().and_then(|metadata| metadata.size()).is_some_and(|(rows, bytes)| rows <= rows_max && bytes <= FILE_BYTES_MAX)
    }

    async fn read(&self, session: &SessionContext) -> Result<Option<Arc<dyn TableProvider>>> {
        let schema = self.files.schema();
        let batches = session.read_table(self.files.clone())?.collect().await?;
        let rows = concat_batches(&schema, &batches)?;
        if rows.get_array_memory_size() > HELD_BYTES_MAX {
            return Ok(None);
        }
        Ok(Some(Arc::new(MemTable::try_new(schema, vec![vec![rows]])?)))
    }
}

impl Tables {
    /// Notes that the table is there, and the snapshot in which it changed if that is newer than what is known.
    pub(super) fn note(&mut self, table: TableName, snapshot: i64) -> &mut Known {
        let known = self.known.entry(table).or_default();
        known.changed_at = snapshot.max(known.changed_at);
        known.files_at = snapshot.max(known.files_at);
        known
    }

    /// Notes a table that was there when the process began. Whether its files were merged nobody knows.
    pub(super) fn note_found(&mut self, table: TableName) {
        let is_merged = table.is_dataset();
        self.note(table, 0).is_unmerged |= is_merged;
    }

    /// Notes rows that came to the table.
    pub(super) fn note_written(&mut self, table: TableName, snapshot: i64) {
        let is_merged = table.is_dataset();
        let known = self.note(table, snapshot);
        known.written += usize::from(is_merged);
        known.is_unmerged |= is_merged;
    }

    /// Notes a merge that failed.
    pub(super) fn note_unmerged(&mut self, table: &TableName) {
        if let Some(known) = self.known.get_mut(table) {
            known.is_unmerged = true;
        }
    }

    /// Notes a merge. Tables that were opened before it name files that will be deleted.
    pub(super) fn note_merged(&mut self, table: &TableName, snapshot: i64) {
        self.opened.retain(|(_, opened), _| opened != table);
        self.order.retain(|(_, opened)| opened != table);
        if let Some(known) = self.known.get_mut(table) {
            known.files_at = snapshot.max(known.files_at);
        }
    }

    /// The tables to which rows came at least so often, which begin to count anew.
    pub(super) fn take_written(&mut self, times_min: usize) -> Vec<TableName> {
        let mut often = Vec::new();
        for (table, known) in &mut self.known {
            if known.written >= times_min {
                known.written = 0;
                often.push(table.clone());
            }
        }
        often
    }

    /// The tables to which rows came since they were taken last.
    pub(super) fn take_unmerged(&mut self) -> Vec<TableName> {
        self.known.iter_mut().filter_map(|(table, known)| std::mem::take(&mut known.is_unmerged).then(|| table.clone())).collect()
    }

    /// `None` when there is no such table.
    pub(super) fn known(&self, table: &TableName) -> Option<Known> {
        self.known.get(table).copied()
    }

    pub(super) fn get(&self, snapshot: i64, table: &TableName) -> Option<Arc<Opened>> {
        self.opened.get(&(snapshot, table.clone())).cloned()
    }

    /// Keeps a table that was opened when its files were as of `files_at`; not after a merge, since it may name files that will be deleted.
    pub(super) fn put(&mut self, key: (i64, TableName), files_at: i64, opened: Arc<Opened>) {
        if self.known(&key.1).is_none_or(|known| known.files_at != files_at) {
            return;
        }
        if self.opened.insert(key.clone(), opened).is_some() {
            return;
        }
        self.order.push_back(key);
        while self.order.len() > TABLES_MAX {
            if let Some(first) = self.order.pop_front() {
                self.opened.remove(&first);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow_array::{Int64Array, RecordBatch, StringArray};
    use tempfile::TempDir;

    use super::*;
    use crate::lake::Lake;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_second_query_finds_a_small_table_in_memory() {
        let dir = TempDir::new().unwrap();
        let lake = Lake::open(dir.path()).await.unwrap().holding(3);
        let table = TableName::dataset("some");
        // As a query does: the first reads the files, and only then is it known how large they are.
        let is_held = async |snapshot: i64| {
            let found = lake.table_to_query(snapshot, &table).await.unwrap().unwrap();
            lake.session().read_table(found.clone()).unwrap().collect().await.unwrap();
            found.is::<MemTable>()
        };
        let append = async |numbers: &[i64]| {
            let (numbers, texts) = (Int64Array::from(numbers.to_vec()), StringArray::from(vec!["text"; numbers.len()]));
            let rows = RecordBatch::try_from_iter([("number", Arc::new(numbers) as _), ("text", Arc::new(texts) as _)]).unwrap();
            let mut transaction = lake.begin().await.unwrap();
            transaction.append(&table, &rows.schema(), &[rows]).await.unwrap();
            transaction.commit(|_| ()).await.unwrap().snapshot_id
        };
        let first = append(&[1, 2]).await;
        assert_eq!([is_held(first).await, is_held(first).await, is_held(first).await], [false, true, true]);
        let second = append(&[3]).await;
        assert_eq!([is_held(second).await, is_held(second).await, is_held(first).await], [false, true, true]);
        let rows = lake.session().read_table(lake.table_to_query(second, &table).await.unwrap().unwrap()).unwrap();
        assert_eq!(rows.count().await.unwrap(), 3);
        let third = append(&[4]).await;
        assert_eq!([is_held(third).await, is_held(third).await], [false, false], "too many rows");
    }
}
