//! Places for calls: who has how many, and that they come back from callers who do not take their answers.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use kernel_bus::{Doors, frame};
use tokio::net::{TcpListener, TcpStream};
use tonic::{Status, body::Body};

use crate::bus::{PATH, doors, endless, plugin, reason, request, status_of};

/// More than the corridor calls small.
const LARGE: usize = 8 << 10;
const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";

fn framed(path: &str) -> Request<Body> {
    let empty = Body::new(Full::new(frame(&[])).map_err(|never: Infallible| match never {}));
    request(path, None).map(|_| empty)
}

#[tokio::test]
async fn strangers_have_64_places_of_their_own() {
    let (doors, _) = doors(endless(), 1_024).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        let response = doors.clone().answer(request(PATH, None)).await;
        assert!(Status::from_header_map(response.headers()).is_none(), "a stranger is served");
        held.push(response);
    }
    let refused = status_of(doors.clone().answer(framed(CHECK)).await).await;
    assert_eq!(reason(&refused), "CALLS_SATURATED");
    assert!(refused.message().contains("64 calls without a token"), "{}", refused.message());

    let mut with_token = framed(CHECK);
    with_token.headers_mut().insert("authorization", "Bearer bp_nobody's".parse().unwrap());
    let caller = status_of(doors.clone().answer(with_token).await).await;
    assert_eq!(reason(&caller), "TOKEN_INVALID", "a caller has a place, and is looked at");

    held.pop();
    assert_eq!(status_of(doors.answer(framed(CHECK)).await).await.code(), tonic::Code::Ok);
}

#[tokio::test]
async fn strangers_that_watch_leave_others_their_health_checks() {
    let (doors, _) = doors(endless(), 1_024).await;
    let mut watches = Vec::new();
    for _ in 0..32 {
        let watch = doors.clone().answer(framed(WATCH)).await;
        assert!(Status::from_header_map(watch.headers()).is_none(), "a watch begins");
        watches.push(watch);
    }
    let refused = status_of(doors.clone().answer(framed(WATCH)).await).await;
    assert_eq!(reason(&refused), "CALLS_SATURATED");
    assert!(refused.message().contains("32 streams without a token"), "{}", refused.message());
    assert_eq!(status_of(doors.answer(framed(CHECK)).await).await.code(), tonic::Code::Ok);
}

#[tokio::test]
async fn json_that_does_not_come_to_its_end_meets_the_deadline() {
    let (doors, _) = doors(endless(), 1).await;
    let half = StreamBody::new(futures::stream::iter([Ok::<_, Status>(Frame::data(Bytes::from_static(b"{\"service\":")))]).chain(futures::stream::pending()));
    let json = Request::post(CHECK).header("content-type", "application/json").header("grpc-timeout", "50m").body(Body::new(half)).unwrap();
    let response = doors.clone().answer(json).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("DEADLINE_PASSED"), "{body:?}");
    assert_eq!(status_of(doors.answer(framed(CHECK)).await).await.code(), tonic::Code::Ok, "its place is free again");
}

/// A client whose window is closed: it gets headers, and takes no byte of any answer.
#[tokio::test]
async fn a_receiver_that_takes_nothing_loses_its_place_at_the_deadline() {
    let answer = || async { Response::new(Body::new(Full::new(frame(&[0; LARGE])).map_err(|never: Infallible| match never {}))) };
    let (doors, _) = doors(plugin(answer), 1).await;
    let address = served(doors).await;
    let stream = TcpStream::connect(&address).await.unwrap();
    let (mut client, connection) = h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(connection);
    let call = |timeout: &'static str| {
        let request = Request::post(format!("http://{address}{PATH}")).header("content-type", "application/grpc").header("grpc-timeout", timeout);
        request.body(()).unwrap()
    };
    let (taken, _) = client.send_request(call("2S"), true).unwrap();
    let taken = taken.await.unwrap();
    assert!(taken.headers().get("grpc-status").is_none(), "the call was let in");
    let (refused, _) = client.send_request(call("2S"), true).unwrap();
    assert_eq!(refused.await.unwrap().headers()["grpc-status"], "8", "and holds the only place");

    let until_let_in = async {
        loop {
            let (next, _) = client.send_request(call("2S"), true).unwrap();
            if next.await.unwrap().headers().get("grpc-status").is_none() {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), until_let_in).await.expect("the place comes back");
}

/// An answer that is whole and small ends its call at once: a page of them that nobody takes costs its connection less than a stream does.
#[tokio::test]
async fn a_small_answer_that_nobody_takes_holds_no_place() {
    let answer = || async { Response::new(Body::new(Full::new(frame(b"never taken")).map_err(|never: Infallible| match never {}))) };
    let (doors, _) = doors(plugin(answer), 1).await;
    let untaken = doors.clone().answer(request(PATH, None)).await;
    assert!(Status::from_header_map(untaken.headers()).is_none(), "the call was let in");
    let next = doors.answer(request(PATH, None)).await;
    assert!(Status::from_header_map(next.headers()).is_none(), "and left its place");
}

async fn served(doors: Doors) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(doors.serve(listener, std::future::pending(), Duration::ZERO));
    address
}
