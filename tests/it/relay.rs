//! A plugin that calls another plugin, through the real doors: both directions of the bus, the rights in between, the log that tells of it.

use std::time::{Duration, Instant};

use backplane_tests::{FOSHAN, Kernel, guest};

const FORWARD: &str = "relay.v1.Relay/Forward";
const NOTE: &str = r#"{"text": "the abacus was found"}"#;

/// A kernel with `relay`, and with `hostile`, which relay calls; enabled in that order, so that relay's right at the other is not known when it is enabled.
async fn with_relay() -> Kernel {
    // Built before the kernel starts: a first build takes minutes, in which this thread would not answer the kernel's pings.
    let plugins = ["relay", "hostile"].map(|id| std::fs::read(guest(id)).unwrap());
    let kernel = Kernel::start_with_log("info").await;
    for wasm in plugins {
        let version = kernel.install(&wasm).await.unwrap();
        kernel.enable(&version, FOSHAN).await.unwrap();
    }
    kernel
}

#[tokio::test]
async fn a_plugin_calls_another_and_does_so_again_after_a_restart() {
    let kernel = with_relay().await;
    let both = kernel.account("both", &["relay.call", "hostile.call"], &[FOSHAN]).await;
    let answer = kernel.cli_ok(&["plugin", "call", FORWARD, NOTE, "--token", &both]);
    assert!(answer.contains("the abacus was found"), "{answer}");
    let kernel = kernel.kill_and_restart().await;
    let answer = kernel.cli_ok(&["plugin", "call", FORWARD, NOTE, "--token", &both]);
    assert!(answer.contains("the abacus was found"), "{answer}");
}

#[tokio::test]
async fn a_caller_who_may_not_call_the_other_plugin_cannot_through_the_first() {
    let kernel = with_relay().await;
    let one = kernel.account("one", &["relay.call"], &[FOSHAN]).await;
    let refusal = kernel.cli_err(&["plugin", "call", FORWARD, NOTE, "--token", &one]);
    assert!(refusal.contains("PERMISSION_MISSING") && refusal.contains("hostile.call") && refusal.contains("relay 0.1.0"), "{refusal}");
}

#[tokio::test]
async fn a_disabled_plugin_takes_the_right_to_call_it_along() {
    let kernel = with_relay().await;
    kernel.cli_ok(&["plugin", "disable", "hostile", "--in", FOSHAN]);
    let refusal = kernel.cli_err(&["plugin", "call", FORWARD, NOTE, "--city", FOSHAN]);
    assert!(refusal.contains("METHOD_UNKNOWN"), "{refusal}");
    let version = kernel.install(&std::fs::read(guest("hostile")).unwrap()).await.unwrap();
    kernel.enable(&version, FOSHAN).await.unwrap();
    let answer = kernel.cli_ok(&["plugin", "call", FORWARD, NOTE, "--city", FOSHAN]);
    assert!(answer.contains("the abacus was found"), "{answer}");
}

#[tokio::test]
async fn what_a_guest_logs_stands_in_the_kernels_log_with_plugin_version_and_city() {
    let kernel = with_relay().await;
    kernel.cli_ok(&["plugin", "call", FORWARD, NOTE, "--city", FOSHAN]);
    let until = Instant::now() + Duration::from_secs(10);
    // Written before the answer leaves; read through a file, which may come a moment later.
    let line = loop {
        let log = kernel.log();
        if let Some(line) = log.lines().find(|line| line.contains("forwarding the abacus was found")) {
            break line.to_owned();
        }
        assert!(Instant::now() < until, "{log}");
    };
    for field in ["INFO", "plugin=relay", "version=0.1.0", "city=440600", "trace="] {
        assert!(line.contains(field), "{field} is not in {line}");
    }
}
