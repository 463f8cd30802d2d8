use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;

use crate::error::WarehouseError;

// Limit: bytes of one answer. A message on the bus may have 16 MiB; small ones let a reader begin early.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// One Arrow IPC stream, cut into pieces that may end anywhere. Columns are plain types, which every reader of Arrow knows: no views, no dictionaries.
pub(super) struct IpcPieces {
    writer: StreamWriter<Vec<u8>>,
    schema: SchemaRef,
    /// Written and not yet given out.
    ready: Bytes,
}

impl IpcPieces {
    pub(super) fn begin(schema: &Schema) -> Result<IpcPieces, WarehouseError> {
        let fields: Vec<Field> = schema.fields().iter().map(|field| Field::new(field.name(), plain(field.data_type()), field.is_nullable())).collect();
        let schema = Arc::new(Schema::new(fields));
        let writer = StreamWriter::try_new(Vec::new(), &schema).map_err(WarehouseError::broken)?;
        Ok(IpcPieces { writer, schema, ready: Bytes::new() })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), WarehouseError> {
        let columns = batch.columns().iter().zip(self.schema.fields()).map(|(column, field)| cast(column, field.data_type()));
        let columns = columns.collect::<Result<Vec<_>, _>>().map_err(WarehouseError::broken)?;
        // A batch without columns (SELECT from nothing) still has rows.
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let plain = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(WarehouseError::broken)?;
        self.writer.write(&plain).map_err(WarehouseError::broken)
    }

    /// The next bytes that are ready.
    pub(super) fn next_piece(&mut self) -> Option<Bytes> {
        if self.ready.is_empty() {
            self.ready = Bytes::from(std::mem::take(self.writer.get_mut()));
        }
        let piece = self.ready.split_to(self.ready.len().min(PIECE_BYTES_MAX));
        (!piece.is_empty()).then_some(piece)
    }

    /// The end marker; every piece must have been taken.
    pub(super) fn finish(mut self) -> Result<Bytes, WarehouseError> {
        self.writer.finish().map_err(WarehouseError::broken)?;
        Ok(Bytes::from(std::mem::take(self.writer.get_mut())))
    }
}

fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        DataType::List(item) | DataType::LargeList(item) | DataType::ListView(item) => {
            DataType::List(Arc::new(Field::new(item.name(), plain(item.data_type()), item.is_nullable())))
        }
        other => other.clone(),
    }
}
