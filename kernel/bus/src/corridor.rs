use std::{future::Future, pin::pin, sync::Arc, task::Poll, time::Instant};

use futures::poll;
use http::{Request, Response};
use http_body::Body as _;
use kernel_auth::{AccessTable, Admitted, Owner};
use kernel_base::{BusService, CallContext, status};
use tokio::time::timeout_at;
use tonic::{Code, Status, body::Body, service::Routes};
use tower::ServiceExt;

use crate::{
    BusFault,
    answer_body::AnswerBody,
    audit::{CallRecord, reason_of},
    call_permit::CallPermit,
    request_limit::LimitedBody,
};

// Limit: an answer that is whole and no larger ends its call when it is given to the connection; any other when its receiver has taken it. A connection has at most
// 512 streams, so that what it can keep this way is 2 MiB.
const SMALL_ANSWER_BYTES_MAX: u64 = 4 << 10;

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
        if let Some(failed) = Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok) {
            record.finish(failed.code(), reason_of(&failed).as_deref());
            return response;
        }
        // Nothing of it is still to be made, and a receiver that never reads keeps little.
        if response.body().size_hint().upper().is_some_and(|bytes| bytes <= SMALL_ANSWER_BYTES_MAX) {
            record.finish(Code::Ok, None);
            return response;
        }
        response.map(|body| Body::new(AnswerBody::new(body, deadline, record, permit)))
    }
}

async fn answer_natively(routes: Routes, context: CallContext, mut request: Request<Body>) -> Response<Body> {
    request.extensions_mut().insert(context);
    match routes.oneshot(request.map(|body| Body::new(LimitedBody::new(body)))).await {
        Ok(response) => malformed(&response).map_or(response, Status::into_http),
        Err(never) => match never {},
    }
}

/// A request that is no such message. The generated servers call that their own fault, and it tells by its text alone.
fn malformed(response: &Response<Body>) -> Option<Status> {
    const PROST: &str = "failed to decode Protobuf message: ";
    let status = Status::from_header_map(response.headers()).filter(|status| status.code() == Code::Internal)?;
    let problem = status.message().strip_prefix(PROST)?.to_owned();
    Some(BusFault::MessageMalformed { place: String::new(), problem }.into())
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
