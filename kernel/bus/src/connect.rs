//! Connect unary with JSON: `curl -d '{…}' host/pkg.Service/Method`. The JSON is read and written through the method's descriptors, so a plugin's methods
//! are served without any code of their own.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::{BodyExt, Full, Limited};
use kernel_base::{Fault, TraceId, limits::MESSAGE_BYTES_MAX, status};
use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor, SerializeOptions};
use tonic::{Status, body::Body};

use crate::{BusFault, Doors, audit::CallRecord, connect_error::connect_error, frame, unframe};

/// Answers one JSON request.
pub(crate) async fn answer(doors: &Doors, request: Request<Body>, trace: TraceId) -> Response<Body> {
    match call(doors, request, trace).await {
        Ok(response) => response,
        Err(status) => refuse(&status),
    }
}

/// An error as a Connect response.
pub(crate) fn refuse(status: &Status) -> Response<Body> {
    let (code, body) = connect_error(status);
    let mut response = json_response(body.to_string());
    *response.status_mut() = code;
    response
}

async fn call(doors: &Doors, request: Request<Body>, trace: TraceId) -> Result<Response<Body>, Status> {
    let (parts, body) = request.into_parts();
    let headers = with_grpc_timeout(parts.headers)?;
    let path = parts.uri.path().to_owned();
    let (context, permit) = doors.admit(&path, &headers, trace).await?;
    // The corridor decides again with the same table; this first look finds the descriptors, and keeps strangers from having their JSON parsed.
    let method = match doors.access().admit(&path, &context) {
        Ok(admitted) => admitted.access.method.clone(),
        Err(refused) => {
            CallRecord::refused(&path, &context).finish(status(&refused).code(), Some(refused.reason().as_str_name()));
            return Err(status(&refused));
        }
    };
    if method.is_client_streaming() || method.is_server_streaming() {
        return Err(BusFault::StreamingOverJson { path }.into());
    }
    let message = read_json(&method, &collect_before(context.deadline, body).await?)?;
    let mut inner = Request::new(Body::new(Full::new(frame(&message.encode_to_vec())).map_err(|never| match never {})));
    *inner.method_mut() = Method::POST;
    *inner.uri_mut() = parts.uri;
    *inner.headers_mut() = grpc_headers(headers);
    read_answer(&method, doors.corridor().answer(context, Some(permit), inner).await).await
}

/// The whole body, unless the deadline comes first: a sender that stops half-way must not hold its place.
async fn collect_before(deadline: Instant, body: Body) -> Result<Bytes, Status> {
    tokio::time::timeout_at(deadline.into(), collect(body)).await.map_err(|_| BusFault::DeadlinePassed)?
}

async fn collect(body: Body) -> Result<Bytes, Status> {
    let too_large = |bytes| BusFault::MessageTooLarge { bytes, bytes_max: MESSAGE_BYTES_MAX };
    if body.size_hint().lower() > MESSAGE_BYTES_MAX as u64 {
        return Err(too_large(body.size_hint().lower()).into());
    }
    match Limited::new(body, MESSAGE_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(too_large(MESSAGE_BYTES_MAX as u64 + 1).into()),
        Err(error) => Err(BusFault::MessageMalformed { place: String::new(), problem: error.to_string() }.into()),
    }
}

fn read_json(method: &MethodDescriptor, body: &Bytes) -> Result<DynamicMessage, BusFault> {
    let malformed = |error: serde_json::Error| BusFault::MessageMalformed {
        place: format!(" at line {}, column {}", error.line(), error.column()),
        problem: format!("{error} (it is the JSON of {})", method.input().full_name()),
    };
    let mut reader = serde_json::Deserializer::from_slice(if body.is_empty() { b"{}" } else { body });
    let message = DynamicMessage::deserialize(method.input(), &mut reader).map_err(malformed)?;
    reader.end().map_err(malformed)?;
    Ok(message)
}

async fn read_answer(method: &MethodDescriptor, response: Response<Body>) -> Result<Response<Body>, Status> {
    let (parts, body) = response.into_parts();
    failed(&parts.headers)?;
    let collected = body.collect().await?;
    if let Some(trailers) = collected.trailers() {
        failed(trailers)?;
    }
    let invalid = || BusFault::AnswerInvalid { method: method.full_name().to_owned() };
    let message = unframe(collected.to_bytes()).ok_or_else(invalid)?;
    let message = DynamicMessage::decode(method.output(), message).map_err(|_| invalid())?;
    // Fields with their default value are written too: a reader at a terminal must see that a count is zero.
    let options = SerializeOptions::new().skip_default_fields(false).stringify_64_bit_integers(true);
    let mut json = Vec::new();
    message.serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options).map_err(|_| invalid())?;
    Ok(json_response(json))
}

fn failed(headers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != tonic::Code::Ok => Err(status),
        _ => Ok(()),
    }
}

fn json_response(body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body.into()).map_err(|never| match never {})));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Connect's own deadline header, in gRPC's spelling.
fn with_grpc_timeout(mut headers: HeaderMap) -> Result<HeaderMap, BusFault> {
    let Some(value) = headers.remove("connect-timeout-ms") else {
        return Ok(headers);
    };
    let digits = value.to_str().ok().filter(|text| (1..=10).contains(&text.len())).and_then(|text| text.parse::<u64>().ok());
    let millis = digits.ok_or_else(|| BusFault::HeaderInvalid { header: "connect-timeout-ms", problem: "expected one to ten digits".to_owned() })?;
    // gRPC's header has room for eight digits; an hour, the longest that a call may take, needs seven.
    if let Ok(value) = HeaderValue::from_str(&format!("{}m", millis.min(99_999_999))) {
        headers.insert("grpc-timeout", value);
    }
    Ok(headers)
}

fn grpc_headers(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers
}
