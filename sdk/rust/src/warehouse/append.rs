use arrow_array::RecordBatch;
use arrow_schema::FieldRef;
use prost::bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_arrow::schema::{SchemaLike, TracingOptions};

use super::{Warehouse, encode_ipc};
use crate::{
    CallOptions, Status,
    proto::{
        ingest::v1::{AppendRequest, AppendResponse, IngestClient},
        v1::Reason,
    },
};

// Limit: one append, as backplane.ingest.v1 states it; more rows go into more appends, each with a key of its own.
const IPC_BYTES_MAX: usize = 16 << 20;

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
        let request = AppendRequest { dataset: dataset.to_owned(), ipc: Bytes::from(ipc), idempotency_key: idempotency_key.to_owned() };
        let options = CallOptions { idempotency_key: idempotency_key.to_owned(), ..CallOptions::default() };
        IngestClient::new(self.context).append(&options, &request)
    }

    /// Appends values whose fields are named as the columns: integers, texts, booleans and reals, `Option` for columns that may be null.
    ///
    /// # Errors
    /// As [`append`](Self::append); INTERNAL, ROWS_INVALID for a type that has no columns.
    pub fn append_rows<T: Serialize + DeserializeOwned>(self, dataset: &str, idempotency_key: &str, rows: &[T]) -> Result<AppendResponse, Status> {
        self.append(dataset, idempotency_key, &to_batch(rows)?)
    }
}

/// The columns come from the type, not from the rows, so that a column of nulls keeps its type.
fn to_batch<T: Serialize + DeserializeOwned>(rows: &[T]) -> Result<RecordBatch, Status> {
    let options = TracingOptions::default().strings_as_large_utf8(false).sequence_as_large_list(false);
    let batch = Vec::<FieldRef>::from_type::<T>(options).and_then(|fields| serde_arrow::to_record_batch(&fields, &rows));
    batch.map_err(|error| {
        Status::internal(Reason::RowsInvalid, format!("values of {} are no rows: {error}: use a struct of plain fields", std::any::type_name::<T>()))
    })
}
