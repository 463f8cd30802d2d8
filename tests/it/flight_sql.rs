//! An independent client of Flight SQL, ADBC's driver, reads what its token may see.

use arrow_flight::{
    Action, Criteria, Empty, FlightData, FlightDescriptor, HandshakeRequest, Ticket,
    decode::FlightRecordBatchStream,
    error::FlightError,
    flight_service_client::FlightServiceClient,
    sql::{Any, CommandGetXdbcTypeInfo, CommandStatementQuery, CommandStatementSubstraitPlan, ProstMessageExt},
};
use backplane_tests::{Call, Called, DONGGUAN, FOSHAN, Kernel, excerpt, python, reason, repository};
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
    let counts = batches.iter().flat_map(|batch| batch.column(0).as_any().downcast_ref::<arrow_array::Int64Array>().unwrap().values().to_vec());
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
    let said = refused(client.handshake(tokio_stream::iter([HandshakeRequest::default()])).await, unserved, unknown);
    assert!(said.contains("authorization: Bearer"), "{said}");
    refused(client.list_flights(Criteria::default()).await, unserved, unknown);
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
    let transaction = CommandStatementQuery { query: "select 1".to_owned(), transaction_id: Some("t".into()) };
    refused(client.get_flight_info(FlightDescriptor::new_cmd(command(&transaction))).await, wrong, "SQL_REFUSED");
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
