use anyhow::Context;
use backplane_proto::plugin::v1::{RunJobRequest, RunJobResponse};
use indicatif::{ProgressBar, ProgressStyle};
use kernel_base::City;

use super::{JobArguments, plugins};
use crate::{
    client::Connection,
    output::{self, say},
};

// Limit: seconds that a job may take from here, the longest that a call may. One that is stopped is run again.
const JOB_SECONDS: u64 = 3_600;

pub(super) async fn run(arguments: JobArguments) -> anyhow::Result<()> {
    for city in arguments.cities {
        let outcome = run_job(&arguments.connection, &arguments.plugin, &arguments.job, &arguments.parameters, city).await?;
        if arguments.connection.json {
            output::json("backplane.plugin.v1.RunJobResponse", &outcome)?;
        } else {
            let RunJobResponse { message, step, run_id, memory_bytes_peak, .. } = &outcome;
            say(format!("{city} {}: {message} ({step} steps, at most {} MiB, run {run_id})", city.info().name_en, memory_bytes_peak >> 20));
            if !outcome.result_json.is_empty() {
                say(format!("  {}", outcome.result_json));
            }
        }
    }
    Ok(())
}

/// Runs a job to its end and shows how far it is; gives its last answer.
///
/// # Errors
/// When the kernel refuses it, or a step fails.
pub(crate) async fn run_job(connection: &Connection, plugin: &str, job: &str, parameters: &str, city: City) -> anyhow::Result<RunJobResponse> {
    // The city stands in the request; the token of a whole province need not be held to it.
    let connection = Connection { timeout_seconds: connection.timeout_seconds.max(JOB_SECONDS), ..connection.clone() };
    let request = RunJobRequest { plugin_id: plugin.to_owned(), city: city.to_string(), job: job.to_owned(), parameters_json: parameters.to_owned() };
    let mut steps = plugins(&connection).await?.run_job(request).await?.into_inner();
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template("{wide_bar} {pos}/{len}, {eta} left, {msg}")?);
    let mut last = None;
    while let Some(step) = steps.message().await? {
        bar.set_length(step.total.cast_unsigned());
        bar.set_position(step.done.cast_unsigned());
        bar.set_message(step.message.clone());
        last = Some(step);
    }
    bar.finish_and_clear();
    last.filter(|step| step.finished).context("the job broke off before its end: what it wrote stays; run it again as its documentation says")
}
