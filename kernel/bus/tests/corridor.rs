//! Limits, deadlines and the in-process client, against services that answer never, slowly or with everything at once.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use kernel_auth::{AccessTable, Auth, MethodAccess, Owner, ScopeRule, read_access};
use kernel_base::{BusClient, CallContext, Caller, City, Clock, Rights, TraceId};
use kernel_bus::{DoorLimits, Doors, FallbackService, corridor};
use kernel_storage::RowStore;
use prost_reflect::DescriptorPool;
use tonic::{Code, Status, body::Body, service::Routes};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;
use tower::{service_fn, util::BoxCloneSyncService};

const PATH: &str = "/slow_plugin.v1.Slow/Answer";

fn fallback<F>(answer: impl Fn() -> F + Clone + Send + Sync + 'static) -> FallbackService
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    BoxCloneSyncService::new(service_fn(move |_: Request<Body>| {
        let answering = answer();
        async move { Ok::<_, Infallible>(answering.await) }
    }))
}

async fn doors(fallback: FallbackService, calls_in_flight_max: usize) -> (Doors, BusClient) {
    let kernel = DescriptorPool::decode(backplane_proto::DESCRIPTOR_SET).unwrap();
    let health = DescriptorPool::decode(tonic_health::pb::FILE_DESCRIPTOR_SET).unwrap();
    let access = Arc::new(AccessTable::new(&kernel, &[health]).unwrap());
    let plugin = "slow-plugin".parse().unwrap();
    let methods: Vec<MethodAccess> = read_access(&kernel, "backplane.auth.v1.Auth", &Owner::Plugin("slow-plugin".parse().unwrap()))
        .unwrap()
        .into_iter()
        .take(1)
        .map(|method| MethodAccess { path: PATH.to_owned(), scope: ScopeRule::Anonymous, permission: None, ..method })
        .collect();
    access.deploy(&plugin, City::PROVINCE, methods);
    let auth = Auth::new(RowStore::in_memory().await.unwrap(), Clock::system());
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let corridor = corridor(Arc::clone(&access), Routes::new(service), fallback);
    let bus = BusClient::default();
    bus.bind(corridor.clone());
    (Doors::new(corridor, access, auth, &DoorLimits { calls_in_flight_max }), bus)
}

fn request(path: &str, timeout: Option<&str>) -> Request<Body> {
    let mut request = Request::post(path).header("content-type", "application/grpc");
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    request.body(Body::empty()).unwrap()
}

/// How the answer ended, in its headers or its trailers.
async fn status_of(response: Response<Body>) -> Status {
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let collected = response.into_body().collect().await.unwrap();
    Status::from_header_map(collected.trailers().unwrap()).unwrap()
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn a_call_beyond_the_limit_is_told_to_come_back() {
    let (doors, _) = doors(fallback(async || Response::new(Body::empty())), 0).await;
    let status = status_of(doors.answer(request("/grpc.health.v1.Health/Check", None)).await).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "CALLS_SATURATED"));
}

#[tokio::test]
async fn a_call_counts_until_its_answer_has_ended() {
    let endless = || async {
        let pending = StreamBody::new(futures::stream::pending::<Result<http_body::Frame<Bytes>, Status>>());
        Response::new(Body::new(pending))
    };
    let (doors, _) = doors(fallback(endless), 1).await;
    let held = doors.clone().answer(request(PATH, None)).await;
    let refused = status_of(doors.clone().answer(request(PATH, None)).await).await;
    assert_eq!(reason(&refused), "CALLS_SATURATED");
    drop(held);
    let next = doors.answer(request(PATH, None)).await;
    assert!(Status::from_header_map(next.headers()).is_none(), "the place is free again");
}

#[tokio::test]
async fn a_service_that_never_answers_and_one_that_never_ends_meet_the_deadline() {
    let never = fallback(std::future::pending::<Response<Body>>);
    let (silent, _) = doors(never, 8).await;
    let status = status_of(silent.answer(request(PATH, Some("20m"))).await).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_PASSED"));

    let endless = || async {
        let pending = StreamBody::new(futures::stream::pending::<Result<http_body::Frame<Bytes>, Status>>());
        Response::new(Body::new(pending))
    };
    let (endless, _) = doors(fallback(endless), 8).await;
    let status = status_of(endless.answer(request(PATH, Some("20m"))).await).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
}

#[tokio::test]
async fn the_in_process_client_crosses_the_same_corridor() {
    let (_, bus) = doors(fallback(async || Response::new(Body::empty())), 8).await;
    let context = CallContext {
        caller: Caller::Anonymous,
        actor: None,
        rights: Arc::new(Rights::default()),
        city: None,
        deadline: Instant::now() + Duration::from_secs(5),
        trace: TraceId([0; 16]),
        chain: Vec::new(),
    };
    let answer = HealthClient::new(bus.acting(context.clone())).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status, 1);
    let mut auth = backplane_proto::auth::v1::auth_client::AuthClient::new(bus.acting(context));
    let refused = auth.who_am_i(backplane_proto::auth::v1::WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(reason(&refused), "TOKEN_MISSING");
}
