use std::{collections::VecDeque, vec};

use arrow_array::RecordBatch;
use arrow_schema::FieldRef;
use prost::{Message, bytes::Bytes};
use serde::Serialize;
use serde_arrow::schema::{SchemaLike, TracingOptions};

use crate::{
    Messages, Status,
    proto::{
        v1::Reason,
        warehouse::v1::{QueryResponse, QueryStatistics},
    },
    warehouse::encode_ipc,
};

/// Values as the columns of a query's answer: integers are Int64, texts Utf8, `Option` fields nullable. Give at least one value.
///
/// # Errors
/// INTERNAL for values that are no rows.
pub fn batch<T: Serialize>(rows: &[T]) -> Result<RecordBatch, Status> {
    let options = TracingOptions::default().strings_as_large_utf8(false).allow_null_fields(true);
    let batch = Vec::<FieldRef>::from_samples(rows, options).and_then(|fields| serde_arrow::to_record_batch(&fields, &rows));
    batch.map_err(|error| Status::internal(Reason::RowsInvalid, format!("the test's values are no rows: {error}")))
}

// Limit: small on purpose, so that tests see an answer in several messages, cut at odd places.
const PIECE_BYTES: usize = 1_000;

/// The messages in which the kernel would answer a query.
pub(super) fn query_messages(batch: &RecordBatch, snapshot_id: i64) -> Result<Answers, Status> {
    let ipc = Bytes::from(encode_ipc(&batch.schema(), std::slice::from_ref(batch))?);
    let pieces = (0..ipc.len()).step_by(PIECE_BYTES).map(|start| ipc.slice(start..ipc.len().min(start + PIECE_BYTES)));
    let mut messages: VecDeque<QueryResponse> = pieces.map(|ipc| QueryResponse { ipc, ..QueryResponse::default() }).collect();
    if let Some(first) = messages.front_mut() {
        first.snapshot_id = snapshot_id;
    }
    let rows = i64::try_from(batch.num_rows()).unwrap_or(i64::MAX);
    messages.push_back(QueryResponse { statistics: Some(QueryStatistics { rows, elapsed_micros: 1 }), ..QueryResponse::default() });
    Ok(Answers(messages.iter().map(Message::encode_to_vec).collect::<Vec<_>>().into_iter()))
}

/// Encoded messages, given out one by one.
pub(super) struct Answers(vec::IntoIter<Vec<u8>>);

impl Messages for Answers {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        Ok(self.0.next())
    }
}
