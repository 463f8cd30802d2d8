use std::sync::Arc;

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, PollInfo,
    PutResult, SchemaAsIpc, SchemaResult, Ticket,
    flight_service_server::FlightService,
    sql::{
        ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
        DoPutPreparedStatementResult, ProstMessageExt, TicketStatementQuery,
    },
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use backplane_proto::warehouse::v1::QueryRequest;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use kernel_base::{CallContext, context_of};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use self::{flight_data::FlightPieces, listing::Listing};
use crate::{
    error::WarehouseError,
    query::{self, AnswerForm, PlainRows},
    warehouse::Inner,
};

mod flight_data;
mod listing;
mod values;

// Limit: bytes of a command that asks for a list. Each type of a table or number of an information that it names is looked for on its own.
const LISTING_BYTES_MAX: usize = 16 << 10;

const CREATE: &str = "CreatePreparedStatement";
const CLOSE: &str = "ClosePreparedStatement";

/// `arrow.flight.protocol.FlightService`: the door of Flight SQL. A statement is a [`QueryRequest`], and so are its ticket and its handle: nothing is kept between calls.
pub(crate) struct FlightSqlService {
    inner: Arc<Inner>,
}

/// What a command asks for.
enum Asked {
    Rows(QueryRequest),
    List(Listing),
}

impl FlightSqlService {
    pub(crate) fn new(inner: Arc<Inner>) -> FlightSqlService {
        FlightSqlService { inner }
    }

    /// The columns of what a command asks for, and the ticket for its rows.
    async fn info(&self, context: CallContext, command: &[u8]) -> Result<(SchemaRef, Ticket), WarehouseError> {
        match asked(command)? {
            Asked::Rows(mut request) => {
                let (inner, described) = (self.inner.clone(), request.clone());
                let deadline = context.deadline;
                let describing = async move { query::describe(&inner, context, described).await };
                let (columns, snapshot_id) = self.inner.engine.run_until(deadline, describing).await?;
                request.snapshot_id = snapshot_id;
                let ticket = TicketStatementQuery { statement_handle: handle(&request) };
                Ok((PlainRows::nullable(&columns).schema, Ticket::new(ticket.as_any().encode_to_vec())))
            }
            Asked::List(listing) => Ok((PlainRows::of(&listing.columns()).schema, Ticket::new(command.to_vec()))),
        }
    }

    async fn rows(&self, context: CallContext, ticket: &[u8]) -> Result<query::Answers<FlightData>, WarehouseError> {
        match asked(ticket)? {
            Asked::Rows(request) => query::query::<FlightPieces>(&self.inner, context, request),
            Asked::List(listing) => {
                let inner = self.inner.clone();
                let rows = self.inner.engine.run_until(context.deadline, async move { listing.rows(&inner, &context).await }).await?;
                let mut pieces = FlightPieces::of(PlainRows::of(&rows.schema()));
                pieces.write(&rows)?;
                let pieces: Vec<_> = std::iter::from_fn(|| pieces.next_answer()).map(Ok).collect();
                Ok(stream::iter(pieces).boxed())
            }
        }
    }

    async fn create(&self, context: CallContext, body: &[u8]) -> Result<ActionCreatePreparedStatementResult, WarehouseError> {
        let action: ActionCreatePreparedStatementRequest = unpacked(body)?;
        let request = statement(action.query, action.transaction_id.as_deref())?;
        let (inner, preparing) = (self.inner.clone(), request.clone());
        let prepared = self.inner.engine.run_until(context.deadline, async move { query::prepare(&inner, context, preparing).await }).await?;
        let parameters = prepared.parameters.into_iter().enumerate().map(|(index, data_type)| {
            // Any type would do for a place of which nothing is known.
            Field::new(format!("${}", index + 1), data_type.unwrap_or(DataType::Utf8), false)
        });
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle(&request),
            dataset_schema: ipc(&PlainRows::nullable(&prepared.columns).schema)?,
            parameter_schema: ipc(&PlainRows::of(&Schema::new(parameters.collect::<Vec<_>>())).schema)?,
        })
    }
}

fn statement(sql: String, transaction: Option<&[u8]>) -> Result<QueryRequest, WarehouseError> {
    if transaction.is_some_and(|transaction| !transaction.is_empty()) {
        return Err(refused("there are no transactions: a statement reads one snapshot, and nothing is written"));
    }
    Ok(QueryRequest { sql, ..QueryRequest::default() })
}

fn handle(request: &QueryRequest) -> Bytes {
    request.encode_to_vec().into()
}

fn of_handle(handle: &[u8]) -> Result<QueryRequest, WarehouseError> {
    QueryRequest::decode(handle).map_err(|_| malformed("a handle or ticket is one that this service gave"))
}

