use arrow_array::RecordBatch;
use prost::bytes::Bytes;

use super::{Row, Warehouse, encode_ipc};
use crate::{
    CallOptions, Status,
    proto::{
        ingest::v1::{AppendRequest, AppendResponse, IngestClient},
        v1::Reason,
    },
};

// Limit: one append, as backplane.ingest.v1 states it; more rows go into more appends, each with a key of its own.
const IPC_BYTES_MAX: usize = 16 << 20;
// Limit: rows that are made columns of at a time: 25,000 of 300 bytes are half of an append.
const ROWS_MAX: usize = 25_000;

impl Warehouse<'_> {
    /// Appends a batch to a dataset, in the city of the call, and returns when its snapshot is on disk. The same key with the same rows again writes nothing: derive it
    /// from what the rows stand for, never from the time of the call.
    ///
    /// ```
    /// use backplane_sdk::{testing::FakeKernel, warehouse::Columns};
    ///
    /// let context = FakeKernel::new().context("440600");
    /// let days = [("2026-03-30", 7_i64), ("2026-03-31", 9)];
    /// let batch = Columns::of(&days).text("day", |(day, _)| day).integer("bad_pages", |(_, pages)| *pages).batch()?;
    /// context.warehouse().append("portal_health.day", "2026-03/days", &batch)?;
    /// # Ok::<(), backplane_sdk::Status>(())
    /// ```
    ///
    /// # Errors
    /// As `backplane.ingest.v1.Ingest/Append` says; RESOURCE_EXHAUSTED, MESSAGE_TOO_LARGE above 16 MiB.
    pub fn append(self, dataset: &str, idempotency_key: &str, batch: &RecordBatch) -> Result<AppendResponse, Status> {
        let ipc = encode_ipc(&batch.schema(), std::slice::from_ref(batch))?;
        if ipc.len() > IPC_BYTES_MAX {
            let message = format!(
                "{} rows for {dataset} are {} bytes and one append takes {IPC_BYTES_MAX}: split them, with a key for each part",
                batch.num_rows(),
                ipc.len()
            );
            return Err(Status::resource_exhausted(Reason::MessageTooLarge, message).at("dataset", dataset));
        }
        let request =
            AppendRequest { dataset: dataset.to_owned(), ipc: Bytes::from(ipc), idempotency_key: idempotency_key.to_owned(), ..AppendRequest::default() };
        let options = CallOptions { idempotency_key: idempotency_key.to_owned(), ..CallOptions::default() };
        IngestClient::new(self.context).append(&options, &request)
    }

    /// Appends rows of a dataset, as many as there are: in appends that each fit, with keys of their own that begin with this one. The same rows in the same order again write
    /// nothing, also when only some of them had been written; no rows are no append.
    ///
    /// # Errors
    /// As [`append`](Self::append); what was appended before the error stays.
    pub fn append_rows<R: Row>(self, idempotency_key: &str, rows: &[R]) -> Result<(), Status> {
        (0..).step_by(ROWS_MAX).zip(rows.chunks(ROWS_MAX)).try_for_each(|(first, rows)| self.append_from(idempotency_key, first, rows))
    }

    /// Rows that begin at a place among all: by halves when they are too many bytes.
    fn append_from<R: Row>(self, idempotency_key: &str, first: usize, rows: &[R]) -> Result<(), Status> {
        match self.append(R::DATASET, &format!("{idempotency_key}-{first}"), &R::columns(rows).batch()?) {
            Err(error) if error.reason() == Reason::MessageTooLarge.as_str_name() && rows.len() > 1 => {
                let (one, other) = rows.split_at(rows.len() / 2);
                self.append_from(idempotency_key, first, one)?;
                self.append_from(idempotency_key, first + one.len(), other)
            }
            outcome => outcome.map(drop),
        }
    }
}
