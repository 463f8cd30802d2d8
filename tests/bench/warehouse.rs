//! What a client of the warehouse waits for, through the door of a kernel process: an append until it is acknowledged, a small query, one customer of a large table.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_ipc::writer::StreamWriter;
use backplane_proto::{
    ingest::v1::AppendRequest,
    warehouse::v1::{Parameter, QueryRequest, parameter},
};
use backplane_tests::{Call, FOSHAN, Kernel, excerpt};
use futures::future::join_all;

use crate::timing::percentiles;

const APPENDS: usize = 200;
const QUERIES: usize = 500;
/// Answers before the clock starts: the catalog is read, the code is in the caches.
const WARM_UP: usize = 20;
const ROWS: usize = 1_000;
/// Clients that append at the same time, each one append after another.
const CLIENTS: [usize; 2] = [16, 64];
const APPENDS_EACH: usize = 50;
const ROWS_AT_ONCE: usize = 100;
/// The large table is appended in pieces of so many rows.
const PIECES: usize = 20;
const PIECE_ROWS: usize = 50_000;
const CUSTOMERS: usize = 100_000;

const SMALL: &str = "select page, count(*) as views from interaction where status = 200 group by page order by views desc, page limit 10";

const ONE_CUSTOMER: &str = "select at, page, status, session_id, visitor_id from interaction where customer_id = $1 order by at";

pub(crate) async fn run() {
    let kernel = Kernel::start().await;
    kernel.cli_ok(&["feed", "import", "portal.access", excerpt().to_str().unwrap(), "--city", FOSHAN]);
    let permissions = ["warehouse.query", "dataset.read:interaction", "ingest.append", "dataset.write:interaction"];
    let call = kernel.call.with_token(&kernel.account("bench", &permissions, &[FOSHAN]).await);

    println!("\nthe warehouse through the door of a process, one client, milliseconds");
    println!("{:>44}  {:>8}  {:>8}", "", "p50", "p99");
    print("a guarded query over 200 rows, warm", timed(QUERIES, async |_| query(&call, SMALL, None).await).await);
    print("an append of 1,000 rows, acknowledged", timed(APPENDS, async |turn| append(&call, "bench", turn, ROWS).await).await);
    for clients in CLIENTS {
        at_once(&call, clients).await;
    }
    for piece in 0..PIECES {
        append(&call, "piece", piece, PIECE_ROWS).await;
    }
    let one_customer = async |turn: usize| query(&call, ONE_CUSTOMER, Some((turn * 997 % CUSTOMERS) as i64)).await;
    print("one customer of a million rows", timed(QUERIES, one_customer).await);
}

/// Appends under load. One of the clients asks for its rows after each, which have to be there.
async fn at_once(call: &Call, clients: usize) {
    let name = &format!("load-{clients}");
    let client = async |client: usize| {
        let (mut acknowledged, mut read) = (Vec::new(), Vec::new());
        for turn in client * APPENDS_EACH..(client + 1) * APPENDS_EACH {
            let start = Instant::now();
            append(call, name, turn, ROWS_AT_ONCE).await;
            acknowledged.push(start.elapsed());
            if client == 0 {
                let start = Instant::now();
                let there = call.number(&format!("select count(*) from interaction where session_id like '{name}-{turn}-%'")).await.unwrap();
                assert_eq!(there, ROWS_AT_ONCE as i64, "the rows of an acknowledged append");
                read.push(start.elapsed());
            }
        }
        (acknowledged, read)
    };
    let start = Instant::now();
    let (acknowledged, read): (Vec<_>, Vec<_>) = join_all((0..clients).map(client)).await.into_iter().unzip();
    let per_second = (clients * APPENDS_EACH) as f64 / start.elapsed().as_secs_f64();
    println!("{clients} clients at once, each {APPENDS_EACH} appends of {ROWS_AT_ONCE} rows one after another: {per_second:.0} appends a second");
    print("acknowledged", acknowledged.concat());
    print("then read, in one of the clients", read.concat());
}

/// The times of `turns` runs, one after another, after the warm-up.
async fn timed(turns: usize, mut run: impl AsyncFnMut(usize)) -> Vec<Duration> {
    let mut times = Vec::new();
    for turn in 0..WARM_UP + turns {
        let start = Instant::now();
        run(turn).await;
        times.push(start.elapsed());
    }
    times.split_off(WARM_UP)
}

async fn query(call: &Call, sql: &str, customer_id: Option<i64>) {
    let parameters = customer_id.into_iter().map(|customer_id| Parameter { value: Some(parameter::Value::Integer(customer_id)) }).collect();
    let request = QueryRequest { sql: sql.to_owned(), parameters, ..QueryRequest::default() };
    let mut answers = call.warehouse().query(request).await.unwrap().into_inner();
    while answers.message().await.unwrap().is_some() {}
}

async fn append(call: &Call, name: &str, turn: usize, count: usize) {
    let ipc = ipc(&rows(name, turn, count)).into();
    let request = AppendRequest { dataset: "interaction".to_owned(), ipc, idempotency_key: format!("{name}-{turn}"), ..AppendRequest::default() };
    let answer = call.ingest().append(request).await.unwrap().into_inner();
    assert_eq!((answer.rows, answer.repeated_batch), (count as i64, false));
}

fn rows(name: &str, turn: usize, count: usize) -> RecordBatch {
    let text = |value: &dyn Fn(usize) -> String| Arc::new(StringArray::from_iter_values((0..count).map(value))) as ArrayRef;
    let minutes = (0..count).map(|row| 1_767_225_600_000_000 + (turn * count + row) as i64 * 1_000_000);
    RecordBatch::try_from_iter([
        ("customer_id", Arc::new(Int64Array::from_iter_values((0..count).map(|row| ((turn * count + row) * 31 % CUSTOMERS) as i64))) as ArrayRef),
        ("event_id", text(&|row| format!("{name}-{turn}-{row}"))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(minutes).with_timezone("UTC")) as ArrayRef),
        ("session_id", text(&|row| format!("{name}-{turn}-{}", row / 10))),
        ("visitor_id", text(&|row| format!("visitor-{}", row / 20))),
        ("channel_id", text(&|_| "web".to_owned())),
        ("page", text(&|row| format!("/page/{}", row % 50))),
        ("action", text(&|_| "view".to_owned())),
        ("status", Arc::new(Int64Array::from(vec![200; count]))),
        ("ok", Arc::new(BooleanArray::from(vec![true; count]))),
    ])
    .unwrap()
}

fn ipc(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

fn print(what: &str, times: Vec<Duration>) {
    let (p50, p99) = percentiles(times);
    println!("{what:>44}  {:>8.2}  {:>8.2}", p50.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3);
}
