//! Queries are read as they arrive, typed or as Arrow, and a broken answer is never a shorter one.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{rc::Rc, time::Duration};

use backplane_sdk::{
    Context, Kernel, Messages, Page, Status,
    prost::Message,
    prost_types::Timestamp,
    proto::warehouse::v1::{QueryResponse, QueryStatistics, parameter::Value},
    testing::{self, FakeKernel},
    warehouse::encode_ipc,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    page: String,
    requests: i64,
    share: f64,
    ok: bool,
    referrer: Option<String>,
}

fn rows(count: i64) -> Vec<Row> {
    (0..count)
        .map(|n| Row { page: format!("/page/{n}"), requests: n, share: n as f64 / 2.0, ok: n % 2 == 0, referrer: (n % 3 == 0).then(|| "佛山".to_owned()) })
        .collect()
}

#[test]
fn rows_are_read_into_a_type_over_many_messages() {
    let kernel = FakeKernel::new().snapshot(9).on_query(|_, _| testing::batch(&rows(1_000)));
    let answer = kernel.context("440600").warehouse().query("SELECT 1").rows::<Row>().unwrap();
    assert_eq!(answer.snapshot_id(), 9);
    assert_eq!(answer.into_vec().unwrap(), rows(1_000));
}

#[test]
fn batches_carry_schema_and_statistics() {
    let context = FakeKernel::new().on_query(|_, _| testing::batch(&rows(10))).context("440600");
    let mut batches = context.warehouse().query("SELECT 1").batches().unwrap();
    let batch = batches.next().unwrap().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (10, 5));
    assert_eq!(batches.schema().unwrap().field(0).name(), "page");
    assert!(batches.next().is_none() && batches.next().is_none());
    assert_eq!(batches.statistics().unwrap().rows, 10);
}

#[test]
fn a_page_puts_its_limit_behind_the_sql_and_pins_what_the_first_read() {
    let (kernel, context) = FakeKernel::new().snapshot(9).on_query(|_, _| testing::batch(&rows(3))).start("440600");
    let page = |token: &str| Page::read(&context, 2, token, &QueryResponse::default()).unwrap();
    let query = || context.warehouse().query("SELECT page FROM t WHERE city = $1 ORDER BY page\n").bind("440600");
    let first = query().page::<Row>(&page("")).unwrap();
    assert_eq!((first.rows, first.snapshot_id), (rows(2), 9));
    query().page::<Row>(&page(&first.next_page_token)).unwrap();
    query().pin(4).page::<Row>(&page("")).unwrap();
    let asked = kernel.queries();
    assert!(asked.iter().all(|query| query.sql == "SELECT page FROM t WHERE city = $1 ORDER BY page LIMIT $2 OFFSET $3"), "{asked:?}");
    let offsets: Vec<_> = asked.iter().map(|query| (query.parameters[2].value.clone().unwrap(), query.snapshot_id)).collect();
    assert_eq!(offsets, [(Value::Integer(0), 0), (Value::Integer(2), 9), (Value::Integer(0), 4)]);
}

#[test]
fn parameters_pin_and_limits_reach_the_kernel() {
    let (kernel, context) = FakeKernel::new().on_query(|_, _| testing::batch(&rows(1))).start("440600");
    let at = Timestamp { seconds: 1, nanos: 2_500 };
    let query = context.warehouse().query("SELECT $1").bind(&at).bind("text").bind(7).bind(true).bind(0.5).pin(3).rows_max(10).timeout(Duration::from_secs(2));
    assert_eq!(query.rows::<Row>().unwrap().snapshot_id(), 3);
    let request = &kernel.queries()[0];
    let values: Vec<_> = request.parameters.iter().map(|parameter| parameter.value.clone().unwrap()).collect();
    assert_eq!(values, [Value::InstantMicros(1_000_002), Value::Text("text".to_owned()), Value::Integer(7), Value::Boolean(true), Value::Real(0.5)]);
    assert_eq!((request.snapshot_id, request.rows_max), (3, 10));
}

#[test]
fn a_type_that_does_not_fit_names_itself() {
    #[derive(Debug, Deserialize)]
    struct Other {
        #[allow(dead_code, reason = "never read: there is no such column")]
        elsewhere: i64,
    }
    let context = FakeKernel::new().on_query(|_, _| testing::batch(&rows(1))).context("440600");
    let status = context.warehouse().query("SELECT 1").rows::<Other>().unwrap().one().unwrap_err();
    assert!(status.message().contains("Other") && status.message().contains("elsewhere"), "{status}");
}

