use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, Schema};

use crate::{Status, proto::v1::Reason};

/// One Arrow IPC stream, uncompressed: schema, batches, end marker. For answers of a plugin that carry columns in a `bytes` field.
///
/// ```
/// use backplane_sdk::{Status, warehouse::{Columns, encode_ipc}};
///
/// let batch = Columns::of(&[7_i64, 9]).integer("bad_pages", |pages| *pages).batch()?;
/// let stream = encode_ipc(&batch.schema(), &[batch])?;
/// assert_eq!(&stream[..4], [0xff; 4], "each message of the stream begins so");
/// # Ok::<(), Status>(())
/// ```
///
/// # Errors
/// INTERNAL, ROWS_INVALID when a batch has another schema.
pub fn encode(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<u8>, Status> {
    write(schema, batches)
        .map_err(|error| Status::internal(Reason::RowsInvalid, format!("rows cannot be written as Arrow: {error}: give every batch the same columns")))
}

fn write(schema: &Schema, batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}
