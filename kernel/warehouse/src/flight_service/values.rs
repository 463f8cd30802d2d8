use std::panic::AssertUnwindSafe;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_flight::{FlightData, decode::FlightRecordBatchStream, error::FlightError};
use arrow_schema::{DataType, TimeUnit};
use backplane_proto::warehouse::v1::{Parameter, parameter::Value};
use datafusion::common::ScalarValue;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use tonic::Status;

use super::malformed;
use crate::error::WarehouseError;

/// The values of a prepared statement: one row, a column for each place.
///
/// # Errors
/// FIELD_INVALID when they are none, more than one row, or of types that no column has.
pub(super) async fn read(sent: impl Stream<Item = Result<FlightData, Status>> + Send + 'static) -> Result<Vec<Parameter>, WarehouseError> {
    let batches = FlightRecordBatchStream::new_from_flight_data(sent.map_err(FlightError::from));
    // A stranger's bytes.
    let row = AssertUnwindSafe(one_row(batches)).catch_unwind().await.unwrap_or_else(|_| Err(malformed("the values cannot be read as Arrow")))?;
    row.columns().iter().enumerate().map(|(index, column)| parameter(index, column)).collect()
}

async fn one_row(mut batches: FlightRecordBatchStream) -> Result<RecordBatch, WarehouseError> {
    let mut row = None;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|_| malformed("the values cannot be read as Arrow"))?;
        if batch.num_rows() > 1 || batch.num_rows() == 1 && row.is_some() {
            return Err(invalid("a statement takes one row of values: send it once for each row".to_owned()));
        }
        if batch.num_rows() == 1 {
            row = Some(batch);
        }
    }
    row.ok_or_else(|| invalid("there is no row of values".to_owned()))
}

fn parameter(index: usize, column: &ArrayRef) -> Result<Parameter, WarehouseError> {
    if column.logical_null_count() > 0 {
        return Err(invalid(format!("${} is null: write 'is null' where a value may be missing", index + 1)));
    }
    let data_type = column.data_type().clone();
    let wrong = || invalid(format!("${} is of type {data_type}: text, whole and real numbers, booleans, instants and days are taken", index + 1));
    let to = match &data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Boolean => DataType::Boolean,
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        // Without a zone it is in UTC.
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        whole if whole.is_integer() => DataType::Int64,
        decimal if decimal.is_decimal() => DataType::Float64,
        _ => return Err(wrong()),
    };
    let scalar = cast(column, &to).and_then(|column| ScalarValue::try_from_array(&column, 0).map_err(Into::into)).map_err(|_| wrong())?;
    let value = match scalar {
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

fn invalid(problem: String) -> WarehouseError {
    WarehouseError::FieldInvalid { field: "parameters", problem }
}
