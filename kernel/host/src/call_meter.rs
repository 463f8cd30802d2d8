use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use futures::poll;
use tokio::time::timeout_at;

use crate::engine::TICK;

/// Tells the guest's own time from the time that it waits for methods it called: only the first counts against `timeout_ms`.
/// Shared by the store, which is borrowed by the running call, and by whoever waits for that call.
pub(crate) struct CallMeter {
    /// All instants are nanoseconds since here.
    zero: Instant,
    started: AtomicU64,
    waited: AtomicU64,
    /// 0 while the guest itself runs.
    waiting_since: AtomicU64,
}

/// Why a call was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// The guest used up its own time.
    Budget,
    /// The caller waits no longer.
    Deadline,
}

impl CallMeter {
    pub(crate) fn new() -> CallMeter {
        CallMeter { zero: Instant::now(), started: AtomicU64::new(0), waited: AtomicU64::new(0), waiting_since: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.zero).as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    pub(crate) fn restart(&self, started: Instant) {
        self.started.store(self.at(started), Ordering::Relaxed);
        self.waited.store(0, Ordering::Relaxed);
        self.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Time spent in the guest since the last restart.
    pub(crate) fn guest_time(&self) -> Duration {
        let now = self.now();
        let waiting = match self.waiting_since.load(Ordering::Relaxed) {
            0 => 0,
            since => now.saturating_sub(since),
        };
        let elapsed = now.saturating_sub(self.started.load(Ordering::Relaxed));
        Duration::from_nanos(elapsed.saturating_sub(self.waited.load(Ordering::Relaxed)).saturating_sub(waiting))
    }

    /// Runs a host function with the guest's clock stopped.
    pub(crate) async fn waiting<T>(&self, work: impl Future<Output = T>) -> T {
        let since = self.now();
        self.waiting_since.store(since, Ordering::Relaxed);
        let done = work.await;
        self.waiting_since.store(0, Ordering::Relaxed);
        self.waited.fetch_add(self.now().saturating_sub(since), Ordering::Relaxed);
        done
    }

    /// Waits for `call` until the guest has used up `budget` or `deadline` passes. The epoch interrupts a guest that computes; this catches one that sleeps
    /// and a host function that hangs. What is cut off is dropped, and its instance with it.
    pub(crate) async fn bounded<T>(&self, mut call: Pin<&mut impl Future<Output = T>>, budget: Duration, deadline: Instant) -> Result<T, Overdue> {
        // Most calls are done here, before any timer is made.
        if let std::task::Poll::Ready(done) = poll!(call.as_mut()) {
            return Ok(done);
        }
        loop {
            // Two ticks later than the epoch, so that the trap with its backtrace comes first.
            let remaining = budget.saturating_sub(self.guest_time()) + 2 * TICK;
            let wake = deadline.min(Instant::now() + remaining);
            match timeout_at(wake.into(), call.as_mut()).await {
                Ok(done) => return Ok(done),
                Err(_) if Instant::now() >= deadline => return Err(Overdue::Deadline),
                Err(_) if self.guest_time() >= budget + 2 * TICK => return Err(Overdue::Budget),
                Err(_) => {}
            }
        }
    }
}
