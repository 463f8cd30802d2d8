use bytes::Bytes;
use http::Request;
use kernel_base::{BusService, CallContext};
use tonic::{Status, body::Body};

use crate::{Host, unary};

impl Host {
    /// The plugins' side of the bus: any path that no native service has, for the corridor alone, which authorizes
    /// before it calls. The messages stay bytes.
    pub fn plugin_methods(&self) -> BusService {
        let host = self.clone();
        BusService::new(move |context, request| {
            let host = host.clone();
            async move {
                match host.answer(context, request).await {
                    Ok(message) => unary::answer(&message),
                    Err(status) => status.into_http(),
                }
            }
        })
    }

    async fn answer(&self, context: CallContext, request: Request<Body>) -> Result<Bytes, Status> {
        let (parts, body) = request.into_parts();
        let message = unary::read(body).await?;
        self.call(context, parts.uri.path(), message).await
    }
}
