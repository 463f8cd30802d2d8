//! An independent client of Flight SQL, ADBC's driver, reads what its token may see.

use std::sync::Arc;

use arrow_array::{ArrayRef, Decimal128Array, Int64Array, ListArray, RecordBatch, StringArray, UInt64Array, types::Int64Type};
use arrow_flight::{
    Action, Criteria, Empty, FlightData, FlightDescriptor, HandshakeRequest, SchemaAsIpc, Ticket,
    decode::FlightRecordBatchStream,
    error::FlightError,
    flight_service_client::FlightServiceClient,
    sql::{
        Any, CommandGetTables, CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandStatementQuery, CommandStatementSubstraitPlan, ProstMessageExt,
    },
};
use arrow_ipc::{
    CompressionType,
    writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions},
};
use backplane_proto::warehouse::v1::QueryRequest;
use backplane_tests::{Call, Called, DONGGUAN, FOSHAN, Kernel, excerpt, python, reason, repository};
use bytes::Bytes;
use futures::TryStreamExt;
use prost::Message;
use tonic::{Code, Response, Status};

const COUNT: &str = "select count(*) from interaction";

fn client(call: &Call) -> FlightServiceClient<Called> {
    FlightServiceClient::new(call.service())
}

fn command(message: &impl ProstMessageExt) -> Vec<u8> {
    message.as_any().encode_to_vec()
}

fn statement(sql: &str) -> FlightDescriptor {
    FlightDescriptor::new_cmd(command(&CommandStatementQuery { query: sql.to_owned(), transaction_id: None }))
}

async fn number(client: &mut FlightServiceClient<Called>, ticket: Ticket) -> i64 {
    let data = client.do_get(ticket).await.unwrap().into_inner();
    let batches: Vec<_> = FlightRecordBatchStream::new_from_flight_data(data.map_err(FlightError::from)).try_collect().await.unwrap();
    let counts = batches.iter().flat_map(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec());
    counts.sum()
}

#[tokio::test]
async fn a_ticket_reads_the_snapshot_at_which_it_was_given() {
    let kernel = Kernel::start().await;
    let mut client = client(&kernel.call);
    let ticket = async |client: &mut FlightServiceClient<Called>| {
        let info = client.get_flight_info(statement(COUNT)).await.unwrap().into_inner();
        info.endpoint[0].ticket.clone().unwrap()
    };
    let before = ticket(&mut client).await;
    kernel.cli_ok(&["feed", "import", "portal.access", excerpt().to_str().unwrap(), "--city", FOSHAN]);
    let after = ticket(&mut client).await;
    let rows = kernel.call.number(COUNT).await.unwrap();
    assert!(rows > 0);
    assert_eq!([number(&mut client, before).await, number(&mut client, after).await], [0, rows]);
    let schema = client.get_schema(statement("select 1 as one, 'x' as x")).await.unwrap().into_inner();
    let schema = arrow_schema::Schema::try_from(schema).unwrap();
    assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["one", "x"]);
    let actions: Vec<_> = client.list_actions(Empty {}).await.unwrap().into_inner().map_ok(|action| action.r#type).try_collect().await.unwrap();
    assert_eq!(actions, ["CreatePreparedStatement", "ClosePreparedStatement"]);
}

#[tokio::test]
async fn what_is_not_served_or_not_understood_says_so() {
    let kernel = Kernel::start().await;
    let mut client = client(&kernel.call);
    fn refused<T>(answer: Result<Response<T>, Status>, code: Code, reason_of: &str) -> String {
        let status = answer.err().unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (code, reason_of), "{}", status.message());
        status.message().to_owned()
    }
    let (unserved, unknown) = (Code::Unimplemented, "METHOD_UNKNOWN");
    let said = refused(client.list_flights(Criteria::default()).await, unserved, unknown);
    assert!(said.contains("authorization: Bearer"), "{said}");
    refused(client.poll_flight_info(statement(COUNT)).await, unserved, unknown);
    refused(client.do_exchange(tokio_stream::iter([FlightData::default()])).await, unserved, unknown);
    refused(client.do_action(Action::new("BeginTransaction", "")).await, unserved, unknown);
    let types = FlightDescriptor::new_cmd(command(&CommandGetXdbcTypeInfo::default()));
    assert!(refused(client.get_flight_info(types).await, unserved, unknown).contains("CommandGetXdbcTypeInfo"));
    let plan = FlightDescriptor::new_cmd(command(&CommandStatementSubstraitPlan::default()));
    refused(client.get_flight_info(plan).await, unserved, unknown);

    let (wrong, field) = (Code::InvalidArgument, "FIELD_INVALID");
    refused(client.get_flight_info(FlightDescriptor::new_path(vec!["interaction".to_owned()])).await, wrong, field);
    refused(client.do_get(Ticket::new(&b"\xff\xfe no message"[..])).await, wrong, field);
    let other = Any { type_url: "type.googleapis.com/some.Other".to_owned(), value: "x".into() };
    refused(client.do_get(Ticket::new(other.encode_to_vec())).await, unserved, unknown);
    refused(client.do_action(Action::new("CreatePreparedStatement", "nothing")).await, wrong, field);
    refused(client.do_put(tokio_stream::empty()).await, wrong, field);
    let many = CommandGetTables { table_types: vec!["TABLE".to_owned(); 10_000], ..CommandGetTables::default() };
    assert!(refused(client.do_get(Ticket::new(command(&many))).await, wrong, field).contains("16384 bytes"));
    let transaction = CommandStatementQuery { query: "select 1".to_owned(), transaction_id: Some("t".into()) };
    refused(client.get_flight_info(FlightDescriptor::new_cmd(command(&transaction))).await, wrong, "SQL_REFUSED");
}

