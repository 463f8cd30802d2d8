use std::{fmt, path::PathBuf};

use anyhow::{Context, bail};
use backplane_proto::warehouse::v1::QueryRequest;
use kernel_base::City;
use serde::Deserialize;
use serde_json::Value;
use tonic::Status;

use super::{expected, rows, scenario::Scenario};
use crate::{
    client::Connection,
    feed,
    plugin::{
        call::{self, Refusal},
        run_job,
    },
    query,
};

/// One step of a scenario: what is done, and what has to come of it.
#[derive(Deserialize)]
#[serde(try_from = "Document")]
pub(super) struct Step {
    action: Action,
    outcome: Outcome,
}

enum Action {
    /// Rows of a dataset arrive, as a service would append them.
    Append(Append),
    /// A file of a feed arrives.
    Import(Import),
    /// A method of the plugin, or of the kernel, is called.
    Call(Call),
    /// A job of the plugin is run.
    Job(Job),
    /// The warehouse is asked.
    Query(Query),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Append {
    dataset: String,
    /// JSON objects, one a line.
    file: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Import {
    feed: String,
    file: PathBuf,
    #[serde(default)]
    period: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    method: String,
    #[serde(default)]
    city: Option<String>,
    #[serde(default)]
    request: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    name: String,
    #[serde(default)]
    parameters: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    sql: String,
    #[serde(default)]
    city: Option<String>,
}

/// Nothing is expected of rows and files but that they are taken.
enum Outcome {
    Taken,
    Answered(Value),
    /// For this reason.
    Refused(String),
}

/// A step as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    append: Option<Append>,
    import: Option<Import>,
    call: Option<Call>,
    job: Option<Job>,
    query: Option<Query>,
    expect: Option<Value>,
    refused: Option<String>,
}

impl TryFrom<Document> for Step {
    type Error = &'static str;

    fn try_from(document: Document) -> Result<Step, &'static str> {
        let Document { append, import, call, job, query, expect, refused } = document;
        let brings_rows = append.is_some() || import.is_some();
        let actions = [append.map(Action::Append), import.map(Action::Import), call.map(Action::Call), job.map(Action::Job), query.map(Action::Query)];
        let mut actions = actions.into_iter().flatten();
        let (Some(action), None) = (actions.next(), actions.next()) else {
            return Err("a step is one of append, import, call, job and query");
        };
        let outcome = match (expect, refused) {
            (None, None) if brings_rows => Outcome::Taken,
            (Some(answer), None) if !brings_rows => Outcome::Answered(answer),
            (None, Some(reason)) if !brings_rows && !reason.is_empty() => Outcome::Refused(reason),
            _ if brings_rows => return Err("append and import expect nothing: ask for what they bring with a query"),
            _ => return Err("a step has 'expect' with what the answer has, or 'refused' with a reason, and not both"),
        };
        Ok(Step { action, outcome })
    }
}

impl Step {
    /// Rows that are there before the first step.
    pub(super) fn append(dataset: String, file: PathBuf) -> Step {
        Step { action: Action::Append(Append { dataset, file }), outcome: Outcome::Taken }
    }

    /// Takes the step and says what came of it.
    pub(super) async fn take(&self, number: usize, scenario: &Scenario, connection: &Connection, plugin_id: &str) -> anyhow::Result<String> {
        let answer = match &self.action {
            Action::Append(Append { dataset, file }) => {
                let rows = rows::append(scenario, connection, (number, dataset, file)).await?;
                return Ok(format!("{self}: {rows} rows"));
            }
            Action::Import(Import { feed, file, period }) => {
                let taken = feed::import(connection, feed, &scenario.path(file), period).await?;
                return Ok(format!("{self}: {}", feed::describe(&taken)));
            }
            Action::Call(Call { method, city, request }) => {
                let request = request.as_ref().map_or_else(|| "{}".to_owned(), Value::to_string);
                call::answer(&in_city(connection, city.as_deref())?, method, &request).await?
            }
            Action::Job(Job { name, parameters }) => {
                let parameters = parameters.as_ref().map(Value::to_string).unwrap_or_default();
                let last = run_job(connection, plugin_id, name, &parameters, scenario.city).await;
                refusal_or(last.and_then(|last| result(&last.result_json)))?
            }
            Action::Query(Query { sql, city }) => {
                let request = QueryRequest { sql: sql.clone(), ..QueryRequest::default() };
                let answer = query::ask(&in_city(connection, city.as_deref())?, request).await;
                refusal_or(answer.and_then(|answer| query::rows_json(&answer)))?
            }
        };
        self.outcome.judge(answer)?;
        Ok(self.to_string())
    }
}

/// What a job says at its end, as the plugin wrote it.
fn result(json: &str) -> anyhow::Result<Value> {
    Ok(if json.is_empty() { Value::Null } else { serde_json::from_str(json)? })
}

fn in_city(connection: &Connection, city: Option<&str>) -> anyhow::Result<Connection> {
    let city: Option<City> = city.map(str::parse).transpose().context("city")?;
    Ok(Connection { city: city.or(connection.city), ..connection.clone() })
}

/// An answer of the kernel's that says no is one to be judged; every other error is the scenario's.
fn refusal_or(answer: anyhow::Result<Value>) -> anyhow::Result<Result<Value, Refusal>> {
    match answer {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => match error.downcast_ref::<Status>() {
            Some(status) => Ok(Err(Refusal::of_grpc(status))),
            None => Err(error),
        },
    }
}

impl Outcome {
    fn judge(&self, answer: Result<Value, Refusal>) -> anyhow::Result<()> {
        match (self, answer) {
            (Outcome::Taken, Ok(_)) => Ok(()),
            (Outcome::Answered(expected), Ok(answer)) => expected::compare(expected, &answer),
            (Outcome::Refused(reason), Err(refusal)) if refusal.reason == *reason => Ok(()),
            (Outcome::Refused(reason), Ok(answer)) => bail!("expected a refusal for {reason}, and it answered {answer}"),
            (Outcome::Refused(reason), Err(refusal)) => bail!("expected a refusal for {reason}, and it was: {refusal}"),
            (_, Err(refusal)) => bail!("it was refused: {refusal}"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.action {
            Action::Append(Append { dataset, .. }) => write!(f, "append {dataset}"),
            Action::Import(Import { feed, .. }) => write!(f, "import {feed}"),
            Action::Call(Call { method, .. }) => write!(f, "call {method}"),
            Action::Job(Job { name, .. }) => write!(f, "job {name}"),
            Action::Query(Query { sql, .. }) => write!(f, "query {}", sql.split_whitespace().collect::<Vec<_>>().join(" ")),
        }
    }
}
