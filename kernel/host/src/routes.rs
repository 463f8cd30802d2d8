use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use kernel_base::context_in;
use tonic::{Status, body::Body};
use tower::Service;

use crate::{Host, unary};

/// The plugins' side of the bus: any path that no native service has. The messages stay bytes.
#[derive(Clone)]
pub struct PluginRoutes {
    host: Host,
}

impl Host {
    /// The service that the bus falls back to. It expects the [`kernel_base::CallContext`] of an authorized call in the request's extensions.
    pub fn fallback(&self) -> PluginRoutes {
        PluginRoutes { host: self.clone() }
    }
}

impl Service<Request<Body>> for PluginRoutes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let host = self.host.clone();
        Box::pin(async move {
            Ok(match host.answer(request).await {
                Ok(message) => unary::answer(&message),
                Err(status) => status.into_http(),
            })
        })
    }
}

impl Host {
    async fn answer(&self, request: Request<Body>) -> Result<Bytes, Status> {
        let (mut parts, body) = request.into_parts();
        let context = context_in(&mut parts.extensions)?;
        let message = unary::read(body).await?;
        self.call(&context, parts.uri.path(), message).await
    }
}
