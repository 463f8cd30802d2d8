use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Service, util::BoxCloneSyncService};

use crate::CallContext;

/// The corridor as a value: takes a request with a [`CallContext`] in its extensions, authorizes, routes and answers it.
pub type BusService = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// How a service sends a message to another. Handed out before the bus exists, since the bus is made of the services that hold it; the binary binds it.
#[derive(Clone, Default)]
pub struct BusClient {
    bus: Arc<OnceLock<BusService>>,
}

impl BusClient {
    /// Connects the client. Only the first call counts.
    pub fn bind(&self, bus: BusService) {
        let _ = self.bus.set(bus);
    }

    /// A channel for generated clients whose calls are made with `context`: `WarehouseClient::new(bus.acting(context))`.
    pub fn acting(&self, context: CallContext) -> ActingBus {
        ActingBus { bus: self.bus.get().cloned(), context }
    }
}

/// What a call on the bus resolves to.
type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The bus, called on behalf of one context.
#[derive(Clone)]
pub struct ActingBus {
    bus: Option<BusService>,
    context: CallContext,
}

impl Service<Request<Body>> for ActingBus {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        match &mut self.bus {
            Some(bus) => bus.poll_ready(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.extensions_mut().insert(self.context.clone());
        match &mut self.bus {
            Some(bus) => bus.call(request),
            None => Box::pin(async { Ok(tonic::Status::unavailable("the kernel is still starting: try again").into_http()) }),
        }
    }
}
