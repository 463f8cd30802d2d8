use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use kernel_base::limits::CALL_DEPTH_MAX;
use tokio::{
    sync::{Semaphore, SemaphorePermit, TryAcquireError},
    time::timeout_at,
};

use crate::{HostError, HostLimits, deployment::Deployment};

// Limit: calls that wait for an instance, over all plugins. A quarter of what may cross the doors at one time, so that a flooded plugin leaves room for the rest.
const WAITING_MAX: usize = 256;

/// How many calls run at one time. Each depth of nesting has its own permits: a call that waits for a nested one must not hold what that one needs.
pub(crate) struct Admission {
    by_depth: [Semaphore; CALL_DEPTH_MAX],
    permits_max: [usize; CALL_DEPTH_MAX],
    waiting: AtomicUsize,
}

/// Held while a call runs: the deployment's permit and the host's.
pub(crate) struct Permits<'a> {
    _deployment: SemaphorePermit<'a>,
    _host: SemaphorePermit<'a>,
}

impl Admission {
    pub(crate) fn new(limits: &HostLimits) -> Admission {
        let permits_max = std::array::from_fn(|depth| if depth == 0 { limits.calls_max } else { limits.nested_calls_max });
        Admission { by_depth: permits_max.map(Semaphore::new), permits_max, waiting: AtomicUsize::new(0) }
    }

    /// The instances that calls can hold at one time.
    pub(crate) fn running_max(&self) -> usize {
        self.permits_max.iter().sum()
    }

    /// Waits until the call may run, at most until `deadline`.
    ///
    /// # Errors
    /// PLUGIN_SATURATED when nothing frees up in time or too many wait already.
    pub(crate) async fn enter<'a>(&'a self, deployment: &'a Deployment, depth: usize, deadline: Instant) -> Result<Permits<'a>, HostError> {
        let (Some(of_deployment), Some(of_host)) = (deployment.permits.get(depth), self.by_depth.get(depth)) else {
            return Err(HostError::DepthExceeded { depth: depth + 1, depth_max: CALL_DEPTH_MAX });
        };
        let _deployment = self.acquire(of_deployment, deployment, deadline).await?;
        let _host = self.acquire(of_host, deployment, deadline).await?;
        Ok(Permits { _deployment, _host })
    }

    async fn acquire<'a>(&self, semaphore: &'a Semaphore, deployment: &Deployment, deadline: Instant) -> Result<SemaphorePermit<'a>, HostError> {
        match semaphore.try_acquire() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(HostError::ShuttingDown),
            Err(TryAcquireError::NoPermits) => {}
        }
        let saturated = || {
            let actor = &deployment.actor;
            HostError::Saturated { plugin: actor.plugin.to_string(), version: actor.version.clone(), city: actor.city.to_string() }
        };
        let _waiting = Waiting::join(&self.waiting).ok_or_else(saturated)?;
        match timeout_at(deadline.into(), semaphore.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(HostError::ShuttingDown),
            Err(_) => Err(saturated()),
        }
    }

    /// Refuses new calls once those that run have ended, or after `patience`.
    pub(crate) async fn close(&self, patience: Duration) {
        let until = Instant::now() + patience;
        for (semaphore, permits_max) in self.by_depth.iter().zip(self.permits_max) {
            let all = u32::try_from(permits_max).unwrap_or(u32::MAX);
            let drained = timeout_at(until.into(), semaphore.acquire_many(all)).await;
            semaphore.close();
            drop(drained);
        }
    }
}

/// A place in the queue, given back when the wait ends or is abandoned.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn join(waiting: &'a AtomicUsize) -> Option<Waiting<'a>> {
        let place = Waiting(waiting);
        (waiting.fetch_add(1, Ordering::AcqRel) < WAITING_MAX).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
