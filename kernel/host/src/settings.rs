use std::{path::PathBuf, time::Duration};

/// Where the host keeps what it can make again, and its bounds.
#[derive(Debug, Clone)]
pub struct HostSettings {
    /// Holds `artifacts/` and `artifact.key`. Private to the process's user: whoever can write here can run code in the kernel.
    pub dir: PathBuf,
    pub limits: HostLimits,
}

/// Bounds over all plugins together; those of one plugin stand in its manifest.
#[derive(Debug, Clone)]
pub struct HostLimits {
    /// Calls from outside that run at one time.
    pub calls_max: usize,
    /// Calls of plugins by plugins that run at one time, at each depth.
    pub nested_calls_max: usize,
    /// Warm instances that wait for a call.
    pub idle_instances_max: usize,
    /// How long a warm instance waits before it is dropped.
    pub idle_time: Duration,
    /// Calls that one instance answers before a fresh one takes over.
    pub calls_per_instance_max: u32,
}

impl Default for HostLimits {
    fn default() -> HostLimits {
        HostLimits {
            // Limit: twice what one deployment may ask for, so that no single one takes every permit while its calls wait for the warehouse.
            calls_max: 128,
            // Limit: nested calls must never wait for permits that their callers hold, so each depth has its own.
            nested_calls_max: 16,
            // Limit: an idle instance keeps about 1 MiB resident; 64 of them stay well inside the 200 MB that an idle kernel may take.
            idle_instances_max: 64,
            // Limit: long enough for a person who clicks through pages, short enough to give memory back.
            idle_time: Duration::from_secs(60),
            // Limit: leaks of a guest end with its instance; one fresh instance in 10,000 calls costs nothing.
            calls_per_instance_max: 10_000,
        }
    }
}
