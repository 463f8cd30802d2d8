use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use kernel_base::{PluginId, limits::CALL_DEPTH_MAX};
use tokio::{
    sync::{Semaphore, SemaphorePermit, TryAcquireError},
    time::timeout_at,
};

use crate::{HostError, HostLimits, deployment::Deployment};

// Limit: calls that wait for an instance, over all plugins. A quarter of what may cross the doors at one time, so that a flooded plugin leaves room for the rest.
const WAITING_MAX: usize = 256;

// Limit: of these, calls that wait for one plugin. Half, so that a flood of one leaves places to the others.
const WAITING_PER_PLUGIN_MAX: usize = WAITING_MAX / 2;

// Limit: of these, calls that wait for one deployment. As many as one may run at most: whoever stands further back waits for more than a full turn.
const WAITING_PER_DEPLOYMENT_MAX: usize = 64;

// Limit: one plugin holds at most every second permit of a depth, over all its cities: one whose calls all wait, for the warehouse or for another plugin,
// leaves the other half to its neighbours.
const PLUGIN_SHARE: usize = 2;

/// How many calls run at one time. Each depth of nesting has its own permits: a call that waits for a nested one must not hold what that one needs.
pub(crate) struct Admission {
    by_depth: [Semaphore; CALL_DEPTH_MAX],
    permits_max: [usize; CALL_DEPTH_MAX],
    queue: Queue,
    shares: Mutex<HashMap<PluginId, Weak<PluginShare>>>,
}

/// What the deployments of one plugin may hold together.
pub(crate) struct PluginShare {
    by_depth: [Semaphore; CALL_DEPTH_MAX],
    permits_max: [usize; CALL_DEPTH_MAX],
    queue: Queue,
}

/// What one deployment may hold: `limits.concurrency` at each depth.
pub(crate) struct DeploymentShare {
    by_depth: [Semaphore; CALL_DEPTH_MAX],
    queue: Queue,
    of_plugin: Arc<PluginShare>,
}

/// Held while a call runs: the deployment's permit, the plugin's and the host's.
pub(crate) struct Permits<'a> {
    _deployment: SemaphorePermit<'a>,
    _plugin: SemaphorePermit<'a>,
    _host: SemaphorePermit<'a>,
}

impl Admission {
    pub(crate) fn new(limits: &HostLimits) -> Admission {
        let permits_max = std::array::from_fn(|depth| if depth == 0 { limits.calls_max } else { limits.nested_calls_max });
        Admission { by_depth: permits_max.map(Semaphore::new), permits_max, queue: Queue::new(WAITING_MAX), shares: Mutex::default() }
    }

    /// The instances that calls can hold at one time.
    pub(crate) fn running_max(&self) -> usize {
        self.permits_max.iter().sum()
    }

    /// The share of a new deployment of `plugin`, inside the one that all of the plugin's deployments have together.
    pub(crate) fn share(&self, plugin: &PluginId, concurrency: usize) -> DeploymentShare {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|_, share| share.strong_count() > 0);
        let of_plugin = shares.get(plugin).and_then(Weak::upgrade).unwrap_or_else(|| {
            let permits_max = self.permits_max.map(|permits_max| (permits_max / PLUGIN_SHARE).max(1));
            Arc::new(PluginShare { by_depth: permits_max.map(Semaphore::new), permits_max, queue: Queue::new(WAITING_PER_PLUGIN_MAX) })
        });
        shares.insert(plugin.clone(), Arc::downgrade(&of_plugin));
        let by_depth = std::array::from_fn(|_| Semaphore::new(concurrency));
        DeploymentShare { by_depth, queue: Queue::new(WAITING_PER_DEPLOYMENT_MAX), of_plugin }
    }

    /// Waits until the call may run, at most until `deadline`.
    ///
    /// # Errors
    /// PLUGIN_SATURATED when nothing frees up in time or too many wait already.
    pub(crate) async fn enter<'a>(&'a self, deployment: &'a Deployment, depth: usize, deadline: Instant) -> Result<Permits<'a>, HostError> {
        let share = &deployment.share;
        let (Some(of_deployment), Some(of_plugin), Some(of_host)) = (share.by_depth.get(depth), share.of_plugin.by_depth.get(depth), self.by_depth.get(depth))
        else {
            return Err(HostError::DepthExceeded { depth: depth + 1, depth_max: CALL_DEPTH_MAX });
        };
        let busy = || "all its instances are busy: try again, or raise limits.concurrency in plugin.toml".to_owned();
        let over_share = || {
            let running_max = share.of_plugin.permits_max.get(depth).copied().unwrap_or_default();
            format!("it runs {running_max} calls over all cities, which is what one plugin may: try again, or shorten what its calls wait for")
        };
        let host_full = || "the kernel runs as many calls of plugins as it can: try again in a moment".to_owned();
        // From the narrowest to the widest: whoever waits holds nothing that a neighbour needs.
        let _deployment = self.acquire(of_deployment, deployment, deadline, busy).await?;
        let _plugin = self.acquire(of_plugin, deployment, deadline, over_share).await?;
        let _host = self.acquire(of_host, deployment, deadline, host_full).await?;
        Ok(Permits { _deployment, _plugin, _host })
    }

    async fn acquire<'a>(
        &self,
        semaphore: &'a Semaphore,
        deployment: &Deployment,
        deadline: Instant,
        problem: impl Fn() -> String,
    ) -> Result<SemaphorePermit<'a>, HostError> {
        match semaphore.try_acquire() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(HostError::ShuttingDown),
            Err(TryAcquireError::NoPermits) => {}
        }
        let saturated = |problem: String| {
            let actor = &deployment.actor;
            HostError::Saturated { plugin: actor.plugin.to_string(), version: actor.version.clone(), city: actor.city.to_string(), problem }
        };
        let share = &deployment.share;
        let places = [&share.queue, &share.of_plugin.queue, &self.queue].map(Queue::join);
        if let Some(queue_full) = places.iter().find_map(|place| place.as_ref().err()) {
            return Err(saturated(format!(
                "{} calls wait for it already: call again later and fewer at a time, or raise limits.concurrency in plugin.toml",
                queue_full.places
            )));
        }
        match timeout_at(deadline.into(), semaphore.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(HostError::ShuttingDown),
            Err(_) => Err(saturated(problem())),
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

/// Counts who waits.
struct Queue {
    waiting: AtomicUsize,
    places: usize,
}

/// A place in a queue, given back when the wait ends or is abandoned.
struct Place<'a>(&'a Queue);

/// Nobody else may wait here.
struct QueueFull {
    places: usize,
}

impl Queue {
    fn new(places: usize) -> Queue {
        Queue { waiting: AtomicUsize::new(0), places }
    }

    fn join(&self) -> Result<Place<'_>, QueueFull> {
        let place = Place(self);
        if self.waiting.fetch_add(1, Ordering::AcqRel) < self.places { Ok(place) } else { Err(QueueFull { places: self.places }) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
