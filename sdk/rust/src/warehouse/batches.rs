use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_schema::{ArrowError, SchemaRef};

use crate::{
    Reader, Status,
    proto::{
        v1::Reason,
        warehouse::v1::{QueryResponse, QueryStatistics},
    },
};

/// The Arrow batches of a query, decoded as they arrive. At most one message and one batch are in memory.
///
/// ```
/// use backplane_sdk::{Status, arrow_array::{cast::AsArray, types::Int64Type}, testing::{self, FakeKernel}};
///
/// #[derive(serde::Serialize)]
/// struct Row {
///     seconds: i64,
/// }
///
/// let context = FakeKernel::new().on_query(|_sql, _values| testing::batch(&[60, 125].map(|seconds| Row { seconds }))).context("440600");
/// let mut batches = context.warehouse().query("SELECT seconds FROM usage").batches()?;
/// let mut seconds = 0;
/// for batch in batches.by_ref() {
///     seconds += batch?.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>();
/// }
/// assert_eq!((seconds, batches.statistics().map(|statistics| statistics.rows)), (185, Some(2)));
/// # Ok::<(), Status>(())
/// ```
///
/// Invariant: it ends without an error only when the kernel has sent the counts and they are those of the rows read, so a query that broke off never looks like a
/// shorter one. (The end marker of Arrow's stream is optional and cannot tell.)
pub struct Batches {
    messages: Reader<QueryResponse>,
    decoder: StreamDecoder,
    /// What of the last message has not been decoded.
    piece: Buffer,
    snapshot_id: i64,
    statistics: Option<QueryStatistics>,
    rows_read: i64,
    ended: bool,
}

impl Batches {
    pub(super) fn open(mut messages: Reader<QueryResponse>) -> Result<Batches, Status> {
        let first = messages.next().unwrap_or_else(|| Err(broken_off()))?;
        let mut batches = Batches {
            messages,
            decoder: StreamDecoder::new(),
            piece: Buffer::from(Vec::<u8>::new()),
            snapshot_id: first.snapshot_id,
            statistics: None,
            rows_read: 0,
            ended: false,
        };
        batches.accept(first);
        Ok(batches)
    }

    /// The snapshot that the query reads.
    pub fn snapshot_id(&self) -> i64 {
        self.snapshot_id
    }

    /// The columns, once the schema has arrived: at the latest with the first batch.
    pub fn schema(&self) -> Option<SchemaRef> {
        self.decoder.schema()
    }

    /// Rows and time, after the last batch.
    pub fn statistics(&self) -> Option<&QueryStatistics> {
        self.statistics.as_ref()
    }

    fn accept(&mut self, message: QueryResponse) {
        self.piece = Buffer::from(message.ipc);
        self.statistics = message.statistics.or(self.statistics.take());
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, Status> {
        loop {
            if let Some(batch) = self.decoder.decode(&mut self.piece).map_err(|error| unreadable(&error))? {
                self.rows_read = self.rows_read.saturating_add(i64::try_from(batch.num_rows()).unwrap_or(i64::MAX));
                return Ok(Some(batch));
            }
            match self.messages.next() {
                Some(message) => self.accept(message?),
                None => {
                    self.decoder.finish().map_err(|_| broken_off())?;
                    let complete = self.decoder.schema().is_some() && self.statistics.as_ref().is_some_and(|statistics| statistics.rows == self.rows_read);
                    return if complete { Ok(None) } else { Err(broken_off()) };
                }
            }
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let batch = self.read().transpose();
        self.ended = !matches!(batch, Some(Ok(_)));
        batch
    }
}

fn broken_off() -> Status {
    Status::unavailable(Reason::QueryFailed, "the answer of a query broke off before its end: ask again")
}

fn unreadable(error: &ArrowError) -> Status {
    Status::internal(Reason::QueryFailed, format!("the answer of a query is no Arrow IPC stream: {error}: build the plugin against the SDK of this kernel"))
}
