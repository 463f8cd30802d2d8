use std::{future::Future, num::NonZeroUsize, time::Instant};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinSet,
};

use crate::error::WarehouseError;

// Limit: stack of a worker. DataFusion's planner recurses over expressions; 4 MiB takes the deepest SQL that the parser lets through.
const STACK_BYTES: usize = 4 << 20;

/// Worker threads of the warehouse's own, as many as cores: a query that computes for seconds, or a catalog call that blocks, delays other queries but never the
/// bus. Ends with the value; work that still runs is dropped.
#[derive(Debug)]
pub(crate) struct Engine {
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Engine {
    pub(crate) fn start() -> Result<Engine, WarehouseError> {
        let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
        let runtime = Builder::new_multi_thread()
            // Two at least, so that a blocking catalog call leaves one for the rest.
            .worker_threads(cores.max(2))
            .thread_name("warehouse")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(WarehouseError::storage("starting the worker threads"))?;
        Ok(Engine { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Runs the work on the engine's threads. Work that has begun goes on when the caller stops waiting, so that a commit is never cut in half.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = Result<T, WarehouseError>> + Send + 'static) -> Result<T, WarehouseError> {
        match self.handle.spawn(work).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => Err(WarehouseError::broken("a worker of the warehouse panicked")),
            Err(_) => Err(WarehouseError::Closing),
        }
    }

    /// The same for work that changes nothing: it ends when the caller stops waiting, or at the deadline.
    pub(crate) async fn run_until<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl Future<Output = Result<T, WarehouseError>> + Send + 'static,
    ) -> Result<T, WarehouseError> {
        let mut running = JoinSet::new();
        running.spawn_on(work, &self.handle);
        match tokio::time::timeout_at(deadline.into(), running.join_next()).await {
            Ok(Some(Ok(outcome))) => outcome,
            Ok(Some(Err(error))) if error.is_panic() => Err(WarehouseError::broken("a worker of the warehouse panicked")),
            Ok(_) => Err(WarehouseError::Closing),
            Err(_) => Err(WarehouseError::DeadlinePassed { work: "query" }),
        }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // The last owner may be a task of another runtime, which may not wait for threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
