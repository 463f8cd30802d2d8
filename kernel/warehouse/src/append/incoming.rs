use std::{
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arrow_array::{
    Array, ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray,
    cast::AsArray,
    types::{Float64Type, Int64Type, TimestampMicrosecondType},
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_ipc::{reader::StreamDecoder, root_as_message};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use arrow_select::concat::concat_batches;
use backplane_proto::ingest::v1::AppendRequest;
use datafusion::arrow::buffer::Buffer;
use kernel_base::City;

use super::json_rows;
use crate::{
    contract::{CITY, ColumnContract, ColumnType, DatasetContract, Mode, REVISION, Visibility},
    day::shanghai_day,
    error::WarehouseError,
};

// Limit: an append's Arrow stream, as the contract of Append says; it is one message on the bus.
pub(crate) const IPC_BYTES_MAX: usize = 16 << 20;
// Limit: rows of an append. 16 MiB of real rows are far fewer; a batch can claim any number of rows without data.
const ROWS_MAX: usize = 1_000_000;

/// The rows of an append in the declared columns, in whichever of the two forms they come.
///
/// # Errors
/// FIELD_INVALID when they come in both, ROWS_INVALID with row and column.
pub(crate) fn rows(contract: &DatasetContract, city: City, request: &AppendRequest) -> Result<RecordBatch, WarehouseError> {
    match (request.ipc.is_empty(), request.rows_json.as_str()) {
        (_, "") => read(contract, city, &request.ipc),
        (true, text) => conform(contract, city, &json_rows::read(contract, text, ROWS_MAX)?),
        (false, _) => {
            Err(WarehouseError::FieldInvalid { field: "rows_json", problem: "the request has `ipc` too: send the rows in one of the two forms".to_owned() })
        }
    }
}

/// Reads an Arrow IPC stream from outside into the declared columns of a dataset, in their order, with `city` stamped and `day` derived.
///
/// # Errors
/// ROWS_INVALID with row and column; never panics, whatever the bytes are.
fn read(contract: &DatasetContract, city: City, ipc: &[u8]) -> Result<RecordBatch, WarehouseError> {
    if ipc.len() > IPC_BYTES_MAX {
        let problem = format!("{} bytes are more than the {IPC_BYTES_MAX} that one append may have: send several appends with keys of their own", ipc.len());
        return Err(WarehouseError::FieldInvalid { field: "ipc", problem });
    }
    let malformed = || WarehouseError::rows("the bytes are no Arrow IPC stream: send what an Arrow stream writer gives, schema, batches and end marker");
    // The decoder checks buffers, but meets unknown types of a schema with a panic.
    let batch = catch_unwind(AssertUnwindSafe(|| decode(ipc))).unwrap_or_else(|_| Err(malformed()))?;
    let Some(batch) = batch else {
        return Err(malformed());
    };
    catch_unwind(AssertUnwindSafe(|| conform(contract, city, &batch))).unwrap_or_else(|_| Err(malformed()))
}

fn decode(ipc: &[u8]) -> Result<Option<RecordBatch>, WarehouseError> {
    let unreadable = |error| WarehouseError::rows(format!("the Arrow IPC stream cannot be read: {error}"));
    refuse_compressed(ipc)?;
    let (mut decoder, mut rest, mut batches, mut rows) = (StreamDecoder::new(), Buffer::from(ipc), Vec::new(), 0);
    while let Some(batch) = decoder.decode(&mut rest).map_err(unreadable)? {
        rows += batch.num_rows();
        if rows > ROWS_MAX {
            return Err(WarehouseError::rows(format!("more than {ROWS_MAX} rows: send several appends with keys of their own")));
        }
        batches.push(batch);
    }
    decoder.finish().map_err(unreadable)?;
    match decoder.schema() {
        Some(schema) => concat_batches(&schema, &batches).map(Some).map_err(unreadable),
        None => Ok(None),
    }
}

/// A compressed body names its own size, which the decoder would allocate before it looks. Bytes that are no message are left to the decoder.
fn refuse_compressed(ipc: &[u8]) -> Result<(), WarehouseError> {
    let mut rest = ipc;
    while let Some((length, after)) = message_length(rest) {
        let Some((header, after)) = after.split_at_checked(length) else {
            return Ok(());
        };
        let Ok(message) = root_as_message(header) else {
            return Ok(());
        };
        let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
        if message.header_as_record_batch().or(dictionary).is_some_and(|batch| batch.compression().is_some()) {
            return Err(WarehouseError::rows("the Arrow IPC stream is compressed: write it without compression"));
        }
        let Some(body) = usize::try_from(message.bodyLength()).ok().and_then(|length| after.get(length..)) else {
            return Ok(());
        };
        rest = body;
    }
    Ok(())
}

/// The length of the next message's header and what follows it; the marker of 0xFFFFFFFF before it is optional, and a length of 0 ends the stream.
fn message_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, after) = bytes.split_first_chunk::<4>()?;
    let (length, after) = if *first == [0xff; 4] { after.split_first_chunk::<4>()? } else { (first, after) };
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    (length > 0).then_some((length, after))
}