/// What a command or a ticket asks for.
fn asked(command: &[u8]) -> Result<Asked, WarehouseError> {
    Ok(match decoded(command)? {
        Command::CommandStatementQuery(query) => Asked::Rows(statement(query.query, query.transaction_id.as_deref())?),
        Command::CommandPreparedStatementQuery(prepared) => Asked::Rows(of_handle(&prepared.prepared_statement_handle)?),
        Command::TicketStatementQuery(ticket) => Asked::Rows(of_handle(&ticket.statement_handle)?),
        _ if command.len() > LISTING_BYTES_MAX => return Err(malformed(&format!("a list is asked for in at most {LISTING_BYTES_MAX} bytes"))),
        listed => Asked::List(Listing::of(listed).map_err(|other| not_served(other.type_url()))?),
    })
}

fn decoded(command: &[u8]) -> Result<Command, WarehouseError> {
    let command = Any::decode(command).ok().filter(|any| !any.type_url.is_empty()).and_then(|any| Command::try_from(any).ok());
    command.ok_or_else(|| malformed("a command, ticket or action is a message of Flight SQL within google.protobuf.Any"))
}

fn unpacked<T: ProstMessageExt>(body: &[u8]) -> Result<T, WarehouseError> {
    let message = Any::decode(body).ok().and_then(|any| any.unpack().ok().flatten());
    message.ok_or_else(|| malformed("the body of an action is its message of Flight SQL within google.protobuf.Any"))
}

fn malformed(problem: &str) -> WarehouseError {
    WarehouseError::FieldInvalid { field: "cmd", problem: problem.to_owned() }
}

fn refused(problem: &str) -> WarehouseError {
    WarehouseError::SqlRefused { problem: problem.to_owned() }
}

fn not_served(what: &str) -> WarehouseError {
    WarehouseError::NotServed { what: what.chars().take(120).collect() }
}

/// An encapsulated message of Arrow IPC.
fn ipc(schema: &Schema) -> Result<Bytes, WarehouseError> {
    let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &flight_data::options())).map_err(WarehouseError::broken)?;
    Ok(message.0)
}

#[tonic::async_trait]
impl FlightService for FlightSqlService {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = query::Answers<FlightData>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;

    async fn get_flight_info(&self, request: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        let context = context_of(&request)?;
        let descriptor = request.into_inner();
        let (columns, ticket) = self.info(context, &descriptor.cmd).await?;
        let info = FlightInfo { schema: ipc(&columns)?, ..FlightInfo::new() };
        Ok(Response::new(info.with_endpoint(FlightEndpoint::new().with_ticket(ticket)).with_descriptor(descriptor)))
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let context = context_of(&request)?;
        let (columns, _) = self.info(context, &request.into_inner().cmd).await?;
        Ok(Response::new(SchemaResult { schema: ipc(&columns)? }))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let context = context_of(&request)?;
        Ok(Response::new(self.rows(context, &request.into_inner().ticket).await?))
    }

    async fn do_put(&self, request: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        let mut sent = request.into_inner();
        let first = sent.message().await?.ok_or_else(|| malformed("values come after a command"))?;
        let command = first.flight_descriptor.as_ref().map(|descriptor| descriptor.cmd.clone()).unwrap_or_default();
        let mut request = match decoded(&command)? {
            Command::CommandPreparedStatementQuery(prepared) => of_handle(&prepared.prepared_statement_handle)?,
            Command::CommandStatementUpdate(_) | Command::CommandPreparedStatementUpdate(_) | Command::CommandStatementIngest(_) => {
                return Err(refused("nothing is written here: rows come by backplane.ingest.v1").into());
            }
            command => return Err(not_served(command.type_url()).into()),
        };
        request.parameters = values::read(first, sent).await?;
        let result = DoPutPreparedStatementResult { prepared_statement_handle: Some(handle(&request)) };
        Ok(Response::new(one(PutResult { app_metadata: result.encode_to_vec().into() })))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let context = context_of(&request)?;
        let action = request.into_inner();
        match action.r#type.as_str() {
            CREATE => {
                let result = self.create(context, &action.body).await?;
                Ok(Response::new(one(arrow_flight::Result { body: result.as_any().encode_to_vec().into() })))
            }
            CLOSE => {
                let _: ActionClosePreparedStatementRequest = unpacked(&action.body)?;
                Ok(Response::new(stream::empty().boxed()))
            }
            other => Err(not_served(other).into()),
        }
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let action = |name: &str, description: &str| Ok(ActionType { r#type: name.to_owned(), description: description.to_owned() });
        let actions = [action(CREATE, "The handle of a statement, its columns and its parameters"), action(CLOSE, "Forgets a handle; nothing is kept of it")];
        Ok(Response::new(stream::iter(actions).boxed()))
    }

    async fn handshake(&self, _: Request<Streaming<HandshakeRequest>>) -> Result<Response<Self::HandshakeStream>, Status> {
        Ok(Response::new(stream::empty().boxed()))
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(not_served("ListFlights").into())
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(not_served("PollFlightInfo").into())
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(not_served("DoExchange").into())
    }
}

fn one<T: Send + 'static>(message: T) -> BoxStream<'static, Result<T, Status>> {
    stream::once(async { Ok(message) }).boxed()
}
