//! The guest's way out: `bus.call` and `bus.open` become calls on the same bus, on behalf of the same caller, with the rights of both.

use std::{sync::Arc, time::Duration, time::Instant};

use backplane_proto::guest::v1::CallOptions;
use bytes::Bytes;
use http::uri::PathAndQuery;
use kernel_base::{ActingBus, CallContext, limits::MESSAGE_BYTES_MAX};
use prost::Message;
use tokio::time::timeout_at;
use tonic::{Request, Status, Streaming, client::Grpc, metadata::MetadataValue};
use wasmtime::component::Resource;

use crate::{
    HostError,
    bindings::backplane::plugin::bus,
    byte_codec::ByteCodec,
    effective_rights::EffectiveRights,
    guest_state::{ActiveCall, GuestState},
};

// Limit: streams that a guest may hold open in one call. Each keeps a query's batches in flight.
const READERS_MAX: usize = 8;

/// A stream that the guest reads.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Reader {
    messages: Streaming<Bytes>,
    deadline: Instant,
}

impl bus::Host for GuestState {
    async fn call(&mut self, method: String, context: Vec<u8>, request: Vec<u8>) -> Result<Vec<u8>, bus::Status> {
        let outgoing = Outgoing::new(self, &method, &context, request).map_err(|error| to_guest(error.into()))?;
        let meter = Arc::clone(&self.meter);
        meter.waiting(outgoing.call()).await.map_err(to_guest)
    }

    async fn open(&mut self, method: String, context: Vec<u8>, request: Vec<u8>) -> Result<Resource<Reader>, bus::Status> {
        if self.readers_open >= READERS_MAX {
            let problem = format!("{READERS_MAX} streams are open in this call: read one to its end or drop it first");
            return Err(to_guest(HostError::Field { field: "bus.open", problem }.into()));
        }
        let outgoing = Outgoing::new(self, &method, &context, request).map_err(|error| to_guest(error.into()))?;
        let meter = Arc::clone(&self.meter);
        let reader = meter.waiting(outgoing.open()).await.map_err(to_guest)?;
        let resource = self.table.push(reader).map_err(|error| to_guest(Status::internal(error.to_string())))?;
        self.readers_open += 1;
        Ok(resource)
    }
}

impl bus::HostReader for GuestState {
    async fn next(&mut self, reader: Resource<Reader>) -> Result<Option<Vec<u8>>, bus::Status> {
        let meter = Arc::clone(&self.meter);
        let reader = self.table.get_mut(&reader).map_err(|error| to_guest(Status::internal(error.to_string())))?;
        meter.waiting(reader.next()).await.map_err(to_guest)
    }

    async fn drop(&mut self, reader: Resource<Reader>) -> wasmtime::Result<()> {
        self.table.delete(reader)?;
        self.readers_open = self.readers_open.saturating_sub(1);
        Ok(())
    }
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Status> {
        let message = timeout_at(self.deadline.into(), self.messages.message()).await.map_err(|_| HostError::DeadlinePassed)??;
        Ok(message.map(Vec::from))
    }
}

/// A call that the guest may make, ready to be sent.
struct Outgoing {
    client: Grpc<ActingBus>,
    path: PathAndQuery,
    deadline: Instant,
    request: Request<Bytes>,
}

impl Outgoing {
    /// Checks the method against what was granted and narrows the context: same caller, the deployment as actor, the rights of both, a deadline that is never later.
    fn new(state: &GuestState, method: &str, options: &[u8], request: Vec<u8>) -> Result<Outgoing, HostError> {
        let Some(active) = &state.call else {
            let problem = "a plugin cannot call while it starts, there is no caller yet: call from a handler".to_owned();
            return Err(HostError::Field { field: "bus.call", problem });
        };
        let deployment = &active.deployment;
        if !deployment.calls.contains(method) {
            return Err(HostError::CallNotGranted { plugin: deployment.plugin().to_string(), method: method.chars().take(200).collect() });
        }
        if request.len() > MESSAGE_BYTES_MAX {
            return Err(HostError::MessageTooLarge { bytes: request.len(), bytes_max: MESSAGE_BYTES_MAX });
        }
        let path = method.parse().map_err(|_| HostError::Field { field: "method", problem: format!("'{method}' is no path of a method") })?;
        let options = CallOptions::decode(options)
            .map_err(|error| HostError::Field { field: "context", problem: format!("not a backplane.guest.v1.CallOptions: {error}") })?;
        let context = child(active, &state.effective, &options);
        let mut request = Request::new(Bytes::from(request));
        if !options.idempotency_key.is_empty() {
            let key = MetadataValue::try_from(options.idempotency_key.as_str())
                .map_err(|_| HostError::Field { field: "context.idempotency_key", problem: "use visible ASCII characters".to_owned() })?;
            request.metadata_mut().insert("backplane-idempotency-key", key);
        }
        let deadline = context.deadline;
        let client = Grpc::new(state.bus.acting(context)).max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Outgoing { client, path, deadline, request })
    }

    async fn call(mut self) -> Result<Vec<u8>, Status> {
        let answer = timeout_at(self.deadline.into(), self.client.unary(self.request, self.path, ByteCodec)).await;
        Ok(answer.map_err(|_| HostError::DeadlinePassed)??.into_inner().into())
    }

    async fn open(mut self) -> Result<Reader, Status> {
        let answer = timeout_at(self.deadline.into(), self.client.server_streaming(self.request, self.path, ByteCodec)).await;
        Ok(Reader { messages: answer.map_err(|_| HostError::DeadlinePassed)??.into_inner(), deadline: self.deadline })
    }
}

fn child(active: &ActiveCall, effective: &EffectiveRights, options: &CallOptions) -> CallContext {
    let mut context = active.context.clone();
    context.actor = Some(active.deployment.actor.clone());
    context.rights = Arc::clone(&effective.rights);
    context.city = Some(effective.city);
    context.chain.push(active.deployment.plugin().clone());
    if let Some(timeout_ms) = u64::try_from(options.timeout_ms).ok().filter(|timeout_ms| *timeout_ms > 0) {
        let asked = Instant::now().checked_add(Duration::from_millis(timeout_ms));
        context.deadline = asked.map_or(context.deadline, |asked| asked.min(context.deadline));
    }
    context
}

fn to_guest(status: Status) -> bus::Status {
    // gRPC's codes are 0 to 16, so the conversion cannot fail.
    let code = u32::try_from(i32::from(status.code())).unwrap_or(2);
    bus::Status { code, message: status.message().to_owned(), details: status.details().to_vec() }
}
