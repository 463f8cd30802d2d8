use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use tokio::sync::oneshot;

use super::{Batch, Committed};
use crate::error::WarehouseError;

// Limit: batches, rows and bytes of one commit. Their records stay in the catalog, and a batch waits no longer than it takes to write the rows of the others.
const BATCHES_MAX: usize = 64;
const ROWS_MAX: usize = 50_000;
const BYTES_MAX: usize = 16 << 20;

/// Batches that wait for their commit, in the order in which they came. While one commit is made the next ones gather, so that a commit costs its two syncs of the
/// disk once for all of them.
#[derive(Default)]
pub(super) struct WaitingBatches(Mutex<VecDeque<WaitingBatch>>);

/// Gives what became of a batch, unless the commit that took it broke.
pub(crate) type Answered = oneshot::Receiver<Result<Committed, WarehouseError>>;

pub(super) struct WaitingBatch {
    pub(super) batch: Batch,
    bytes: usize,
    /// Whether a commit that it was in with others failed.
    is_tried: bool,
    answer: oneshot::Sender<Result<Committed, WarehouseError>>,
}

impl WaitingBatch {
    pub(super) fn answer(self, committed: Result<Committed, WarehouseError>) {
        // Whoever waited may be gone: the batch is in all the same.
        drop(self.answer.send(committed));
    }
}

impl WaitingBatches {
    pub(super) fn add(&self, batch: Batch) -> Answered {
        let (answer, answered) = oneshot::channel();
        let waiting = WaitingBatch { bytes: batch.bytes(), batch, is_tried: false, answer };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(waiting);
        answered
    }

    /// Takes those that one commit can hold, the first that waits among them.
    pub(super) fn take(&self) -> Vec<WaitingBatch> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut together = Together::default();
        let (taken, left): (VecDeque<_>, VecDeque<_>) = waiting.drain(..).partition(|waiting| together.takes(waiting));
        *waiting = left;
        taken.into()
    }

    /// Puts those of a commit that failed back to their place before the others. Each will be taken alone: what is wrong with one of them is not the others' fault.
    pub(super) fn put_back(&self, taken: Vec<WaitingBatch>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for tried in taken.into_iter().rev() {
            waiting.push_front(WaitingBatch { is_tried: true, ..tried });
        }
    }
}

/// What decides whether a batch joins those that were taken.
#[derive(Default)]
struct Together {
    batches: usize,
    rows: usize,
    bytes: usize,
    /// Whether the one that was taken is to be alone.
    has_tried: bool,
    keys: HashSet<String>,
    added_to: HashSet<String>,
    /// Datasets that take no further batch of this commit: what changes rows that are there is alone on its dataset, and nothing overtakes one that was left.
    closed: HashSet<String>,
}

impl Together {
    fn takes(&mut self, waiting: &WaitingBatch) -> bool {
        let (batch, dataset) = (&waiting.batch, &waiting.batch.dataset.name);
        let (only_adds, rows) = (batch.only_adds(), batch.rows());
        let has_room = self.batches < BATCHES_MAX && self.rows + rows <= ROWS_MAX && self.bytes + waiting.bytes <= BYTES_MAX;
        let may_join = has_room && !waiting.is_tried && !self.has_tried;
        let is_alone = only_adds || !self.added_to.contains(dataset);
        // The same key again is answered from what the first of them came to.
        let fits = (may_join || self.batches == 0) && is_alone && !self.closed.contains(dataset) && !self.keys.contains(&batch.key);
        if !fits || !only_adds {
            self.closed.insert(dataset.clone());
        }
        if fits {
            self.batches += 1;
            self.rows += rows;
            self.bytes += waiting.bytes;
            self.has_tried = waiting.is_tried;
            self.keys.insert(batch.key.clone());
            self.added_to.insert(dataset.clone());
        }
        fits
    }
}
