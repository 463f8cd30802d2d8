use std::{collections::HashMap, panic::catch_unwind, sync::Arc};

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_flight::{FlightData, utils::flight_data_to_arrow_batch};
use arrow_ipc::{MessageHeader, root_as_message};
use arrow_schema::{DataType, Schema, TimeUnit};
use backplane_proto::warehouse::v1::{Parameter, parameter::Value};
use datafusion::common::ScalarValue;
use tonic::{Status, Streaming};

use super::malformed;
use crate::error::WarehouseError;

// Limit: messages that values come in, the schema and the row, and some without either.
const MESSAGES_MAX: usize = 8;
// Limit: bytes of them together. A list that is longer belongs into a table.
const BYTES_MAX: usize = 1 << 20;

/// The values of a prepared statement: one row, a column for each place.
///
/// # Errors
/// FIELD_INVALID when they are none, more than one row, or of types that no column has.
pub(super) async fn read(first: FlightData, mut rest: Streaming<FlightData>) -> Result<Vec<Parameter>, Status> {
    let (mut sent, mut bytes, mut next) = (Vec::new(), 0, Some(first));
    while let Some(message) = next {
        bytes += message.data_header.len() + message.data_body.len();
        sent.push(message);
        if sent.len() > MESSAGES_MAX || bytes > BYTES_MAX {
            return Err(invalid(format!("values come in at most {MESSAGES_MAX} messages and {BYTES_MAX} bytes")).into());
        }
        next = rest.message().await?;
    }
    // A stranger's bytes: the decoder checks buffers, but meets unknown types of a schema with a panic.
    Ok(catch_unwind(|| parameters(&sent)).unwrap_or_else(|_| Err(unreadable()))?)
}

fn parameters(sent: &[FlightData]) -> Result<Vec<Parameter>, WarehouseError> {
    let (mut schema, mut row) = (None, None);
    for message in sent.iter().filter(|message| !message.data_header.is_empty()) {
        let header = root_as_message(&message.data_header).map_err(|_| unreadable())?;
        match (header.header_type(), &schema) {
            (MessageHeader::Schema, None) => {
                let read = Schema::try_from(message).map_err(|_| unreadable())?;
                read.fields().iter().enumerate().try_for_each(|(index, field)| taken(index, field.data_type()).map(|_| ()))?;
                schema = Some(Arc::new(read));
            }
            (MessageHeader::RecordBatch, Some(schema)) => {
                let batch = header.header_as_record_batch().ok_or_else(unreadable)?;
                // It names its own size, which the decoder would allocate before it looks.
                if batch.compression().is_some() {
                    return Err(invalid("the values are compressed: send them without compression".to_owned()));
                }
                if batch.length() > 1 || batch.length() == 1 && row.is_some() {
                    return Err(invalid("a statement takes one row of values: send it once for each row".to_owned()));
                }
                let read = flight_data_to_arrow_batch(message, schema.clone(), &HashMap::new()).map_err(|_| unreadable())?;
                row = Some(read).filter(|read| read.num_rows() == 1).or(row);
            }
            _ => return Err(unreadable()),
        }
    }
    let row: RecordBatch = row.ok_or_else(|| invalid("there is no row of values".to_owned()))?;
    row.columns().iter().enumerate().map(|(index, column)| parameter(index, column)).collect()
}

/// The type of a parameter that values of another are taken as.
fn taken(index: usize, data_type: &DataType) -> Result<DataType, WarehouseError> {
    Ok(match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Boolean => DataType::Boolean,
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        // Without a zone it is in UTC.
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Null => DataType::Null,
        whole if whole.is_integer() => DataType::Int64,
        other => return Err(wrong(index, other)),
    })
}

fn parameter(index: usize, column: &ArrayRef) -> Result<Parameter, WarehouseError> {
    if column.logical_null_count() > 0 {
        return Err(invalid(format!("${} is null: write 'is null' where a value may be missing", index + 1)));
    }
    let wrong = || wrong(index, column.data_type());
    let converted = cast(column, &taken(index, column.data_type())?).map_err(|_| wrong())?;
    let value = match ScalarValue::try_from_array(&converted, 0).map_err(|_| wrong())? {
        ScalarValue::Utf8(Some(text)) => Value::Text(text),
        ScalarValue::Int64(Some(number)) => Value::Integer(number),
        ScalarValue::Float64(Some(number)) => Value::Real(number),
        ScalarValue::Boolean(Some(truth)) => Value::Boolean(truth),
        ScalarValue::TimestampMicrosecond(Some(micros), _) => Value::InstantMicros(micros),
        ScalarValue::Date32(Some(day)) => Value::Day(day),
        _ => return Err(wrong()),
    };
    Ok(Parameter { value: Some(value) })
}

fn wrong(index: usize, data_type: &DataType) -> WarehouseError {
    let taken = "text, whole numbers of 64 bits, real numbers, booleans, instants and days are";
    invalid(format!("${} cannot be taken, a value of type {data_type}: {taken}", index + 1))
}

fn unreadable() -> WarehouseError {
    malformed("the values cannot be read as Arrow: a schema, then one row")
}

fn invalid(problem: String) -> WarehouseError {
    WarehouseError::FieldInvalid { field: "parameters", problem }
}
