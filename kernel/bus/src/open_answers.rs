use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Instant,
};

use slab::Slab;

use crate::answer_body::Answer;

/// Answers on their way to the network, with their deadlines. A body is asked for more only while its receiver takes it, so that a receiver that stops taking would
/// keep a call open for ever: this list ends it. One that was ended keeps its place, empty, for as long as its connection holds the stream.
#[derive(Default)]
pub(crate) struct OpenAnswers {
    answers: Mutex<Slab<Option<Open>>>,
}

struct Open {
    deadline: Instant,
    answer: Weak<Answer>,
}

/// Strikes the answer from the list when dropped.
pub(crate) struct Listed {
    open: Arc<OpenAnswers>,
    key: usize,
}

impl OpenAnswers {
    pub(crate) fn list(self: Arc<Self>, deadline: Instant, answer: &Arc<Answer>) -> Listed {
        let key = self.answers().insert(Some(Open { deadline, answer: Arc::downgrade(answer) }));
        Listed { open: self, key }
    }

    /// Ends every answer whose deadline is before `now`.
    pub(crate) fn end_overdue(&self, now: Instant) {
        let is_overdue = |open: &mut Open| open.deadline < now;
        let overdue: Vec<Open> = self.answers().iter_mut().filter_map(|(_, open)| open.take_if(is_overdue)).collect();
        // Outside of the lock: what an answer holds may take its time to go.
        overdue.iter().filter_map(|open| open.answer.upgrade()).for_each(|answer| answer.end_overdue());
    }

    fn answers(&self) -> MutexGuard<'_, Slab<Option<Open>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.open.answers().remove(self.key);
    }
}
