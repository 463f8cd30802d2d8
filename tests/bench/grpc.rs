//! A gRPC call answered by a plugin through door, bus and host, against a tonic server that answers the same call with nothing between.

use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};

use crate::{
    bench_v1::{
        Payload, Sum,
        bench_client::BenchClient,
        bench_server::{Bench, BenchServer},
    },
    platform::Platform,
    timing::{micros, side_by_side},
};

const CALLS: usize = 1_280;

struct Native;

#[tonic::async_trait]
impl Bench for Native {
    async fn echo(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        Ok(Response::new(request.into_inner()))
    }
    async fn sum_arrays(&self, _: Request<Payload>) -> Result<Response<Sum>, Status> {
        Err(Status::unimplemented("measured in process"))
    }
    async fn sum_rows(&self, _: Request<Payload>) -> Result<Response<Sum>, Status> {
        Err(Status::unimplemented("measured in process"))
    }
}

pub(crate) async fn run(platform: &Platform) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let native = format!("http://{}", listener.local_addr().unwrap());
    // Without nodelay the peer would wait for more to send, which our doors do not.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(Server::builder().add_service(BenchServer::new(Native)).serve_with_incoming(incoming));
    let ours = Endpoint::from_shared(format!("http://{}", platform.address)).unwrap().connect().await.unwrap();
    let peer = Endpoint::from_shared(native).unwrap().connect().await.unwrap();

    println!("\ngRPC echo of 100 B over loopback, client in the same process (target: throughput at 64 in flight at least 0.9 of native tonic)");
    println!("{:>9}  {:>14}  {:>14}  {:>8}", "in flight", "plugin calls/s", "tonic calls/s", "ratio");
    for in_flight in [1, 64] {
        let (ours, peer) = side_by_side(async || load(&ours, &platform.token, in_flight).await, async || load(&peer, &platform.token, in_flight).await).await;
        let rate = |time: Duration| 1e6 / micros(time);
        println!("{in_flight:>9}  {:>14.0}  {:>14.0}  {:>8.2}", rate(ours), rate(peer), rate(ours) / rate(peer));
    }
}

/// The time of one call when `in_flight` callers call one after another.
async fn load(channel: &Channel, token: &str, in_flight: usize) -> Duration {
    let start = Instant::now();
    let callers: Vec<_> = (0..in_flight).map(|_| tokio::spawn(caller(channel.clone(), token.to_owned(), CALLS / in_flight))).collect();
    for caller in callers {
        caller.await.unwrap();
    }
    start.elapsed() / CALLS as u32
}

async fn caller(channel: Channel, token: String, calls: usize) {
    let mut client = BenchClient::new(channel);
    for _ in 0..calls {
        let mut request = Request::new(Payload { data: vec![7; 100].into() });
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request.metadata_mut().insert("backplane-city", "440600".parse().unwrap());
        client.echo(request).await.unwrap();
    }
}
