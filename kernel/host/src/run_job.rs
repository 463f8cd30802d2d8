//! A job of a plugin, step by step.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use backplane_proto::{
    guest::v1::{RunRequest, RunResponse},
    plugin::v1::{RunJobRequest, RunJobResponse},
};
use bytes::Bytes;
use futures::{Stream, stream};
use kernel_base::{CallContext, Caller, City, Permission, PluginId, Principal, PrincipalId, PrincipalKind, Rights, Scope, TraceId};
use prost::Message;
use tonic::Status;
use tracing::info;

use crate::{Host, HostError, answer, deployment::Deployment, failure, guest_fault::GuestFailure};

const RUN: &str = "/backplane.guest.v1.Jobs/Run";

// Limit: one step with all that it waits for; the guest's own time is bounded by its manifest.
const STEP_TIMEOUT: Duration = Duration::from_secs(300);
// Limit: steps of a run. At a second each it is a day and more; a plugin that never comes to an end must be stopped some day.
const STEPS_MAX: i64 = 100_000;
// Limit: bytes of a cursor, as the contract of Jobs says.
const CURSOR_BYTES_MAX: usize = 64 << 10;
// Limit: bytes of the parameters, which go with every step.
const PARAMETERS_BYTES_MAX: usize = 64 << 10;

/// The jobs that run: each once in a city, since two would write the same rows.
#[derive(Clone, Default)]
pub(crate) struct RunningJobs(Arc<Mutex<HashSet<JobInCity>>>);

/// Plugin, city and job.
type JobInCity = (PluginId, City, String);

/// Ends the claim on a job when dropped.
struct Claim {
    running: RunningJobs,
    job: JobInCity,
}

impl RunningJobs {
    fn claim(&self, job: JobInCity) -> Result<Claim, HostError> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(job.clone()) {
            return Ok(Claim { running: self.clone(), job });
        }
        let (plugin, city, job) = job;
        Err(HostError::JobRunning { plugin: plugin.to_string(), city: city.to_string(), job })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job);
    }
}

/// A run between two steps.
struct Run {
    host: Host,
    deployment: Arc<Deployment>,
    /// The account of the deployment, held to the city.
    account: CallContext,
    city: City,
    request: RunRequest,
    deadline: Instant,
    finished: bool,
    _claim: Claim,
}

impl Host {
    /// Begins a run; each item of the stream is a step that was done. Whoever reads the stream makes the steps run.
    ///
    /// # Errors
    /// RESOURCE_NOT_FOUND, FIELD_INVALID, JOB_RUNNING.
    pub(crate) fn run_job(
        &self,
        context: &CallContext,
        request: RunJobRequest,
    ) -> Result<impl Stream<Item = Result<RunJobResponse, Status>> + Send + use<>, HostError> {
        if context.actor.is_some() {
            let problem = "a plugin runs no jobs: they hold the places that its own calls wait for; have them run by a person or a service".to_owned();
            return Err(HostError::Field { field: "plugin_id", problem });
        }
        let plugin: PluginId = request.plugin_id.parse()?;
        let city: City = request.city.parse()?;
        context.require("plugin.run", None, city)?;
        let not_enabled = || HostError::PluginNotEnabled { plugin: plugin.to_string(), city: city.to_string() };
        let deployment = self.inner.deployments.of_plugin(&plugin, city).ok_or_else(not_enabled)?;
        check_job(&deployment, &request.job)?;
        let parameters_json = check_parameters(request.parameters_json)?;
        let claim = self.inner.jobs.claim((plugin, city, request.job.clone()))?;
        let trace = context.trace;
        let run_id = TraceId::random().to_string();
        info!(plugin = %deployment.plugin(), %city, job = request.job, run_id, by = context.caller_id(), %trace, "a job begins");
        let run = Run {
            host: self.clone(),
            account: account_of(&deployment, city, context),
            deployment,
            city,
            request: RunRequest { job: request.job, run_id, step: 0, cursor: Bytes::new(), parameters_json },
            deadline: context.deadline,
            finished: false,
            _claim: claim,
        };
        Ok(stream::try_unfold(run, |mut run| async move {
            if run.finished {
                return Ok(None);
            }
            let done = run.step().await?;
            Ok(Some((done, run)))
        }))
    }
}

