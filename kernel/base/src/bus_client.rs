use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use http::{Request, Response};
use tonic::body::Body;
use tower::Service;

use crate::CallContext;

/// What answers requests on behalf of somebody: the corridor, which authorizes and routes them, and the plugin host behind it. Called through a shared
/// reference: no call copies the way.
#[derive(Clone)]
pub struct BusService(Arc<dyn Fn(CallContext, Request<Body>) -> Answer + Send + Sync>);

/// What a call on the bus resolves to.
type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

impl BusService {
    pub fn new<F>(answer: impl Fn(CallContext, Request<Body>) -> F + Send + Sync + 'static) -> BusService
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        BusService(Arc::new(move |context, request| Box::pin(answer(context, request))))
    }

    /// Answers one request. A failure is an answer too.
    pub fn call(&self, context: CallContext, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send + use<> {
        (self.0)(context, request)
    }
}

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

/// The bus, called on behalf of one context.
#[derive(Clone)]
pub struct ActingBus {
    bus: Option<BusService>,
    context: CallContext,
}

impl Service<Request<Body>> for ActingBus {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match &self.bus {
            Some(bus) => {
                let answer = bus.call(self.context.clone(), request);
                Box::pin(async { Ok(answer.await) })
            }
            None => Box::pin(async { Ok(tonic::Status::unavailable("the kernel is still starting: try again").into_http()) }),
        }
    }
}
