//! The shared data warehouse: SELECT with bound values, and rows as they arrive.
//!
//! ```
//! use backplane_sdk::{Context, Day, Status, testing::{self, FakeKernel}};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Row {
//!     page: String,
//!     views: i64,
//! }
//!
//! const VIEWS: &str = "SELECT page, count(*) AS views FROM interaction WHERE day >= $1 GROUP BY page ORDER BY page";
//!
//! fn views(context: &Context, since: Day) -> Result<i64, Status> {
//!     let rows = context.warehouse().query(VIEWS).bind(since).rows::<Row>()?;
//!     // One batch is in memory at a time; `into_vec` takes them all.
//!     rows.map(|row| row.map(|row| row.views)).sum()
//! }
//!
//! let rows = [Row { page: "/".to_owned(), views: 3 }, Row { page: "/help".to_owned(), views: 4 }];
//! let context = FakeKernel::new().on_query(move |_sql, _values| testing::batch(&rows)).context("440600");
//! assert_eq!(views(&context, "2026-03-31".parse()?)?, 7);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod append;
mod batches;
mod columns;
mod ipc;
mod parameter;
mod query;
mod row;
mod rows;

pub use batches::Batches;
pub use columns::Columns;
pub use ipc::encode as encode_ipc;
pub use query::Query;
pub use row::Row;
pub use rows::Rows;

use crate::Context;

/// Reads and writes datasets with the rights that the plugin and its caller share.
#[derive(Clone, Copy)]
pub struct Warehouse<'a> {
    context: &'a Context,
}

impl<'a> Warehouse<'a> {
    pub(crate) fn new(context: &'a Context) -> Warehouse<'a> {
        Warehouse { context }
    }

    /// One SELECT, with `$1`, `$2` … for the values given by [`Query::bind`]. It runs when its rows are asked for.
    pub fn query(self, sql: impl Into<String>) -> Query<'a> {
        Query::new(self.context, sql.into())
    }
}
