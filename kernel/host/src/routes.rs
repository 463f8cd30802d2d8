use bytes::Bytes;
use http::Request;
use kernel_base::{BusService, context_in};
use tonic::{Status, body::Body};

use crate::{Host, unary};

impl Host {
    /// The plugins' side of the bus: any path that no native service has. It expects the [`kernel_base::CallContext`] of an authorized call in the request's
    /// extensions. The messages stay bytes.
    pub fn bus_service(&self) -> BusService {
        let host = self.clone();
        BusService::new(move |request| {
            let host = host.clone();
            async move {
                match host.answer(request).await {
                    Ok(message) => unary::answer(&message),
                    Err(status) => status.into_http(),
                }
            }
        })
    }

    async fn answer(&self, request: Request<Body>) -> Result<Bytes, Status> {
        let (mut parts, body) = request.into_parts();
        let context = context_in(&mut parts.extensions)?;
        let message = unary::read(body).await?;
        self.call(&context, parts.uri.path(), message).await
    }
}