#[tokio::test]
async fn values_are_one_small_row_that_is_not_compressed() {
    let kernel = Kernel::start().await;
    let mut client = client(&kernel.call);
    let handle = QueryRequest { sql: "select cast($1 as bigint)".to_owned(), ..QueryRequest::default() }.encode_to_vec();
    let bound = FlightDescriptor::new_cmd(command(&CommandPreparedStatementQuery { prepared_statement_handle: handle.into() }));
    let encoded = |values: Vec<ArrayRef>, options: &IpcWriteOptions| {
        let rows = RecordBatch::try_from_iter(values.into_iter().map(|value| ("$1", value))).unwrap();
        let schema = FlightData::from(SchemaAsIpc::new(&rows.schema(), options)).with_descriptor(bound.clone());
        let (_, row) = IpcDataGenerator::default().encode(&rows, &mut DictionaryTracker::new(false), options, &mut Default::default()).unwrap();
        vec![schema, row.into()]
    };
    let plain = IpcWriteOptions::default();
    let number: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let good = encoded(vec![number.clone()], &plain);
    client.do_put(tokio_stream::iter(good.clone())).await.unwrap();

    let compressed = encoded(
        vec![Arc::new(StringArray::from(vec!["x".repeat(1_000)]))],
        &IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).unwrap(),
    );
    let decimal: ArrayRef = Arc::new(Decimal128Array::from(vec![7]));
    let nested: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(7)])]));
    let endless = [good[0].clone()].into_iter().chain(std::iter::repeat_n(FlightData::default(), 20));
    let large = FlightData { data_body: vec![0; 2 << 20].into(), ..good[1].clone() };
    let cases = [
        (compressed, "without compression"),
        (encoded(vec![decimal], &plain), "cannot be taken, a value of type Decimal128"),
        (encoded(vec![nested], &plain), "cannot be taken, a value of type List"),
        (encoded(vec![Arc::new(UInt64Array::from(vec![u64::MAX]))], &plain), "whole numbers of 64 bits"),
        (endless.collect(), "at most 8 messages"),
        (vec![good[0].clone(), large], "1048576 bytes"),
        (vec![good[0].clone(), good[1].clone(), good[1].clone()], "one row of values"),
        (vec![good[0].clone()], "no row of values"),
        (vec![good[0].clone(), good[0].clone()], "cannot be read as Arrow"),
        (vec![good[0].clone(), FlightData { data_header: b"nothing of Arrow"[..].into(), ..FlightData::default() }], "cannot be read as Arrow"),
        (vec![good[0].clone(), FlightData { data_body: Bytes::new(), ..good[1].clone() }], "cannot be read as Arrow"),
    ];
    for (sent, said) in cases {
        let status = client.do_put(tokio_stream::iter(sent)).await.err().unwrap_or_else(|| panic!("taken, and not: {said}"));
        assert!(
            status.code() == Code::InvalidArgument && reason(&status) == "FIELD_INVALID" && status.message().contains(said),
            "{said}: {}",
            status.message()
        );
    }
    assert!(client.handshake(tokio_stream::iter([HandshakeRequest::default()])).await.unwrap().into_inner().message().await.unwrap().is_none());
}

#[tokio::test]
async fn rows_come_in_messages_that_clients_take() {
    let kernel = Kernel::start().await;
    // Among short rows some of a megabyte.
    let sql = "with recursive n as (select 1 as i union all select i + 1 from n where i < 2000), ten as (select '0123456789' as t), k as (select t||t||t||t||t||t||t||t||t||t as t from ten),
               m as (select t||t||t||t||t||t||t||t||t||t as t from k), h as (select t||t||t||t||t||t||t||t||t||t as t from m), b as (select t||t||t||t||t||t||t||t||t||t as t from h)
               select case when i % 300 = 0 then t||t||t||t||t||t||t else 'x' end as t from n cross join b";
    let mut client = client(&kernel.call);
    let info = client.get_flight_info(statement(sql)).await.unwrap().into_inner();
    let data = client.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap().into_inner();
    let messages: Vec<FlightData> = data.try_collect().await.unwrap();
    let largest = messages.iter().map(|message| message.data_body.len()).max().unwrap();
    assert!((600_000..1_500_000).contains(&largest), "{largest}");
    let rows: Vec<_> = FlightRecordBatchStream::new_from_flight_data(futures::stream::iter(messages.into_iter().map(Ok))).try_collect().await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2_000);
}

#[tokio::test]
async fn adbc_reads_the_warehouse_as_its_token_may() {
    let kernel = Kernel::start().await;
    for city in [FOSHAN, DONGGUAN] {
        kernel.cli_ok(&["feed", "import", "portal.access", excerpt().to_str().unwrap(), "--city", city]);
    }
    let foshan = kernel.account("foshan", &["warehouse.query", "dataset.read:interaction", "dataset.read:city"], &[FOSHAN]).await;
    let counts = [kernel.call.with_token(&foshan).number(COUNT).await.unwrap(), kernel.call.number(COUNT).await.unwrap()];
    assert!(counts[0] > 0 && counts[1] > counts[0], "{counts:?}");

    let script = repository().join("tests/independent/flight_sql.py");
    let address = kernel.address.trim_start_matches("http://");
    let output = python().arg(script).args([address, &foshan, &kernel.token]).args(counts.map(|count| count.to_string())).output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
}
