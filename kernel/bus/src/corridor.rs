use std::{future::Future, sync::Arc};

use http::{Request, Response};
use kernel_auth::{AccessTable, Owner};
use kernel_base::{BusService, CallContext, Code, Fault, Reason, status};
use tonic::{Status, body::Body, service::Routes};
use tower::ServiceExt;

use crate::{
    BusFault,
    answer_body::AnswerBody,
    audit::{CallRecord, reason_of},
    call_permit::CallPermit,
    request_limit::LimitedBody,
};

/// The corridor: every request carries a [`CallContext`] in its extensions; it is authorized against the access table, bounded by its deadline, recorded for
/// the audit log, and routed to a native service or to `plugins`, the host's side of the bus.
pub fn corridor(access: Arc<AccessTable>, routes: Routes, plugins: BusService) -> BusService {
    let corridor = Arc::new(Corridor { access, routes: routes.prepare(), plugins });
    BusService::new(move |request| answer(Arc::clone(&corridor), request))
}

struct Corridor {
    access: Arc<AccessTable>,
    routes: Routes,
    plugins: BusService,
}

async fn answer(corridor: Arc<Corridor>, mut request: Request<Body>) -> Response<Body> {
    let Some(context) = request.extensions_mut().remove::<CallContext>() else {
        return status(&ContextMissing).into_http();
    };
    let permit = request.extensions_mut().remove::<CallPermit>();
    let admitted = match corridor.access.admit(request.uri().path(), &context) {
        Ok(admitted) => admitted,
        Err(refused) => return refuse(CallRecord::refused(request.uri().path(), &context), status(&refused)),
    };
    let record = CallRecord::admitted(&admitted.access, &admitted.context);
    let deadline = admitted.context.deadline;
    let native = admitted.access.owner == Owner::Native;
    request.extensions_mut().insert(admitted.context);

    let answered = match native {
        true => before(deadline, answer_natively(corridor.routes.clone(), request)).await,
        // The host reads its one message itself and looks at its size before it keeps it.
        false => before(deadline, corridor.plugins.call(request)).await,
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

async fn answer_natively(routes: Routes, request: Request<Body>) -> Response<Body> {
    match routes.oneshot(request.map(|body| Body::new(LimitedBody::new(body)))).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// What the future gives, unless the deadline comes first.
async fn before<T>(deadline: std::time::Instant, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout_at(deadline.into(), future).await.ok()
}

fn refuse(record: CallRecord, status: Status) -> Response<Body> {
    record.finish(status.code(), reason_of(&status).as_deref());
    status.into_http()
}

/// A request came past the doors: only a wiring mistake can do that.
#[derive(Debug, thiserror::Error)]
#[error("the request has no call context")]
struct ContextMissing;

impl Fault for ContextMissing {
    fn code(&self) -> Code {
        Code::Internal
    }
    fn reason(&self) -> Reason {
        Reason::InternalFault
    }
}
