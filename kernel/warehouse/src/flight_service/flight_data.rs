use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_flight::{FlightData, SchemaAsIpc};
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow_schema::Schema;
use backplane_proto::warehouse::v1::QueryStatistics;

use crate::{
    error::WarehouseError,
    query::{AnswerForm, PlainRows},
};

// Limit: bytes of rows in one message, about: clients take 4 MiB or more, and small ones let a reader begin early.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// The rows of a query as messages of Flight: the schema, then batches.
pub(super) struct FlightPieces {
    rows: PlainRows,
    ready: VecDeque<FlightData>,
}

impl AnswerForm for FlightPieces {
    type Answer = FlightData;

    fn begin(schema: &Schema, _: i64) -> Result<FlightPieces, WarehouseError> {
        let rows = PlainRows::of(schema);
        let first = FlightData::from(SchemaAsIpc::new(&rows.schema, &options()));
        Ok(FlightPieces { rows, ready: VecDeque::from([first]) })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), WarehouseError> {
        let rows = self.rows.convert(batch)?;
        let bytes = bytes(&rows).map_err(WarehouseError::broken)?;
        let step = (rows.num_rows() * PIECE_BYTES_MAX / bytes.max(1)).max(1);
        for begin in (0..rows.num_rows()).step_by(step) {
            let piece = rows.slice(begin, step.min(rows.num_rows() - begin));
            let encoded = IpcDataGenerator::default().encode(&piece, &mut DictionaryTracker::new(false), &options(), &mut Default::default());
            // There are no dictionaries in plain rows.
            let (_, data) = encoded.map_err(WarehouseError::broken)?;
            self.ready.push_back(data.into());
        }
        Ok(())
    }

    fn next_answer(&mut self) -> Option<FlightData> {
        self.ready.pop_front()
    }

    fn finish(self, _: QueryStatistics) -> Result<Option<FlightData>, WarehouseError> {
        Ok(None)
    }
}

fn bytes(rows: &RecordBatch) -> Result<usize, arrow_schema::ArrowError> {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size()).sum()
}

pub(super) fn options() -> IpcWriteOptions {
    IpcWriteOptions::default()
}