fn conform(contract: &DatasetContract, city: City, batch: &RecordBatch) -> Result<RecordBatch, WarehouseError> {
    refuse_unknown_columns(contract, &batch.schema())?;
    let columns = contract.columns.iter().map(|column| conform_column(contract, column, city, batch)).collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(declared_schema(contract), columns).map_err(WarehouseError::broken)
}

/// The dataset's columns without the hidden ones.
pub(crate) fn declared_schema(contract: &DatasetContract) -> SchemaRef {
    Arc::new(Schema::new(contract.columns.iter().map(|column| Field::new(&column.name, column.column_type.arrow(), column.nullable)).collect::<Vec<_>>()))
}

fn refuse_unknown_columns(contract: &DatasetContract, schema: &Schema) -> Result<(), WarehouseError> {
    for (index, field) in schema.fields().iter().enumerate() {
        let fail = |problem: String| Err(WarehouseError::RowsInvalid { row: None, column: Some(field.name().chars().take(80).collect()), problem });
        if contract.column(field.name()).is_none() {
            return fail(contract.no_such_column());
        }
        if schema.fields()[..index].iter().any(|earlier| earlier.name() == field.name()) {
            return fail("the column is there twice".to_owned());
        }
    }
    Ok(())
}

fn conform_column(contract: &DatasetContract, column: &ColumnContract, city: City, batch: &RecordBatch) -> Result<ArrayRef, WarehouseError> {
    let sent = batch.column_by_name(&column.name);
    let array = match (column.name.as_str(), sent) {
        (CITY, sent) => stamp_city(contract, city, batch.num_rows(), sent)?,
        (REVISION, _) if contract.mode == Mode::Latest => Arc::new(Int64Array::from_value(0, batch.num_rows())),
        // A day that may be null is derived where it can be.
        ("day", None) if !column.nullable || batch.column_by_name("at").is_some() => derive_day(contract, batch)?,
        (_, Some(sent)) => converted(column, sent)?,
        (_, None) if column.nullable => arrow_array::new_null_array(&column.column_type.arrow(), batch.num_rows()),
        (name, None) => {
            let problem = format!("the column is missing and may not be null ({}, {})", column.column_type.name(), column.meaning);
            return Err(WarehouseError::RowsInvalid { row: None, column: Some(name.to_owned()), problem });
        }
    };
    if !column.nullable
        && let Some(row) = (0..array.len()).find(|row| array.is_null(*row))
    {
        return Err(WarehouseError::row(row, &column.name, "null, and the contract says the column always has a value"));
    }
    match first_not_allowed(column, &array) {
        Some((row, found)) => {
            let found = found.chars().take(40).collect::<String>();
            Err(WarehouseError::row(row, &column.name, format!("expected {}; found '{found}'", column.allowed())))
        }
        None => Ok(array),
    }
}

