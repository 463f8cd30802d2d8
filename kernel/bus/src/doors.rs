use std::{convert::Infallible, sync::Arc};

use http::{HeaderMap, Method, Request, Response, header};
use kernel_auth::{AccessTable, Auth};
use kernel_base::{CallContext, Caller, Fault, Rights, TraceId, limits, status};
use tonic::{Status, body::Body};
use tonic_web::GrpcWebLayer;
use tower::{Layer, ServiceExt, service_fn};

use crate::{
    BusFault, Corridor,
    audit::shortened,
    call_permit::{CallPermit, CallPlaces, Visitor},
    connect,
    deadline::deadline_of,
    trace_header,
};

/// What the doors allow at one time.
#[derive(Debug, Clone)]
pub struct DoorLimits {
    pub calls_in_flight_max: usize,
}

impl Default for DoorLimits {
    fn default() -> Self {
        DoorLimits { calls_in_flight_max: limits::CALLS_IN_FLIGHT_MAX }
    }
}

/// What stands on the network: proves who calls and brings each protocol into the form of the corridor. Cheap to clone.
#[derive(Clone)]
pub struct Doors {
    inner: Arc<DoorsInner>,
}

struct DoorsInner {
    corridor: Corridor,
    access: Arc<AccessTable>,
    auth: Auth,
    places: CallPlaces,
}

/// What a request speaks, by its content type.
enum Protocol {
    Grpc,
    GrpcWeb,
    Json,
    Unknown,
}

impl Doors {
    pub fn new(corridor: Corridor, access: Arc<AccessTable>, auth: Auth, limits: &DoorLimits) -> Doors {
        let inner = DoorsInner { corridor, access, auth, places: CallPlaces::new(limits.calls_in_flight_max) };
        Doors { inner: Arc::new(inner) }
    }

    /// Answers one HTTP request of any of the protocols.
    pub async fn answer(self, request: Request<Body>) -> Response<Body> {
        let trace = trace_of(request.headers());
        let mut response = match protocol_of(&request) {
            Protocol::Grpc => return self.grpc(request, trace).await,
            // Apart, so that a gRPC call does not carry the room that these need.
            Protocol::GrpcWeb => return Box::pin(self.grpc_web(request, trace)).await,
            Protocol::Json => Box::pin(connect::answer(&self, request, trace)).await,
            Protocol::Unknown => {
                let content_type = content_type_of(&request).chars().take(80).collect();
                connect::refuse(&status(&BusFault::ContentTypeUnsupported { content_type }))
            }
        };
        trace_header::insert(response.headers_mut(), trace);
        response
    }

    pub(crate) fn corridor(&self) -> &Corridor {
        &self.inner.corridor
    }

    pub(crate) fn access(&self) -> &AccessTable {
        &self.inner.access
    }

    /// Ends the calls whose deadline has passed and whose receivers take nothing.
    pub(crate) fn end_overdue(&self) {
        self.inner.places.end_overdue();
    }

    async fn grpc(self, request: Request<Body>, trace: TraceId) -> Response<Body> {
        let mut response = match self.admit(request.uri().path(), request.headers(), trace).await {
            Ok((context, permit)) => self.inner.corridor.answer(context, Some(permit), request).await,
            Err(status) => status.into_http(),
        };
        // A failure before the first message; one after it stands in the trailers, and the corridor names its trace there.
        if response.headers().contains_key(Status::GRPC_STATUS) {
            trace_header::insert(response.headers_mut(), trace);
        }
        response
    }

    async fn grpc_web(self, request: Request<Body>, trace: TraceId) -> Response<Body> {
        let inner = service_fn(move |request: Request<Body>| {
            let doors = self.clone();
            async move { Ok::<_, Infallible>(doors.grpc(request, trace).await) }
        });
        match GrpcWebLayer::new().layer(inner).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Who calls, for which city, until when; and a place among the calls in flight.
    pub(crate) async fn admit(&self, path: &str, headers: &HeaderMap, trace: TraceId) -> Result<(CallContext, CallPermit), Status> {
        let bearer = bearer_of(headers)?;
        let visitor = match bearer {
            Some(_) => Visitor::Caller,
            None if self.access().native(path).is_some_and(|access| access.method.is_server_streaming()) => Visitor::StrangerStream,
            None => Visitor::Stranger,
        };
        let permit = self.inner.places.take(visitor)?;
        let deadline = deadline_of(headers, if visitor == Visitor::Stranger { limits::CALL_TIMEOUT_DEFAULT } else { limits::CALL_TIMEOUT_MAX })?;
        let city = match headers.get("backplane-city") {
            None => None,
            Some(value) => Some(String::from_utf8_lossy(value.as_bytes()).parse().map_err(|error| denied(path, &error, trace))?),
        };
        let (caller, rights) = match bearer {
            None => (Caller::Anonymous, Arc::new(Rights::default())),
            Some(secret) => {
                let proven = self.inner.auth.authenticate(secret).await.map_err(|error| denied(path, &error, trace))?;
                (Caller::Known(proven.principal.clone()), Arc::clone(&proven.rights))
            }
        };
        let context = CallContext { caller, actor: None, rights, city, deadline, trace, chain: Vec::new() };
        Ok((context, permit))
    }
}

fn content_type_of<B>(request: &Request<B>) -> &str {
    request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn protocol_of<B>(request: &Request<B>) -> Protocol {
    match content_type_of(request) {
        web if web.starts_with("application/grpc-web") => Protocol::GrpcWeb,
        grpc if grpc.starts_with("application/grpc") => Protocol::Grpc,
        json if request.method() == Method::POST && json.split(';').next() == Some("application/json") => Protocol::Json,
        _ => Protocol::Unknown,
    }
}

/// The status of a refusal at the door, with its line in the audit log: the corridor, which writes the others, is never reached.
fn denied(path: &str, fault: &impl Fault, trace: TraceId) -> Status {
    tracing::info!(target: "audit", caller = "unknown", method = shortened(path), code = ?fault.code(), reason = fault.reason().as_str_name(), trace = %trace, "refused at the door");
    status(fault)
}

fn bearer_of(headers: &HeaderMap) -> Result<Option<&str>, BusFault> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let text = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer ").or_else(|| text.strip_prefix("bearer ")));
    match text {
        Some(secret) => Ok(Some(secret.trim())),
        None => Err(BusFault::HeaderInvalid { header: "authorization", problem: "expected 'Bearer ' and a token".to_owned() }),
    }
}

/// The trace id of a W3C `traceparent`, or a new one.
fn trace_of(headers: &HeaderMap) -> TraceId {
    let given = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split('-').nth(1))
        .and_then(|hex| u128::from_str_radix(hex, 16).ok());
    match given {
        Some(id) if id != 0 => TraceId(id.to_be_bytes()),
        _ => TraceId::random(),
    }
}
