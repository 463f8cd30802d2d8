//! Arrow batches into a plugin: filter and sum of three columns, the host's encoding included.

use std::{sync::Arc, time::Duration};

use arrow_array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use prost::Message;

use crate::{
    bench_v1::{Payload, Sum},
    platform::Platform,
    timing::{each, side_by_side},
};

const ROWS: usize = 65_536;
const TIMES: u32 = 2;

pub(crate) async fn run(platform: &Platform) {
    let batch = batch();
    let plugin = async |path: &'static str| {
        each(TIMES, async || {
            let request = Payload { data: encode(&batch) }.encode_to_vec();
            let answer = platform.host.call(platform.context.clone(), path, request.into()).await.unwrap();
            assert_eq!(Sum::decode(answer).unwrap().rows, ROWS as i64);
        })
        .await
    };
    let native = async || {
        each(TIMES, async || {
            std::hint::black_box(sum(&batch));
        })
        .await
    };
    println!("\nArrow batches into a plugin, {ROWS} rows each, filter and sum of three columns, encoding included (targets: 50 and 8 M rows/s)");
    for (what, path) in [("arrow arrays", "/bench.v1.Bench/SumArrays"), ("typed rows (serde_arrow)", "/bench.v1.Bench/SumRows")] {
        let (ours, peer) = side_by_side(async || plugin(path).await, native).await;
        println!("{what:>26}: {:>8.1} M rows/s; the same loop natively, without encoding: {:.1} M rows/s", rate(ours), rate(peer));
    }
}

fn rate(time: Duration) -> f64 {
    ROWS as f64 / time.as_secs_f64() / 1e6
}

fn batch() -> RecordBatch {
    let fields = [("city", DataType::Utf8), ("events", DataType::Int64), ("fee", DataType::Float64)];
    let schema = Schema::new(fields.map(|(name, kind)| Field::new(name, kind, false)).to_vec());
    RecordBatch::try_new(
        Arc::new(schema),
        vec![
            Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("4401{:02}", row % 21)))),
            Arc::new(Int64Array::from_iter_values((0..ROWS as i64).map(|row| row % 7))),
            Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| row as f64))),
        ],
    )
    .unwrap()
}

fn encode(batch: &RecordBatch) -> Bytes {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap().into()
}

fn sum(batch: &RecordBatch) -> f64 {
    let events = batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap();
    let fees = batch.column(2).as_any().downcast_ref::<Float64Array>().unwrap();
    events.values().iter().zip(fees.values()).filter(|(events, _)| **events > 3).map(|(_, fee)| fee).sum()
}
