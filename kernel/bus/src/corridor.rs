use std::{future::Future, pin::pin, sync::Arc, task::Poll, time::Instant};

use futures::poll;
use http::{Request, Response};
use kernel_auth::{AccessTable, Admitted, Owner};
use kernel_base::{BusService, CallContext, status};
use tokio::time::timeout_at;
use tonic::{Status, body::Body, service::Routes};
use tower::ServiceExt;

use crate::{
    BusFault,
    answer_body::AnswerBody,
    audit::{CallRecord, reason_of},
    call_permit::CallPermit,
    request_limit::LimitedBody,
};

/// The corridor: a call is authorized against the access table, bounded by its deadline, recorded for the audit log, and routed to a native service or to the
/// plugin host. Cheap to clone.
#[derive(Clone)]
pub struct Corridor {
    inner: Arc<CorridorInner>,
}

struct CorridorInner {
    access: Arc<AccessTable>,
    routes: Routes,
    plugins: BusService,
}

impl Corridor {
    /// The corridor to `routes`, and to `plugins` for the methods of plugins.
    pub fn new(access: Arc<AccessTable>, routes: Routes, plugins: BusService) -> Corridor {
        Corridor { inner: Arc::new(CorridorInner { access, routes: routes.prepare(), plugins }) }
    }

    /// The way in for callers inside of the kernel. Their calls take no place of those from the network.
    pub fn bus_service(&self) -> BusService {
        let corridor = self.clone();
        BusService::new(move |context, request| {
            let corridor = corridor.clone();
            async move { corridor.answer(context, None, request).await }
        })
    }

    /// Answers one call. Native services read the [`CallContext`] from the extensions of the request.
    pub(crate) async fn answer(&self, context: CallContext, permit: Option<CallPermit>, request: Request<Body>) -> Response<Body> {
        let Admitted { access, context } = match self.inner.access.admit(request.uri().path(), &context) {
            Ok(admitted) => admitted,
            Err(refused) => return refuse(CallRecord::refused(request.uri().path(), &context), status(&refused)),
        };
        let record = CallRecord::admitted(&access, &context);
        let deadline = context.deadline;
        let answered = match access.owner {
            Owner::Native => before(deadline, answer_natively(self.inner.routes.clone(), context, request)).await,
            // The host reads the one message itself, within the same limit.
            Owner::Plugin(_) => before(deadline, self.inner.plugins.call(context, request)).await,
        };
        let Some(response) = answered else {
            return refuse(record, BusFault::DeadlinePassed.into());
        };
        if let Some(failed) = Status::from_header_map(response.headers()).filter(|status| status.code() != tonic::Code::Ok) {
            record.finish(failed.code(), reason_of(&failed).as_deref());
            return response;
        }
        response.map(|body| Body::new(AnswerBody::new(body, deadline, record, permit)))
    }
}

async fn answer_natively(routes: Routes, context: CallContext, mut request: Request<Body>) -> Response<Body> {
    request.extensions_mut().insert(context);
    match routes.oneshot(request.map(|body| Body::new(LimitedBody::new(body)))).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// What the future gives, unless the deadline comes first.
async fn before<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    // Most answers are there at once: no timer is made for them.
    match poll!(future.as_mut()) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => timeout_at(deadline.into(), future).await.ok(),
    }
}

fn refuse(record: CallRecord, status: Status) -> Response<Body> {
    record.finish(status.code(), reason_of(&status).as_deref());
    status.into_http()
}
