use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use kernel_base::{context_of, limits::MESSAGE_BYTES_MAX};
use tonic::{Status, body::Body, server::Grpc, server::UnaryService};
use tower::Service;

use crate::{Host, byte_codec::ByteCodec};

/// The plugins' side of the bus: any path that no native service has. The framing is tonic's own, the messages stay bytes.
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
        let method = PluginMethod { host: self.host.clone(), path: request.uri().path().to_owned() };
        Box::pin(async move {
            let mut grpc = Grpc::new(ByteCodec).max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX);
            Ok(grpc.unary(method, request).await)
        })
    }
}

/// One path, as tonic wants to call it.
struct PluginMethod {
    host: Host,
    path: String,
}

impl UnaryService<Bytes> for PluginMethod {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (host, path) = (self.host.clone(), std::mem::take(&mut self.path));
        Box::pin(async move {
            let context = context_of(&request)?;
            let answer = host.call(&context, &path, request.into_inner()).await?;
            Ok(tonic::Response::new(answer))
        })
    }
}
