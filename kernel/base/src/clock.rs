use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// The wall clock, or one that a test sets.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    set_to_micros: Option<Arc<AtomicI64>>,
}

impl Clock {
    pub fn system() -> Clock {
        Clock::default()
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn set_to(micros: i64) -> Clock {
        Clock { set_to_micros: Some(Arc::new(AtomicI64::new(micros))) }
    }

    /// Moves a set clock on; the system's clock does not listen.
    pub fn advance(&self, micros: i64) {
        if let Some(set) = &self.set_to_micros {
            set.fetch_add(micros, Ordering::SeqCst);
        }
    }

    /// Microseconds since 1970, UTC.
    pub fn now_micros(&self) -> i64 {
        match &self.set_to_micros {
            Some(set) => set.load(Ordering::SeqCst),
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX)),
        }
    }
}
