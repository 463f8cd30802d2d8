use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use datafusion::catalog::TableProvider;

use super::TableName;

// Limit: tables kept open. Each holds its columns and statistics, some tens of kilobytes; a busy kernel reads a few tables at its newest two or three
// snapshots and a few pins.
const TABLES_MAX: usize = 128;

/// Opened tables by snapshot; the one that was opened first leaves first. Entries never go stale, because a snapshot does not change.
#[derive(Default)]
pub(super) struct TableCache {
    opened: HashMap<(i64, TableName), Arc<dyn TableProvider>>,
    order: VecDeque<(i64, TableName)>,
}

impl TableCache {
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
