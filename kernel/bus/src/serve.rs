use std::{convert::Infallible, future::Future, time::Duration};

use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::net::{TcpListener, TcpStream};
use tonic::body::Body;

use crate::Doors;

// Limit: streams that one connection may have open. A client that wants more opens another connection, which the limit on calls still counts.
const STREAMS_PER_CONNECTION_MAX: u32 = 512;

// Limit: bytes of headers. Tokens and trace context need less than 1 kB.
const HEADER_BYTES_MAX: u32 = 32 << 10;

// Limit: a connection that does not answer a ping is closed, so that a vanished client cannot hold its calls.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

// Limit: how long a client may take to send its request line and headers over HTTP/1.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

// Limit: how long after its deadline a call may hold its place when its receiver takes nothing.
const OVERDUE_PERIOD: Duration = Duration::from_secs(1);

// Limit: pause after a failed accept (out of file descriptors, most often), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Doors {
    /// Serves connections until `shutdown`, then lets the calls that run end, for at most `drain`.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>, drain: Duration) {
        let graceful = GracefulShutdown::new();
        let builder = builder();
        let mut overdue = tokio::time::interval(OVERDUE_PERIOD);
        tokio::pin!(shutdown);
        loop {
            let stream = tokio::select! {
                () = &mut shutdown => break,
                _ = overdue.tick() => {
                    self.end_overdue();
                    continue;
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            serve_connection(&builder, &graceful, self.clone(), stream);
        }
        drop(listener);
        if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
            tracing::warn!(drain_seconds = drain.as_secs(), "calls were still running at the end of the drain and are dropped");
        }
    }
}

/// Answers the requests of one connection on a task of its own.
///
/// A plain function, so that hyper's part of each request is compiled here: an async function is compiled in the crate that awaits it, and the binary's own code is
/// optimised less than what every call crosses.
#[inline(never)]
fn serve_connection(builder: &Builder<TokioExecutor>, graceful: &GracefulShutdown, doors: Doors, stream: TcpStream) {
    // Small answers must not wait for more bytes to send with them.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let doors = doors.clone();
        // Boxed once: hyper moves the future of a request several times before it runs.
        Box::pin(async move { Ok::<_, Infallible>(doors.answer(request.map(Body::new)).await) })
    });
    let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended with an error");
        }
    });
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(Some(KEEPALIVE_INTERVAL))
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    builder
}
