use std::collections::VecDeque;

use arrow_array::RecordBatch;
use arrow_flight::{FlightData, SchemaAsIpc};
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow_schema::{ArrowError, Schema};
use backplane_proto::warehouse::v1::{QueryProgress, QueryStatistics};

use crate::{
    error::WarehouseError,
    query::{AnswerForm, PlainRows},
};

// Limit: bytes of the rows in one message, if it has more than one. Clients take 4 MiB or more, and small ones let a reader begin early.
const ROWS_BYTES_MAX: usize = 1 << 20;

/// Rows as messages of Flight: the schema, then batches.
pub(super) struct FlightPieces {
    rows: PlainRows,
    ready: VecDeque<FlightData>,
}

impl FlightPieces {
    pub(super) fn of(rows: PlainRows) -> FlightPieces {
        let first = FlightData::from(SchemaAsIpc::new(&rows.schema, &options()));
        FlightPieces { rows, ready: VecDeque::from([first]) }
    }

    fn push(&mut self, rows: &RecordBatch) -> Result<(), ArrowError> {
        if rows.num_rows() > 1 && bytes(rows)? > ROWS_BYTES_MAX {
            let half = rows.num_rows() / 2;
            self.push(&rows.slice(0, half))?;
            return self.push(&rows.slice(half, rows.num_rows() - half));
        }
        // There are no dictionaries in plain rows.
        let (_, data) = IpcDataGenerator::default().encode(rows, &mut DictionaryTracker::new(false), &options(), &mut Default::default())?;
        self.ready.push_back(data.into());
        Ok(())
    }
}

impl AnswerForm for FlightPieces {
    type Answer = FlightData;

    fn begin(schema: &Schema, _: i64) -> Result<FlightPieces, WarehouseError> {
        Ok(FlightPieces::of(PlainRows::nullable(schema)))
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), WarehouseError> {
        let rows = self.rows.convert(batch)?;
        self.push(&rows).map_err(WarehouseError::broken)
    }

    fn progress(&mut self, _: QueryProgress) -> Option<FlightData> {
        None
    }

    fn next_answer(&mut self) -> Option<FlightData> {
        self.ready.pop_front()
    }

    fn finish(self, _: QueryStatistics) -> Result<Option<FlightData>, WarehouseError> {
        Ok(None)
    }
}

fn bytes(rows: &RecordBatch) -> Result<usize, ArrowError> {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size()).sum()
}

pub(super) fn options() -> IpcWriteOptions {
    IpcWriteOptions::default()
}
