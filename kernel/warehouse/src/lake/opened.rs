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
    /// The newest snapshot in which a table changed, 0 when this process did not change it.
    changed_at: HashMap<TableName, i64>,
    opened: HashMap<(i64, TableName), Arc<dyn TableProvider>>,
    order: VecDeque<(i64, TableName)>,
}

impl Tables {
    /// Notes that the table is there, and the snapshot in which it changed if that is newer than what is known.
    pub(super) fn note(&mut self, table: TableName, snapshot: i64) {
        let changed_at = self.changed_at.entry(table).or_insert(snapshot);
        *changed_at = snapshot.max(*changed_at);
    }

    /// `None` when there is no such table.
    pub(super) fn changed_at(&self, table: &TableName) -> Option<i64> {
        self.changed_at.get(table).copied()
    }

    pub(super) fn get(&self, snapshot: i64, table: &TableName) -> Option<Arc<dyn TableProvider>> {
        self.opened.get(&(snapshot, table.clone())).cloned()
    }

    pub(super) fn put(&mut self, snapshot: i64, table: TableName, provider: Arc<dyn TableProvider>) {
        let key = (snapshot, table);
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
