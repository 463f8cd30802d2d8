use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use slab::Slab;

use crate::answer_body::Answer;

/// Answers on their way to the network, with their deadlines. A body is asked for more only while its receiver takes it, so that a receiver that stops taking would
/// keep a call open for ever: this list ends it. Never more than the calls that the doors let in, so it is looked through from end to end.
#[derive(Default)]
pub(crate) struct OpenAnswers {
    answers: Mutex<Slab<(Instant, Weak<Answer>)>>,
}

/// Strikes the answer from the list when dropped.
pub(crate) struct Listed {
    open: Arc<OpenAnswers>,
    key: usize,
}

impl OpenAnswers {
    pub(crate) fn list(self: Arc<Self>, deadline: Instant, answer: &Arc<Answer>) -> Listed {
        let key = self.answers().insert((deadline, Arc::downgrade(answer)));
        Listed { open: self, key }
    }

    /// Ends every answer whose deadline is before `now`.
    pub(crate) fn end_overdue(&self, now: Instant) {
        let overdue: Vec<Weak<Answer>> =
            self.answers().iter().filter(|(_, (deadline, _))| *deadline < now).map(|(_, (_, answer))| Weak::clone(answer)).collect();
        // Outside of the lock: what an answer holds may take its time to go.
        overdue.iter().filter_map(Weak::upgrade).for_each(|answer| answer.end_overdue());
    }

    fn answers(&self) -> MutexGuard<'_, Slab<(Instant, Weak<Answer>)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.open.answers().remove(self.key);
    }
}