/// The first value that the contract does not list, or that is out of its bounds.
fn first_not_allowed(column: &ColumnContract, array: &ArrayRef) -> Option<(usize, String)> {
    let is_bounded = column.at_least.is_some() || column.at_most.is_some();
    match column.column_type {
        ColumnType::Text if !column.values.is_empty() => {
            let mut texts = array.as_string::<i32>().iter().enumerate();
            texts.find_map(|(row, text)| text.filter(|text| !column.allows_text(text)).map(|text| (row, text.to_owned())))
        }
        ColumnType::Integer if is_bounded => {
            let mut numbers = array.as_primitive::<Int64Type>().iter().enumerate();
            numbers.find_map(|(row, number)| number.filter(|number| !column.allows_integer(*number)).map(|number| (row, number.to_string())))
        }
        ColumnType::Real if is_bounded => {
            let mut numbers = array.as_primitive::<Float64Type>().iter().enumerate();
            numbers.find_map(|(row, number)| number.filter(|number| !column.allows_real(*number)).map(|number| (row, number.to_string())))
        }
        _ => None,
    }
}

/// The city of the call in every row. Only reference rows of the province name their own.
fn stamp_city(contract: &DatasetContract, city: City, rows: usize, sent: Option<&ArrayRef>) -> Result<ArrayRef, WarehouseError> {
    let stamped: ArrayRef = Arc::new(StringArray::from_iter_values(iter::repeat_n(city.to_string(), rows)));
    let Some(sent) = sent else {
        return Ok(stamped);
    };
    let texts =
        cast_with_options(sent, &DataType::Utf8, &CastOptions::default()).map_err(|_| WarehouseError::row(0, CITY, "a city is text, such as 440600"))?;
    let own_cities = city == City::PROVINCE && contract.visibility == Visibility::Shared;
    for (row, text) in texts.as_string::<i32>().iter().enumerate() {
        let known = text.and_then(|text| text.parse::<City>().ok());
        let fits = if own_cities { known.is_some() } else { known == Some(city) };
        if !fits {
            let expected =
                if own_cities { "a code of GB/T 2260 such as 440600".to_owned() } else { format!("{city}, the city of the call; leave the column out") };
            let found = text.unwrap_or("null").chars().take(40).collect::<String>();
            return Err(WarehouseError::row(row, CITY, format!("expected {expected}; found '{found}'")));
        }
    }
    Ok(if own_cities { texts } else { stamped })
}

fn derive_day(contract: &DatasetContract, batch: &RecordBatch) -> Result<ArrayRef, WarehouseError> {
    let at = contract.column("at").map(|(_, column)| column).zip(batch.column_by_name("at"));
    let Some((column, sent)) = at else {
        return Err(WarehouseError::RowsInvalid {
            row: None,
            column: Some("day".to_owned()),
            problem: "the column is missing, and without `at` it cannot be derived".to_owned(),
        });
    };
    let instants = converted(column, sent)?;
    Ok(Arc::new(instants.as_primitive::<TimestampMicrosecondType>().iter().map(|at| at.map(shanghai_day)).collect::<Date32Array>()))
}

/// The column in its contract's type, if what was sent holds exactly such values.
fn converted(column: &ColumnContract, sent: &ArrayRef) -> Result<ArrayRef, WarehouseError> {
    if !converts(column.column_type, sent.data_type()) {
        let problem = format!("expected {} ({}); the stream has {}", column.column_type.name(), column.column_type.arrow(), sent.data_type());
        return Err(WarehouseError::RowsInvalid { row: None, column: Some(column.name.clone()), problem });
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(sent, &column.column_type.arrow(), &strict).map_err(|error| WarehouseError::RowsInvalid {
        row: None,
        column: Some(column.name.clone()),
        problem: error.to_string(),
    })
}

/// Types that hold the same values. Text is never read as a number, nor a number as an instant.
fn converts(expected: ColumnType, sent: &DataType) -> bool {
    match (expected, sent) {
        (ColumnType::Text, DataType::Dictionary(_, values)) => values.is_string(),
        (ColumnType::Text, sent) => sent.is_string(),
        (ColumnType::Integer, sent) => sent.is_integer(),
        (ColumnType::Real, sent) => matches!(sent, DataType::Float32 | DataType::Float64),
        (ColumnType::Boolean, sent) => *sent == DataType::Boolean,
        (ColumnType::Instant, DataType::Timestamp(_, zone)) => zone.as_deref().is_none_or(|zone| matches!(zone, "UTC" | "+00:00" | "Z")),
        (ColumnType::Day, sent) => *sent == DataType::Date32,
        _ => false,
    }
}
