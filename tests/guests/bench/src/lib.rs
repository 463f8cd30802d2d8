//! The guest of `make bench`.

mod proto {
    include!(concat!(env!("OUT_DIR"), "/proto.rs"));
}

use arrow_array::{Float64Array, Int64Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use backplane_sdk::{Context, Status};
use proto::bench::v1::{Bench, BenchServer, Payload, Sum};

#[derive(Default)]
struct Plugin;

impl Bench for Plugin {
    fn echo(&self, _context: &Context, request: Payload) -> Result<Payload, Status> {
        Ok(request)
    }

    fn sum_arrays(&self, _context: &Context, request: Payload) -> Result<Sum, Status> {
        let mut sum = Sum::default();
        for batch in batches(&request)? {
            let events = column::<Int64Array>(&batch, "events")?;
            let fees = column::<Float64Array>(&batch, "fee")?;
            sum.rows += batch.num_rows() as i64;
            sum.fee += events.values().iter().zip(fees.values()).filter(|(events, _)| **events > 3).map(|(_, fee)| fee).sum::<f64>();
        }
        Ok(sum)
    }

    fn sum_rows(&self, _context: &Context, request: Payload) -> Result<Sum, Status> {
        let mut sum = Sum::default();
        for batch in batches(&request)? {
            let rows: Vec<Row> = serde_arrow::from_record_batch(&batch).map_err(malformed)?;
            sum.rows += rows.len() as i64;
            sum.fee += rows.iter().filter(|row| row.events > 3 && !row.city.is_empty()).map(|row| row.fee).sum::<f64>();
        }
        Ok(sum)
    }
}

#[derive(serde::Deserialize)]
struct Row {
    city: String,
    events: i64,
    fee: f64,
}

fn batches(request: &Payload) -> Result<Vec<RecordBatch>, Status> {
    let reader = StreamReader::try_new(request.data.as_ref(), None).map_err(malformed)?;
    reader.collect::<Result<_, _>>().map_err(malformed)
}

fn column<'a, A: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a A, Status> {
    let column = batch.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
    column.ok_or_else(|| Status::field_invalid(name, "is missing or of another type"))
}

fn malformed(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument("MESSAGE_MALFORMED", error.to_string())
}

backplane_sdk::export!(Plugin: BenchServer);
