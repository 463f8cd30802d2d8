use http::{HeaderMap, HeaderValue};
use kernel_base::TraceId;

/// Names the trace of a call, so that a caller can ask about it.
///
/// Every failure over the network carries it, and every JSON answer, which people read. A gRPC answer that succeeds does not: a value that is never the same twice
/// goes past the compression of headers, and cost a twentieth of the throughput; a service that wants to find its calls sends `traceparent`.
const TRACE_HEADER: &str = "backplane-trace-id";

pub(crate) fn insert(headers: &mut HeaderMap, trace: TraceId) {
    if let Ok(mut value) = HeaderValue::from_bytes(&trace.hex()) {
        // It must not push other headers out of the connection's compression table, on either side.
        value.set_sensitive(true);
        headers.insert(TRACE_HEADER, value);
    }
}
