use anyhow::{Context, bail};
use http_body_util::{BodyExt, Full};
use tonic::{body::Body, client::GrpcService};

use crate::client::Connection;

/// Calls a unary method with a JSON request and gives the JSON answer, indented. The kernel knows the method's contract, so the command line need not.
///
/// # Errors
/// When the call is refused or fails; the message is the kernel's.
pub(crate) async fn call(connection: &Connection, method: &str, request: &str) -> anyhow::Result<String> {
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
    let json: serde_json::Value = serde_json::from_slice(&body).context("the kernel did not answer with JSON")?;
    if status != http::StatusCode::OK {
        bail!("{}", refusal(&json));
    }
    Ok(serde_json::to_string_pretty(&json)?)
}

/// A Connect error for people: message, reason and place.
fn refusal(json: &serde_json::Value) -> String {
    let message = json["message"].as_str().unwrap_or("the call failed");
    let info = &json["details"][0]["debug"];
    let Some(reason) = info["reason"].as_str() else {
        return message.to_owned();
    };
    let place: Vec<_> = info["metadata"].as_object().into_iter().flatten().map(|(key, value)| format!("{key} {}", value.as_str().unwrap_or(""))).collect();
    let place = if place.is_empty() { String::new() } else { format!(" ({})", place.join(", ")) };
    format!("{message}\n  reason: {reason}{place}")
}
