use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kernel_auth::AccessTable;
use kernel_base::{BusClient, Clock};
use kernel_storage::RowStore;
use tokio::{
    sync::{Mutex, Semaphore},
    task::AbortHandle,
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info};

use crate::{
    HostError, HostSettings,
    admission::Admission,
    artifact::Artifacts,
    deployment::Deployments,
    engine::{TICK, WasmEngine},
    idle_instances::IdleSlots,
    run_job::RunningJobs,
    version::Versions,
};

// Limit: how long a shutdown waits for calls that run.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

// Limit: how often idle instances are looked through; they may live that much longer than said.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);

/// Installs plugins, keeps their deployments and answers their calls. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<HostInner>,
}

pub(crate) struct HostInner {
    pub(crate) settings: HostSettings,
    pub(crate) rows: RowStore,
    pub(crate) access: Arc<AccessTable>,
    pub(crate) bus: BusClient,
    pub(crate) clock: Clock,
    pub(crate) engine: WasmEngine,
    pub(crate) versions: Versions,
    pub(crate) deployments: Deployments,
    pub(crate) admission: Admission,
    pub(crate) idle_slots: Arc<IdleSlots>,
    /// Held while a deployment is made or ended, so that the rows, the deployments and the access table tell one story.
    pub(crate) administration: Mutex<()>,
    pub(crate) jobs: RunningJobs,
    /// Compiling takes both cores for seconds: one package at a time.
    pub(crate) installing: Semaphore,
    sweeper: Sweeper,
}

impl Host {
    /// Starts the engine and brings back the deployments of the row store. One that cannot be brought back is logged and left out; the kernel starts without it.
    ///
    /// # Errors
    /// When the engine, the folder or the row store fail.
    pub async fn open(settings: HostSettings, rows: RowStore, access: Arc<AccessTable>, bus: BusClient, clock: Clock) -> Result<Host, HostError> {
        let admission = Admission::new(&settings.limits);
        let instances_max = u32::try_from(admission.running_max() + settings.limits.idle_instances_max).unwrap_or(u32::MAX);
        let engine = WasmEngine::start(instances_max)?;
        let artifacts = Artifacts::open(&settings.dir, &engine.engine)?;
        let idle_slots = Arc::new(IdleSlots::new(settings.limits.idle_instances_max));
        let inner = Arc::new_cyclic(|inner| HostInner {
            sweeper: Sweeper::start(inner.clone(), settings.limits.idle_time),
            versions: Versions::new(engine.clone(), artifacts, rows.clone()),
            settings,
            rows,
            access,
            bus,
            clock,
            engine,
            deployments: Deployments::default(),
            admission,
            idle_slots,
            jobs: RunningJobs::default(),
            administration: Mutex::new(()),
            installing: Semaphore::new(1),
        });
        let host = Host { inner };
        host.bring_back().await?;
        Ok(host)
    }

    async fn bring_back(&self) -> Result<(), HostError> {
        let rows = self.inner.rows.enabled_deployments().await?;
        for row in &rows {
            match self.deployment_of(row).await {
                Ok(deployment) => self.activate(deployment),
                Err(cause) => error!(plugin = row.plugin_id, version = row.version, city = row.city, error = %cause, "a deployment could not be brought back"),
            }
        }
        info!(deployments = rows.len(), "plugins are ready");
        Ok(())
    }

    /// Warm instances that wait for a call, of all deployments.
    pub fn idle_instances(&self) -> usize {
        self.inner.idle_slots.taken()
    }

    /// Waits for calls that run, refuses new ones, and drops every instance.
    pub async fn close(&self) {
        self.inner.admission.close(DRAIN_PATIENCE).await;
        self.inner.deployments.clear();
        self.inner.sweeper.0.abort();
    }
}

/// Drops instances that have been idle too long. Ends with the host.
struct Sweeper(AbortHandle);

impl Sweeper {
    fn start(host: std::sync::Weak<HostInner>, idle_time: Duration) -> Sweeper {
        let sweep = async move {
            let mut ticks = interval(idle_time.clamp(TICK, SWEEP_PERIOD));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                // Not yet there on the first tick, no longer there on the last.
                if let Some(host) = host.upgrade() {
                    let now = Instant::now();
                    host.deployments.all().iter().for_each(|deployment| deployment.idle.expire(idle_time, now));
                }
            }
        };
        Sweeper(tokio::spawn(sweep).abort_handle())
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}
