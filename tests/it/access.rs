//! Every native rpc is denied without a token and without the right that its access option names. The list is the contract itself, so a new rpc is tested
//! from the day it is written.

use backplane_proto::{ACCESS_EXTENSION, DESCRIPTOR_SET, v1::Access};
use backplane_tests::{Call, Kernel, reason};
use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use prost_reflect::DescriptorPool;
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

struct Rpc {
    path: String,
    access: Access,
}

fn rpcs() -> Vec<Rpc> {
    let pool = DescriptorPool::decode(DESCRIPTOR_SET).unwrap();
    let extension = pool.get_extension_by_name(ACCESS_EXTENSION).unwrap();
    let mut rpcs = Vec::new();
    // Hooks are no methods of the bus: a plugin answers them, and the host alone calls them.
    for service in pool.services().filter(|service| service.package_name() != "backplane.guest.v1") {
        for method in service.methods() {
            let options = method.options();
            assert!(options.has_extension(&extension), "{} has no access option", method.full_name());
            let value = options.get_extension(&extension).as_message().unwrap().encode_to_vec();
            rpcs.push(Rpc { path: format!("/{}/{}", service.full_name(), method.name()), access: Access::decode(value.as_slice()).unwrap() });
        }
    }
    rpcs
}

/// Sends an empty message, whatever the method, and gives how the call ended.
async fn call_empty(call: &Call, path: &str) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(call.service());
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let one = tokio_stream::iter([Bytes::new()]);
    let mut answers = grpc.streaming(tonic::Request::new(one), path.parse().unwrap(), Bytewise).await?.into_inner();
    while answers.message().await?.is_some() {}
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Bytewise;

impl Codec for Bytewise {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Bytewise
    }
    fn decoder(&mut self) -> Self {
        Bytewise
    }
}

impl Encoder for Bytewise {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Bytewise {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

#[tokio::test]
async fn every_rpc_is_denied_without_a_token() {
    let kernel = Kernel::start().await;
    let rpcs = rpcs();
    assert!(rpcs.len() >= 20, "the contracts have {} rpcs", rpcs.len());
    for rpc in rpcs {
        let status = call_empty(&kernel.call.without_token(), &rpc.path).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "TOKEN_MISSING"), "{}: {status:?}", rpc.path);
    }
}

#[tokio::test]
async fn every_rpc_is_denied_without_its_permission_and_names_it() {
    let kernel = Kernel::start().await;
    let nobody = kernel.call.with_token(&kernel.account("nobody", &[], &[]).await);
    for rpc in rpcs().into_iter().filter(|rpc| !rpc.access.permission.is_empty()) {
        let status = call_empty(&nobody, &rpc.path).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "PERMISSION_MISSING"), "{}: {status:?}", rpc.path);
        assert!(status.message().contains(&rpc.access.permission), "{}: {}", rpc.path, status.message());
    }
}

#[tokio::test]
async fn a_right_in_one_city_is_no_right_in_another_or_in_the_province() {
    let kernel = Kernel::start().await;
    let everything_in_foshan: Vec<String> = rpcs().into_iter().map(|rpc| rpc.access.permission).filter(|permission| !permission.is_empty()).collect();
    let permissions: Vec<&str> = everything_in_foshan.iter().map(String::as_str).collect();
    let foshan = kernel.call.with_token(&kernel.account("foshan", &permissions, &["440600"]).await);
    for rpc in rpcs().into_iter().filter(|rpc| !rpc.access.permission.is_empty()) {
        for city in ["441900", "440000"] {
            let status = call_empty(&foshan.in_city(city), &rpc.path).await.unwrap_err();
            assert_eq!(reason(&status), "PERMISSION_MISSING", "{} in {city}: {status:?}", rpc.path);
        }
        if rpc.access.scope() == backplane_proto::v1::Scope::Province {
            let status = call_empty(&foshan, &rpc.path).await.unwrap_err();
            assert_eq!(reason(&status), "PERMISSION_MISSING", "{}: {status:?}", rpc.path);
        }
    }
}

#[tokio::test]
async fn nobody_calls_a_hook() {
    let kernel = Kernel::start().await;
    let status = call_empty(&kernel.call, "/backplane.guest.v1.Jobs/Run").await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"), "{status:?}");
}
