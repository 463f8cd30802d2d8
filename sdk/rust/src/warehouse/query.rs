use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Batches, Rows};
use crate::{
    CallOptions, Context, Status,
    proto::warehouse::v1::{Parameter, QueryRequest, WarehouseClient},
};

/// A SELECT that is being put together.
#[must_use = "a query runs when its rows or batches are asked for"]
pub struct Query<'a> {
    context: &'a Context,
    options: CallOptions,
    request: QueryRequest,
}

impl<'a> Query<'a> {
    pub(super) fn new(context: &'a Context, sql: String) -> Query<'a> {
        Query { context, options: CallOptions::default(), request: QueryRequest { sql, ..QueryRequest::default() } }
    }

    /// The value of the next parameter: the first call is `$1`.
    pub fn bind(mut self, value: impl Into<Parameter>) -> Self {
        self.request.parameters.push(value.into());
        self
    }

    /// Reads this snapshot, as an earlier answer named it; 0 reads the newest.
    pub fn pin(mut self, snapshot_id: i64) -> Self {
        self.request.snapshot_id = snapshot_id;
        self
    }

    /// Fails the query when it has more rows, below the kernel's own limit.
    pub fn rows_max(mut self, rows: i64) -> Self {
        self.request.rows_max = rows;
        self
    }

    /// A deadline for this query, shorter than that of the call.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// Runs it; the answer arrives batch by batch and is never held as a whole.
    ///
    /// # Errors
    /// As `backplane.warehouse.v1.Warehouse/Query` says.
    pub fn batches(self) -> Result<Batches, Status> {
        Batches::open(WarehouseClient::new(self.context).query(&self.options, &self.request)?)
    }

    /// Runs it; each row is read into a `T` whose fields are named as the columns. Instants are `i64` microseconds, days `i32`, columns that may be null `Option`.
    ///
    /// # Errors
    /// As [`batches`](Self::batches).
    pub fn rows<T: DeserializeOwned>(self) -> Result<Rows<T>, Status> {
        Ok(Rows::new(self.batches()?))
    }
}
