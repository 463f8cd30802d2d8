//! Queries are read as they arrive, typed or as Arrow, and a broken answer is never a shorter one.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{rc::Rc, time::Duration};

use backplane_sdk::{
    Context, Kernel, Messages, Page, Status,
    arrow_schema::{DataType, TimeUnit},
    prost::Message,
    prost_types::Timestamp,
    proto::warehouse::v1::{QueryResponse, QueryStatistics, parameter::Value},
    testing::{self, FakeKernel},
    warehouse::{Columns, Row as DatasetRow, encode_ipc},
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

/// A row of a dataset of the plugin's own, as `backplane_build::datasets` would write it.
struct Visit {
    page: String,
    referrer: Option<String>,
    seconds: Option<f64>,
    ordered: Option<bool>,
    left_at: Option<i64>,
}

impl DatasetRow for Visit {
    const DATASET: &'static str = "traffic.visit";
    const COLUMNS: &'static str = "page, referrer, seconds, ordered, CAST(left_at AS BIGINT) AS left_at";

    fn columns(rows: &[Visit]) -> Columns<'_, Visit> {
        Columns::of(rows)
            .text("page", |row| row.page.as_str())
            .optional_text("referrer", |row| row.referrer.as_deref())
            .optional_real("seconds", |row| row.seconds)
            .optional_boolean("ordered", |row| row.ordered)
            .optional_instant("left_at", |row| row.left_at)
    }
}

fn visits(count: usize, page_bytes: usize) -> Vec<Visit> {
    let visit = |number: usize| Visit { page: format!("{number}{}", "x".repeat(page_bytes)), referrer: None, seconds: None, ordered: None, left_at: None };
    (0..count).map(visit).collect()
}

/// The keys of the appends, each with how many rows it has.
fn appended(kernel: &FakeKernel) -> Vec<(String, usize)> {
    let rows = |ipc: &[u8]| arrow_ipc::reader::StreamReader::try_new(ipc, None).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    kernel.appends().into_iter().map(|append| (append.idempotency_key, rows(&append.ipc))).collect()
}

#[test]
fn rows_are_appended_under_keys_that_say_where_they_begin() {
    let (kernel, context) = FakeKernel::new().start("440600");
    context.warehouse().append_rows("none", &visits(0, 1)).unwrap();
    assert!(kernel.appends().is_empty());
    context.warehouse().append_rows("run-1", &visits(25_001, 5)).unwrap();
    assert_eq!(appended(&kernel), [("run-1-0".to_owned(), 25_000), ("run-1-25000".to_owned(), 1)]);
    assert!(kernel.appends().iter().all(|append| append.dataset == "traffic.visit"));
    // Again it is the same bytes under the same keys.
    context.warehouse().append_rows("run-1", &visits(25_001, 5)).unwrap();
    assert_eq!(appended(&kernel).len(), 2);
}

#[test]
fn a_key_that_comes_again_with_other_rows_is_refused() {
    let (kernel, context) = FakeKernel::new().start("440600");
    context.warehouse().append_rows("run-1", &visits(1, 5)).unwrap();
    assert_eq!(context.warehouse().append_rows("run-1", &visits(2, 5)).unwrap_err().reason(), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(kernel.appends().len(), 1);
}

#[test]
fn columns_of_nulls_keep_their_types() {
    let (kernel, context) = FakeKernel::new().start("440600");
    context.warehouse().append_rows("nulls", &visits(1, 1)).unwrap();
    let schema = arrow_ipc::reader::StreamReader::try_new(kernel.appends()[0].ipc.as_ref(), None).unwrap().schema();
    let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(types, [DataType::Utf8, DataType::Utf8, DataType::Float64, DataType::Boolean, instant]);
}

#[test]
fn rows_of_many_bytes_are_halved_and_one_that_is_too_large_is_refused_before_it_is_sent() {
    let (kernel, context) = FakeKernel::new().start("440600");
    // Five of four mebibytes: an append takes three.
    context.warehouse().append_rows("big", &visits(5, 4 << 20)).unwrap();
    assert_eq!(appended(&kernel), [("big-0".to_owned(), 2), ("big-2".to_owned(), 3)]);
    assert_eq!(context.warehouse().append_rows("huge", &visits(1, 17 << 20)).unwrap_err().reason(), "MESSAGE_TOO_LARGE");
    assert_eq!(kernel.appends().len(), 2);
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
