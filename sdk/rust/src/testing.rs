//! Native tests of a plugin: [`FakeKernel`] answers for the kernel's services, and the plugin is called through its generated client, so that a test runs the
//! same decoding, dispatch and encoding as the component does.
//!
//! ```
//! use backplane_sdk::{CallOptions, Context, Status, job::{Jobs, JobsClient, JobsServer, RunRequest, RunResponse}, testing::{self, FakeKernel}};
//!
//! #[derive(serde::Serialize, serde::Deserialize)]
//! struct Row {
//!     lines: i64,
//! }
//!
//! // A plugin with one service; those of its own proto are the same.
//! #[derive(Default)]
//! struct Counter;
//!
//! impl Jobs for Counter {
//!     fn run(&self, context: &Context, _request: RunRequest) -> Result<RunResponse, Status> {
//!         let row: Row = context.warehouse().query("SELECT count(*) AS lines FROM charge").rows()?.one()?;
//!         RunResponse::last(&row.lines)
//!     }
//! }
//! backplane_sdk::export!(Counter: JobsServer);
//!
//! let (kernel, context) = FakeKernel::new().plugin::<Counter>().on_query(|_sql, _values| testing::batch(&[Row { lines: 41 }])).start("440600");
//! let answer = JobsClient::new(&context).run(&CallOptions::default(), &RunRequest::default())?;
//! assert_eq!(answer.result_json, "41");
//! assert_eq!(kernel.queries()[0].sql, "SELECT count(*) AS lines FROM charge");
//! # Ok::<(), Status>(())
//! ```

mod answers;
mod fake_kernel;

pub use answers::batch;
pub use fake_kernel::FakeKernel;
