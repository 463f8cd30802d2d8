//! A plugin that panics, loops and allocates, through the real doors: each fault is an error that names plugin, version and city, and the next call is served.

use std::time::{Duration, Instant};

use backplane_tests::{FOSHAN, Kernel, guest, reason};
use tonic::Code;

use crate::{
    doors::{post, without_clock},
    plugins::with_manifest,
};

async fn with_hostile() -> Kernel {
    // Before the kernel starts: a first build takes minutes, in which this thread would not answer the kernel's pings.
    let hostile = std::fs::read(guest("hostile")).unwrap();
    let kernel = Kernel::start().await;
    let version = kernel.install(&hostile).await.unwrap();
    kernel.enable(&version, FOSHAN).await.unwrap();
    kernel
}

fn call(kernel: &Kernel, method: &str) -> Result<String, String> {
    let method = format!("hostile.v1.Hostile/{method}");
    let output = kernel.cli(&["plugin", "call", &method, r#"{"text": "the abacus is missing"}"#, "--city", FOSHAN]);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[tokio::test]
async fn each_fault_names_its_plugin_and_the_next_call_is_served() {
    let kernel = with_hostile().await;
    for (method, reason) in [("Panic", "PLUGIN_TRAPPED"), ("Spin", "PLUGIN_TIMED_OUT"), ("Allocate", "PLUGIN_OUT_OF_MEMORY")] {
        let fault = call(&kernel, method).unwrap_err();
        assert!(fault.contains(reason), "{method}: {fault}");
        for place in ["plugin hostile", "version 0.1.0", "city 440600"] {
            assert!(fault.contains(place), "{method}: {fault}");
        }
        assert!(call(&kernel, "Answer").unwrap().contains("the abacus is missing"), "after {method}");
    }
}

#[tokio::test]
async fn a_panic_brings_the_guests_own_words() {
    let kernel = with_hostile().await;
    let fault = call(&kernel, "Panic").unwrap_err();
    assert!(fault.contains("the abacus is missing") && fault.contains("src/lib.rs"), "{fault}");
}

#[tokio::test]
async fn a_neighbour_is_served_while_a_plugin_loops() {
    let kernel = with_hostile().await;
    let looping = |kernel: &Kernel| {
        let call = kernel.call.in_city(FOSHAN);
        tokio::spawn(async move {
            let mut grpc = tonic::client::Grpc::new(call.service());
            grpc.ready().await.unwrap();
            let path = "/hostile.v1.Hostile/Spin".parse().unwrap();
            grpc.unary(tonic::Request::new(()), path, tonic_prost::ProstCodec::<(), ()>::default()).await.unwrap_err()
        })
    };
    let loops: Vec<_> = (0..8).map(|_| looping(&kernel)).collect();
    for _ in 0..20 {
        kernel.call.auth().who_am_i(backplane_proto::auth::v1::WhoAmIRequest {}).await.unwrap();
    }
    for ended in loops {
        let status = ended.await.unwrap();
        let reason = reason(&status);
        assert!(["PLUGIN_TIMED_OUT", "PLUGIN_SATURATED"].contains(&reason.as_str()), "{status:?}");
    }
}

#[tokio::test]
async fn a_loop_is_cut_at_its_callers_deadline_over_grpc_and_json() {
    // With the longest limit that there is, so that nothing but the caller's deadline ends a call soon. Built before the kernel starts, as above.
    let hostile = with_manifest(&std::fs::read(guest("hostile")).unwrap(), "timeout_ms = 300", "timeout_ms=60000");
    let neighbour = std::fs::read(guest("relay")).unwrap();
    let kernel = Kernel::start().await;
    for wasm in [hostile, neighbour] {
        let version = kernel.install(&wasm).await.unwrap();
        kernel.enable(&version, FOSHAN).await.unwrap();
    }
    let started = Instant::now();
    // More calls than the plugin has places: a loop that went on would keep its own.
    for _ in 0..2 {
        let answer = without_clock(&kernel, "hostile.v1.Hostile/Spin", "200m").await;
        let status = tonic::Status::from_header_map(&answer).unwrap();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "DEADLINE_PASSED"), "{status:?}");

        let (status, body) = post(&kernel, "hostile.v1.Hostile/Spin", &["connect-timeout-ms: 200", "backplane-city: 440600"], "{}");
        assert_eq!((status, body["details"][0]["debug"]["reason"].as_str()), (504, Some("DEADLINE_PASSED")), "{body}");
        assert_eq!(body["code"], "deadline_exceeded", "{body}");
    }
    // The neighbour has its answer from the plugin that looped: both serve.
    let answer = kernel.cli_ok(&["plugin", "call", "relay.v1.Relay/Forward", r#"{"text": "the abacus was found"}"#, "--city", FOSHAN]);
    assert!(answer.contains("the abacus was found"), "{answer}");
    assert!(started.elapsed() < Duration::from_secs(50), "long before the plugin's own limit: {:?}", started.elapsed());
}
