use std::time::Duration;

use serde::de::DeserializeOwned;

use super::{Batches, Rows};
use crate::{
    CallOptions, Context, Page, Paged, Status,
    proto::warehouse::v1::{Parameter, QueryRequest, WarehouseClient},
};

/// A SELECT that is being put together.
///
/// ```
/// use std::time::Duration;
///
/// use backplane_sdk::{Day, Fen, proto::warehouse::v1::parameter::Value, testing::{self, FakeKernel}};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Row {
///     charged_fen: Fen,
/// }
///
/// const CHARGED: &str = "SELECT coalesce(sum(amount_fen), 0) AS charged_fen FROM charge WHERE customer_id = $1 AND month = $2";
///
/// let (kernel, context) = FakeKernel::new().on_query(|_sql, _values| testing::batch(&[Row { charged_fen: Fen::new(600) }])).start("440600");
/// let month: Day = "2026-03-01".parse()?;
/// // Values never stand in the SQL. An answer is pinned to the snapshot of an earlier one so that both fit together.
/// let query = context.warehouse().query(CHARGED).bind(8_001_i64).bind(month).pin(41).timeout(Duration::from_secs(2));
/// assert_eq!(query.rows::<Row>()?.one()?.charged_fen, Fen::new(600));
/// let asked = &kernel.queries()[0];
/// assert_eq!((asked.parameters[0].value.clone(), asked.snapshot_id), (Some(Value::Integer(8_001)), 41));
/// // What came and went since is asked for with the snapshot of the answer that is known.
/// let more = context.warehouse().query("SELECT coalesce(sum(_change * amount_fen), 0) AS charged_fen FROM changes.charge").changes_after(41).rows::<Row>()?.one()?;
/// assert_eq!(kernel.queries()[1].changes_after, 41);
/// # assert_eq!(more.charged_fen, Fen::new(600));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
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

    /// Has `changes.DATASET` show what came and went after this snapshot, as an earlier answer named it, with `_change` 1 or -1; without it all rows come.
    pub fn changes_after(mut self, snapshot_id: i64) -> Self {
        self.request.changes_after = snapshot_id;
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

    /// Runs it for one page of a list: LIMIT and OFFSET are put behind the SQL, which has to have an ORDER BY that leaves no two rows equal. The first page reads the
    /// newest snapshot, or that of [`pin`](Self::pin); the others read that of the first.
    ///
    /// # Errors
    /// As [`batches`](Self::batches).
    pub fn page<T: DeserializeOwned>(mut self, page: &Page) -> Result<Paged<T>, Status> {
        let next = self.request.parameters.len() + 1;
        self.request.sql = format!("{} LIMIT ${next} OFFSET ${}", self.request.sql.trim_end(), next + 1);
        if page.snapshot_id() != 0 {
            self = self.pin(page.snapshot_id());
        }
        let rows = self.bind(page.limit()).bind(page.offset()).rows()?;
        let snapshot_id = rows.snapshot_id();
        let mut rows = rows.into_vec()?;
        let next_page_token = page.cut(&mut rows, snapshot_id);
        Ok(Paged { rows, next_page_token, snapshot_id })
    }

    /// Runs it; each row is read into a `T` whose fields are named as the columns. Instants are `i64` microseconds, days `i32`, columns that may be null `Option`.
    ///
    /// # Errors
    /// As [`batches`](Self::batches).
    pub fn rows<T: DeserializeOwned>(self) -> Result<Rows<T>, Status> {
        Ok(Rows::new(self.batches()?))
    }
}