impl Run {
    async fn step(&mut self) -> Result<RunJobResponse, Status> {
        let now = Instant::now();
        if now >= self.deadline {
            return Err(HostError::DeadlinePassed.into());
        }
        // What was disabled, or enabled otherwise, ends its jobs.
        let (plugin, city) = (self.deployment.plugin(), self.city);
        let deployed = self.host.inner.deployments.of_plugin(plugin, city);
        if !deployed.is_some_and(|deployed| Arc::ptr_eq(&deployed, &self.deployment)) {
            return Err(HostError::PluginNotEnabled { plugin: plugin.to_string(), city: city.to_string() }.into());
        }
        let context = CallContext { deadline: self.deadline.min(now + STEP_TIMEOUT), ..self.account.clone() };
        let answer = self.host.call_deployment(&self.deployment, context, self.city, RUN, &self.request.encode_to_vec()).await?;
        let answered = answer::pass_on(&self.deployment, answer)?;
        let invalid = |problem: String| Status::from(failure::of(&self.deployment, GuestFailure::AnswerInvalid { problem }));
        let step = RunResponse::decode(answered).map_err(|error| invalid(format!("its step is no backplane.guest.v1.RunResponse: {error}")))?;
        if step.cursor.len() > CURSOR_BYTES_MAX {
            return Err(invalid(format!("the cursor of its step has {} bytes, of {CURSOR_BYTES_MAX} that it may have", step.cursor.len())));
        }
        self.request.step += 1;
        self.finished = step.cursor.is_empty();
        if !self.finished && (step.cursor == self.request.cursor || self.request.step >= STEPS_MAX) {
            return Err(invalid(format!("its job comes to no end: step {} answered the cursor that it was given, or is one too many", self.request.step)));
        }
        self.request.cursor = step.cursor;
        if self.finished {
            let RunRequest { job, run_id, step, .. } = &self.request;
            info!(plugin = %self.deployment.plugin(), city = %self.city, job, run_id, steps = step, "a job ended");
        }
        Ok(RunJobResponse {
            run_id: self.request.run_id.clone(),
            step: self.request.step,
            message: step.message,
            done: step.done,
            total: step.total,
            finished: self.finished,
            result_json: step.result_json,
            memory_bytes_peak: i64::try_from(self.deployment.memory_bytes_peak()).unwrap_or(i64::MAX),
        })
    }
}

fn check_job(deployment: &Deployment, job: &str) -> Result<(), HostError> {
    let manifest = &deployment.version.manifest;
    if manifest.jobs.iter().any(|known| known.name == job) {
        return Ok(());
    }
    let names: Vec<&str> = manifest.jobs.iter().map(|job| job.name.as_str()).collect();
    Err(HostError::JobUnknown {
        plugin: manifest.id.to_string(),
        version: manifest.version.to_string(),
        job: job.chars().take(80).collect(),
        jobs: if names.is_empty() { "none".to_owned() } else { names.join(", ") },
    })
}

fn check_parameters(json: String) -> Result<String, HostError> {
    let invalid = |problem: String| HostError::Field { field: "parameters_json", problem };
    if json.is_empty() {
        return Ok("{}".to_owned());
    }
    if json.len() > PARAMETERS_BYTES_MAX {
        return Err(invalid(format!("{} bytes are more than the {PARAMETERS_BYTES_MAX} that they may have", json.len())));
    }
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&json).map_err(|error| invalid(format!("expected a JSON object: {error}")))?;
    Ok(json)
}

/// Who runs a job: nobody but the deployment, which has what was granted to it, in one city.
fn account_of(deployment: &Deployment, city: City, context: &CallContext) -> CallContext {
    let id = PrincipalId::of_deployment(deployment.plugin(), deployment.actor.city);
    CallContext {
        caller: Caller::Known(Principal { id, kind: PrincipalKind::Plugin }),
        actor: None,
        // What was granted is intersected with this.
        rights: Arc::new(Rights::new([(Permission::everything(), Scope::city(city))])),
        city: Some(city),
        deadline: context.deadline,
        trace: context.trace,
        chain: Vec::new(),
    }
}
