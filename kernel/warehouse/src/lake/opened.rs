use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use datafusion::catalog::TableProvider;

use super::TableName;

// Limit: tables kept open. Each holds its columns and statistics, some tens of kilobytes; a busy kernel reads a few tables at its newest two or three
// snapshots and a few pins.
const TABLES_MAX: usize = 128;

/// Which tables there are and when each changed; and opened tables by snapshot, of which the one that was opened first leaves first. Entries never go stale,
/// because a snapshot does not change.
#[derive(Default)]
pub(super) struct Tables {
    known: HashMap<TableName, Known>,
    opened: HashMap<(i64, TableName), Arc<dyn TableProvider>>,
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

    pub(super) fn get(&self, snapshot: i64, table: &TableName) -> Option<Arc<dyn TableProvider>> {
        self.opened.get(&(snapshot, table.clone())).cloned()
    }

    /// Keeps a table that was opened when its files were as of `files_at`; not after a merge, since it may name files that will be deleted.
    pub(super) fn put(&mut self, key: (i64, TableName), files_at: i64, provider: Arc<dyn TableProvider>) {
        if self.known(&key.1).is_none_or(|known| known.files_at != files_at) {
            return;
        }
        if self.opened.insert(key.clone(), provider).is_some() {
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
