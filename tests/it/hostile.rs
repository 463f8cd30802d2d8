//! A plugin that panics, loops and allocates, through the real doors: each fault is an error that names plugin, version and city, and the next call is served.

use backplane_tests::{FOSHAN, Kernel, guest};

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
        let reason = backplane_tests::reason(&status);
        assert!(["PLUGIN_TIMED_OUT", "PLUGIN_SATURATED"].contains(&reason.as_str()), "{status:?}");
    }
}
