//! A call of a plugin, from bytes to bytes.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use kernel_base::{CallContext, City, TraceId};
use tonic::Status;
use tracing::warn;

use crate::{
    Host, HostError, answer,
    deployment::Deployment,
    instance::{GuestAnswer, Instance},
};

impl Host {
    /// Answers `path` ("/package.Service/Method") with the deployment of the context's city, else of the province. The caller was authorized before.
    ///
    /// # Errors
    /// PLUGIN_NOT_ENABLED, PLUGIN_SATURATED, CALL_CYCLE, CALL_DEPTH_EXCEEDED; PLUGIN_TRAPPED, PLUGIN_TIMED_OUT, PLUGIN_OUT_OF_MEMORY and
    /// PLUGIN_ANSWER_INVALID with plugin, version and city; else the plugin's own status.
    pub async fn call(&self, context: CallContext, path: &str, request: Bytes) -> Result<Bytes, Status> {
        let city = context.city.unwrap_or(City::PROVINCE);
        let Some(deployment) = self.inner.deployments.find(path, city) else {
            return Err(HostError::NotEnabled { path: path.chars().take(200).collect(), city: city.to_string() }.into());
        };
        let trace = context.trace;
        let answer = self.call_deployment(&deployment, context, city, path, &request).await;
        let answer = answer.inspect_err(|error| log_fault(trace, path, error))?;
        answer::pass_on(&deployment, answer)
    }

    pub(crate) async fn call_deployment(
        &self,
        deployment: &Arc<Deployment>,
        context: CallContext,
        city: City,
        path: &str,
        request: &[u8],
    ) -> Result<GuestAnswer, HostError> {
        let host = &*self.inner;
        refuse_cycle(deployment, &context)?;
        let effective = deployment.rights.intersection(&context.rights, &host.access, city);
        let _permits = host.admission.enter(deployment, context.chain.len(), context.deadline).await?;
        let mut instance = match deployment.idle.take(&effective) {
            Some(warm) => warm,
            // Apart, since it is large and rare: every call would carry the room for it.
            None => Box::pin(Instance::start(&host.engine, &host.bus, deployment, effective, &context)).await?,
        };
        // An error drops the instance here: what a trap leaves behind in its memory is nobody's to use.
        let answer = instance.call(deployment, context, &host.clock, path, request).await;
        deployment.note_memory(instance.memory_bytes());
        let answer = answer?;
        if instance.is_reusable(host.settings.limits.calls_per_instance_max) {
            deployment.idle.put(instance, Instant::now());
        }
        Ok(answer)
    }
}

/// The operator's side of a fault: the caller reads the same text, but only here it stands with the trace.
fn log_fault(trace: TraceId, path: &str, error: &HostError) {
    if let HostError::Guest(fault) = error {
        warn!(plugin = fault.plugin, version = fault.version, city = %fault.city, trace = %trace, path, fault = %fault.failure, "a plugin failed");
    }
}

/// A plugin that waits for this call must not be asked to answer it: with its instances all waiting, nobody could.
fn refuse_cycle(deployment: &Deployment, context: &CallContext) -> Result<(), HostError> {
    if !context.chain.contains(deployment.plugin()) {
        return Ok(());
    }
    let chain: Vec<&str> = context.chain.iter().map(|plugin| plugin.as_str()).collect();
    Err(HostError::Cycle { plugin: deployment.plugin().to_string(), chain: chain.join(" > ") })
}
