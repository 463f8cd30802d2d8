use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{BusFault, open_answers::OpenAnswers};

// Limit: calls without a token at one time, of places of their own: health checks need few, and strangers must not take those of callers.
const STRANGERS_MAX: usize = 64;

// Limit: streams without a token at one time (`Health/Watch`), of places of their own again: a watch lasts as long as its caller likes, up to an hour, and must
// not keep others from a health check.
const STRANGERS_STREAMS_MAX: usize = 32;

/// Counts a call against the limit until its answer has ended.
pub(crate) struct CallPermit {
    _place: OwnedSemaphorePermit,
    pub(crate) open: Arc<OpenAnswers>,
}

/// The places for calls from the network.
#[derive(Clone)]
pub(crate) struct CallPlaces {
    of_callers: Places,
    of_strangers: Places,
    of_strangers_streams: Places,
    open: Arc<OpenAnswers>,
}

#[derive(Clone)]
struct Places {
    free: Arc<Semaphore>,
    calls_max: usize,
    calls: &'static str,
}

/// Who wants a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visitor {
    /// Sent a token, whatever it is worth.
    Caller,
    Stranger,
    /// A stranger whose method streams its answer.
    StrangerStream,
}

impl CallPlaces {
    pub(crate) fn new(calls_max: usize) -> CallPlaces {
        let places = |calls_max, calls| Places { free: Arc::new(Semaphore::new(calls_max)), calls_max, calls };
        CallPlaces {
            of_callers: places(calls_max, "calls"),
            of_strangers: places(STRANGERS_MAX.min(calls_max), "calls without a token"),
            of_strangers_streams: places(STRANGERS_STREAMS_MAX.min(calls_max), "streams without a token"),
            open: Arc::default(),
        }
    }

    /// A place for the call.
    ///
    /// # Errors
    /// CALLS_SATURATED when all are taken.
    pub(crate) fn take(&self, visitor: Visitor) -> Result<CallPermit, BusFault> {
        let places = match visitor {
            Visitor::Caller => &self.of_callers,
            Visitor::Stranger => &self.of_strangers,
            Visitor::StrangerStream => &self.of_strangers_streams,
        };
        let place = Arc::clone(&places.free).try_acquire_owned().map_err(|_| BusFault::CallsSaturated { calls_max: places.calls_max, calls: places.calls })?;
        Ok(CallPermit { _place: place, open: Arc::clone(&self.open) })
    }

    /// Ends the calls whose deadline has passed and whose receivers take nothing.
    pub(crate) fn end_overdue(&self) {
        self.open.end_overdue(std::time::Instant::now());
    }
}
