use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::Response;
use kernel_base::{CallContext, Caller, Rights, TraceId};
use tonic::{Code, Status, body::Body};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::bus::{PATH, doors, endless, plugin, reason, request, status_of};

#[tokio::test]
async fn a_call_beyond_the_limit_is_told_to_come_back() {
    let (doors, _) = doors(plugin(async || Response::new(Body::empty())), 0).await;
    let status = status_of(doors.answer(request("/grpc.health.v1.Health/Check", None)).await).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "CALLS_SATURATED"));
}

#[tokio::test]
async fn a_call_counts_until_its_answer_has_ended() {
    let (doors, _) = doors(endless(), 1).await;
    let held = doors.clone().answer(request(PATH, None)).await;
    let refused = status_of(doors.clone().answer(request(PATH, None)).await).await;
    assert_eq!(reason(&refused), "CALLS_SATURATED");
    drop(held);
    let next = doors.answer(request(PATH, None)).await;
    assert!(Status::from_header_map(next.headers()).is_none(), "the place is free again");
}

#[tokio::test]
async fn a_service_that_never_answers_and_one_that_never_ends_meet_the_deadline() {
    let never = plugin(std::future::pending::<Response<Body>>);
    let (silent, _) = doors(never, 8).await;
    let status = status_of(silent.answer(request(PATH, Some("20m"))).await).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
    assert_eq!(status.metadata().get("backplane-trace-id").unwrap().len(), 32, "in the headers");

    let (unending, _) = doors(endless(), 8).await;
    let status = status_of(unending.answer(request(PATH, Some("20m"))).await).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
    assert_eq!(status.metadata().get("backplane-trace-id").unwrap().len(), 32, "in the trailers");
}

#[tokio::test]
async fn the_in_process_client_crosses_the_same_corridor() {
    let (_, bus) = doors(plugin(async || Response::new(Body::empty())), 8).await;
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

#[tokio::test]
async fn a_failure_of_a_plugin_names_its_trace_and_a_success_does_not() {
    let (failing, _) = doors(plugin(async || Status::not_found("no such page").into_http()), 8).await;
    let status = status_of(failing.answer(request(PATH, None)).await).await;
    assert_eq!((status.code(), status.metadata().get("backplane-trace-id").unwrap().len()), (Code::NotFound, 32));

    let (answering, _) = doors(plugin(async || Response::new(Body::empty())), 8).await;
    let answer = answering.answer(request(PATH, None)).await;
    assert!(!answer.headers().contains_key("backplane-trace-id"), "{:?}", answer.headers());
}