#[test]
fn rows_are_appended_once_a_key() {
    let (kernel, context) = FakeKernel::new().start("440600");
    // A column of nulls keeps its type, because the columns come from the type.
    let rows = vec![Row { referrer: None, ..rows(1).remove(0) }];
    assert!(!context.warehouse().append_rows("traffic", "run-1", &rows).unwrap().repeated_batch);
    assert!(context.warehouse().append_rows("traffic", "run-1", &rows).unwrap().repeated_batch);
    let appends = kernel.appends();
    assert_eq!((appends.len(), appends[0].dataset.as_str(), appends[0].idempotency_key.as_str()), (1, "traffic", "run-1"));
    let reader = arrow_ipc::reader::StreamReader::try_new(appends[0].ipc.as_ref(), None).unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(serde_arrow::from_record_batch::<Vec<Row>>(&batches[0]).unwrap(), rows);
    assert_eq!(batches[0].schema().field_with_name("referrer").unwrap().data_type(), &arrow_schema::DataType::Utf8);
}

#[test]
fn an_append_above_the_limit_is_refused_before_it_is_sent() {
    let (kernel, context) = FakeKernel::new().start("440600");
    let rows = vec![Row { page: "x".repeat(17 << 20), ..rows(1).remove(0) }];
    assert_eq!(context.warehouse().append_rows("traffic", "big", &rows).unwrap_err().reason(), "MESSAGE_TOO_LARGE");
    assert!(kernel.appends().is_empty());
}

/// A kernel whose answer to a query is given message by message.
struct Scripted(Vec<Result<QueryResponse, Status>>);

struct Script(std::vec::IntoIter<Result<QueryResponse, Status>>);

impl Kernel for Scripted {
    fn call(&self, _: &str, _: &[u8], _: &[u8]) -> Result<Vec<u8>, Status> {
        Ok(Vec::new())
    }
    fn open(&self, _: &str, _: &[u8], _: &[u8]) -> Result<Box<dyn Messages>, Status> {
        Ok(Box::new(Script(self.0.clone().into_iter())))
    }
}

impl Messages for Script {
    fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        self.0.next().map(|message| message.map(|message| message.encode_to_vec())).transpose()
    }
}

fn read(messages: Vec<Result<QueryResponse, Status>>) -> Result<Vec<Row>, Status> {
    let context = Context::new(Default::default(), Rc::new(Scripted(messages)));
    context.warehouse().query("SELECT 1").rows::<Row>()?.into_vec()
}

fn piece(ipc: &[u8]) -> Result<QueryResponse, Status> {
    Ok(QueryResponse { ipc: ipc.to_vec().into(), ..QueryResponse::default() })
}

/// The message that ends a query of 100 rows.
fn last() -> Result<QueryResponse, Status> {
    Ok(QueryResponse { statistics: Some(QueryStatistics { rows: 100, elapsed_micros: 1 }), ..QueryResponse::default() })
}

fn ipc() -> Vec<u8> {
    let batch = testing::batch(&rows(50)).unwrap();
    encode_ipc(&batch.schema(), &[batch.clone(), batch]).unwrap()
}

#[test]
fn any_cut_of_the_stream_gives_the_same_rows() {
    let ipc = ipc();
    let whole = [rows(50), rows(50)].concat();
    for size in [1, 3, 7, 64, 1_000, ipc.len()] {
        let messages = ipc.chunks(size).map(piece).chain([last()]).collect();
        assert_eq!(read(messages).unwrap(), whole, "pieces of {size}");
    }
}

#[test]
fn a_broken_off_answer_is_an_error_and_not_a_short_one() {
    let ipc = ipc();
    for end in [0, 10, ipc.len() / 2, ipc.len() - 9] {
        assert_eq!(read(vec![piece(&ipc[..end]), last()]).unwrap_err().reason(), "QUERY_FAILED", "cut at {end}");
    }
    // Whole messages of Arrow, the last batch missing: only the counts tell.
    let batch = testing::batch(&rows(50)).unwrap();
    let half = encode_ipc(&batch.schema(), &[batch]).unwrap();
    assert_eq!(read(vec![piece(&half), last()]).unwrap_err().reason(), "QUERY_FAILED", "a batch is missing");
    assert_eq!(read(vec![piece(&ipc)]).unwrap_err().reason(), "QUERY_FAILED", "no counts");
    assert_eq!(read(vec![]).unwrap_err().reason(), "QUERY_FAILED", "no message");
    let failure = Status::resource_exhausted("QUERY_ROWS_EXCEEDED", "too many");
    assert_eq!(read(vec![piece(&ipc), Err(failure)]).unwrap_err().reason(), "QUERY_ROWS_EXCEEDED");
}

#[test]
fn garbage_instead_of_arrow_is_an_error() {
    for garbage in [&b"garbage garbage garbage"[..], &[0xff; 64], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]] {
        assert!(read(vec![piece(garbage), last()]).is_err());
    }
}
