use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use crate::answer_body::Answer;

/// Answers on their way to the network, by deadline. A body is asked for more only while its receiver takes it, so that a receiver that stops taking would keep a
/// call open for ever: this list ends it.
#[derive(Default)]
pub(crate) struct OpenAnswers {
    by_deadline: Mutex<BTreeMap<Key, Weak<Answer>>>,
    listed: AtomicU64,
}

/// The number tells answers with the same deadline apart.
type Key = (Instant, u64);

/// Strikes the answer from the list when dropped.
pub(crate) struct Listed {
    open: Arc<OpenAnswers>,
    key: Key,
}

impl OpenAnswers {
    pub(crate) fn list(self: Arc<Self>, deadline: Instant, answer: &Arc<Answer>) -> Listed {
        let key = (deadline, self.listed.fetch_add(1, Ordering::Relaxed));
        self.by_deadline.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::downgrade(answer));
        Listed { open: self, key }
    }

    /// Ends every answer whose deadline is before `now`.
    pub(crate) fn end_overdue(&self, now: Instant) {
        let overdue = {
            let mut by_deadline = self.by_deadline.lock().unwrap_or_else(PoisonError::into_inner);
            let later = by_deadline.split_off(&(now, 0));
            std::mem::replace(&mut *by_deadline, later)
        };
        // Outside of the lock: what an answer holds may take its time to go.
        overdue.values().filter_map(Weak::upgrade).for_each(|answer| answer.end_overdue());
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.open.by_deadline.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
