//! Jobs: what a plugin does by itself, a step at a time. plugin.toml names them, [`Jobs`] does them, and [`export!`](crate::export) is given [`JobsServer`].
//!
//! ```
//! use backplane_sdk::{Context, Status, job::{Jobs, RunRequest, RunResponse}};
//! use serde::{Deserialize, Serialize};
//!
//! struct Plugin;
//!
//! #[derive(Deserialize)]
//! struct Parameters {
//!     customers: i64,
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Cursor {
//!     done: i64,
//! }
//!
//! impl Jobs for Plugin {
//!     fn run(&self, _context: &Context, request: RunRequest) -> Result<RunResponse, Status> {
//!         let Parameters { customers } = request.parameters()?;
//!         let done = (request.cursor::<Cursor>()?.done + 1_000).min(customers);
//!         // What is written carries a key of the run and the step, so that a step may be repeated.
//!         let _key = request.key("values");
//!         let step = if done < customers { RunResponse::next(&Cursor { done })? } else { RunResponse::last(&done)? };
//!         Ok(step.progress(done, customers, format_args!("{done} of {customers} customers")))
//!     }
//! }
//!
//! let step = |cursor| RunRequest { parameters_json: r#"{"customers": 1500}"#.to_owned(), cursor, ..RunRequest::default() };
//! # let context = backplane_sdk::testing::FakeKernel::new().context("440600");
//! let first = Plugin.run(&context, step(Default::default()))?;
//! let second = Plugin.run(&context, step(first.cursor))?;
//! assert!(second.cursor.is_empty() && second.result_json == "1500");
//! # Ok::<(), Status>(())
//! ```

use std::fmt::Display;

use serde::{Serialize, de::DeserializeOwned};

pub use crate::proto::guest::v1::{Jobs, JobsClient, JobsServer, RunRequest, RunResponse};
use crate::{Status, proto::v1::Reason};

impl RunRequest {
    /// What whoever runs the job asked for.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, FIELD_INVALID with what does not fit.
    pub fn parameters<T: DeserializeOwned>(&self) -> Result<T, Status> {
        let text = if self.parameters_json.is_empty() { "{}" } else { &self.parameters_json };
        serde_json::from_str(text).map_err(|error| Status::field_invalid("parameters_json", format!("the job's parameters cannot be read: {error}")))
    }

    /// Where this step begins: what the one before gave to [`RunResponse::next`], the default in the first.
    ///
    /// # Errors
    /// INTERNAL when it was written as another type.
    pub fn cursor<T: DeserializeOwned + Default>(&self) -> Result<T, Status> {
        if self.cursor.is_empty() {
            return Ok(T::default());
        }
        serde_json::from_slice(&self.cursor).map_err(|error| Status::internal(Reason::InternalFault, format!("the job's cursor cannot be read: {error}")))
    }

    /// The idempotency key of what a step writes to `what`: the same when the step is repeated.
    pub fn key(&self, what: &str) -> String {
        format!("{}/{}/{what}", self.run_id, self.step)
    }
}

impl RunResponse {
    /// The step is done and the next one begins here.
    ///
    /// # Errors
    /// INTERNAL for a cursor that is no JSON.
    pub fn next<T: Serialize>(cursor: &T) -> Result<RunResponse, Status> {
        let cursor = serde_json::to_vec(cursor).map_err(|error| no_json("cursor", &error))?;
        Ok(RunResponse { cursor: cursor.into(), ..RunResponse::default() })
    }

    /// The job is done, and this came of it.
    ///
    /// # Errors
    /// INTERNAL for a result that is no JSON.
    pub fn last<T: Serialize>(result: &T) -> Result<RunResponse, Status> {
        let result_json = serde_json::to_string(result).map_err(|error| no_json("result", &error))?;
        Ok(RunResponse { result_json, ..RunResponse::default() })
    }

    /// How far the job is, for whoever watches.
    #[must_use]
    pub fn progress(self, done: i64, total: i64, message: impl Display) -> RunResponse {
        RunResponse { done, total, message: message.to_string(), ..self }
    }
}

fn no_json(what: &str, error: &serde_json::Error) -> Status {
    Status::internal(Reason::InternalFault, format!("the job's {what} cannot be written as JSON: {error}"))
}
