use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::Schema;
use backplane_proto::warehouse::v1::{QueryProgress, QueryResponse, QueryStatistics};
use bytes::Bytes;

use super::{AnswerForm, PlainRows};
use crate::error::WarehouseError;

// Limit: bytes of one answer. A message on the bus may have 16 MiB; small ones let a reader begin early.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// One Arrow IPC stream, cut into pieces that may end anywhere.
pub(crate) struct IpcPieces {
    writer: StreamWriter<Vec<u8>>,
    rows: PlainRows,
    /// Until it was given out, in the first answer.
    snapshot_id: Option<i64>,
    /// Written and not yet given out.
    ready: Bytes,
}

impl IpcPieces {
    fn answer(&mut self, ipc: Bytes, statistics: Option<QueryStatistics>) -> QueryResponse {
        QueryResponse { snapshot_id: self.snapshot_id.take().unwrap_or_default(), ipc, statistics, progress: None }
    }
}

impl AnswerForm for IpcPieces {
    type Answer = QueryResponse;

    fn begin(schema: &Schema, snapshot_id: i64) -> Result<IpcPieces, WarehouseError> {
        let rows = PlainRows::of(schema);
        let writer = StreamWriter::try_new(Vec::new(), &rows.schema).map_err(WarehouseError::broken)?;
        Ok(IpcPieces { writer, rows, snapshot_id: Some(snapshot_id), ready: Bytes::new() })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), WarehouseError> {
        self.writer.write(&self.rows.convert(batch)?).map_err(WarehouseError::broken)
    }

    fn progress(&mut self, progress: QueryProgress) -> Option<QueryResponse> {
        Some(QueryResponse { progress: Some(progress), ..QueryResponse::default() })
    }

    fn next_answer(&mut self) -> Option<QueryResponse> {
        if self.ready.is_empty() {
            self.ready = Bytes::from(std::mem::take(self.writer.get_mut()));
        }
        let piece = self.ready.split_to(self.ready.len().min(PIECE_BYTES_MAX));
        (!piece.is_empty()).then(|| self.answer(piece, None))
    }

    /// With the end marker.
    fn finish(mut self, statistics: QueryStatistics) -> Result<Option<QueryResponse>, WarehouseError> {
        self.writer.finish().map_err(WarehouseError::broken)?;
        let rest = Bytes::from(std::mem::take(self.writer.get_mut()));
        Ok(Some(self.answer(rest, Some(statistics))))
    }
}
