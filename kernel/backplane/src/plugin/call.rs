use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tonic::{Status, body::Body, client::GrpcService};
use tonic_types::StatusExt;

use crate::client::Connection;

/// Calls a unary method with a JSON request and gives the JSON answer, indented. The kernel knows the method's contract, so the command line need not.
///
/// # Errors
/// When the call is refused or fails; the message is the kernel's.
pub(crate) async fn call(connection: &Connection, method: &str, request: &str) -> anyhow::Result<String> {
    match answer(connection, method, request).await? {
        Ok(answer) => Ok(serde_json::to_string_pretty(&answer)?),
        Err(refusal) => bail!("{refusal}"),
    }
}

/// Calls a unary method with a JSON request; gives the JSON answer, or how it was refused.
///
/// # Errors
/// When there was no call, or its answer is no JSON.
pub(super) async fn answer(connection: &Connection, method: &str, request: &str) -> anyhow::Result<Result<Value, Refusal>> {
    if method.trim_start_matches('/').split('/').count() != 2 {
        bail!("'{method}' is not a method: write package.Service/Method, as reflection and 'backplane plugin list' show them");
    }
    let mut http = http::Request::post(format!("/{}", method.trim_start_matches('/')))
        .body(Body::new(Full::new(bytes::Bytes::copy_from_slice(request.as_bytes())).map_err(|never| match never {})))?;
    http.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
    let mut channel = connection.open().await?;
    std::future::poll_fn(|context| GrpcService::<Body>::poll_ready(&mut channel, context)).await?;
    let response = GrpcService::<Body>::call(&mut channel, http).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let json: Value = serde_json::from_slice(&body).context("the kernel did not answer with JSON")?;
    Ok(if status == http::StatusCode::OK { Ok(json) } else { Err(Refusal::of_connect(&json)) })
}

/// Why a call was refused, for people and for programs.
pub(super) struct Refusal {
    pub(super) message: String,
    /// Empty when the answer had none.
    pub(super) reason: String,
    place: Vec<String>,
}

impl Refusal {
    pub(super) fn of_grpc(status: &Status) -> Refusal {
        let (reason, places) = status.get_details_error_info().map(|info| (info.reason, info.metadata)).unwrap_or_default();
        Refusal { message: status.message().to_owned(), reason, place: places.iter().map(|(key, value)| format!("{key} {value}")).collect() }
    }

    fn of_connect(json: &Value) -> Refusal {
        let info = &json["details"][0]["debug"];
        let place = info["metadata"].as_object().into_iter().flatten().map(|(key, value)| format!("{key} {}", value.as_str().unwrap_or("")));
        Refusal {
            message: json["message"].as_str().unwrap_or("the call failed").to_owned(),
            reason: info["reason"].as_str().unwrap_or_default().to_owned(),
            place: place.collect(),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Refusal { message, reason, place } = self;
        f.write_str(message)?;
        match (reason.is_empty(), place.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => write!(f, "\n  reason: {reason}"),
            (false, false) => write!(f, "\n  reason: {reason} ({})", place.join(", ")),
        }
    }
}
