//! Doors and corridor over a plugin that answers as the test says, and native health checks.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use kernel_auth::{AccessTable, Auth, MethodAccess, Owner, ScopeRule, read_access};
use kernel_base::{BusClient, BusService, City, Clock};
use kernel_bus::{Corridor, DoorLimits, Doors};
use kernel_storage::RowStore;
use prost_reflect::DescriptorPool;
use tonic::{Status, body::Body, service::Routes};
use tonic_types::StatusExt;

pub const PATH: &str = "/slow_plugin.v1.Slow/Answer";

pub fn plugin<F>(answer: impl Fn() -> F + Send + Sync + 'static) -> BusService
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    BusService::new(move |_, _| answer())
}

pub async fn doors(plugins: BusService, calls_in_flight_max: usize) -> (Doors, BusClient) {
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
    let corridor = Corridor::new(Arc::clone(&access), Routes::new(service), plugins);
    let bus = BusClient::default();
    bus.bind(corridor.bus_service());
    (Doors::new(corridor, access, auth, &DoorLimits { calls_in_flight_max }), bus)
}

pub fn request(path: &str, timeout: Option<&str>) -> Request<Body> {
    let mut request = Request::post(path).header("content-type", "application/grpc");
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    request.body(Body::empty()).unwrap()
}

/// How the answer ended, in its headers or its trailers.
pub async fn status_of(response: Response<Body>) -> Status {
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let collected = response.into_body().collect().await.unwrap();
    Status::from_header_map(collected.trailers().unwrap()).unwrap()
}

pub fn reason(status: &Status) -> String {
    status.get_details_error_info().unwrap().reason
}

/// An answer that never ends.
pub fn endless() -> BusService {
    plugin(async || {
        let pending = StreamBody::new(futures::stream::pending::<Result<http_body::Frame<Bytes>, Status>>());
        Response::new(Body::new(pending))
    })
}
