//! The kernel as a process: from start to ready, and its memory when idle with a plugin loaded.

use std::time::Instant;

use backplane_tests::{FOSHAN, Kernel, excerpt, portal_traffic};

use crate::timing::median;

const STARTS: usize = 5;

pub(crate) async fn run() {
    let mut kernel = Kernel::start().await;
    kernel.cli_ok(&["feed", "import", "portal.access", excerpt().to_str().unwrap(), "--city", FOSHAN]);
    let version = kernel.install(&std::fs::read(portal_traffic()).unwrap()).await.unwrap();
    kernel.enable(&version, FOSHAN).await.unwrap();
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let stopping = Instant::now();
        kernel = kernel.kill_and_restart().await;
        starts.push(stopping.elapsed());
    }
    let period = r#"{"from": "2015-05-01T00:00:00Z", "to": "2015-06-01T00:00:00Z"}"#;
    kernel.cli_ok(&["plugin", "call", "portal_traffic.v1.PortalTraffic/GetSummary", period, "--city", FOSHAN]);
    println!("\nthe kernel as a process, portal-traffic loaded");
    println!("start to ready (kill of the one before included): {:.0} ms", median(starts).as_secs_f64() * 1e3);
    println!("resident memory after one answer: {:.0} MB (aim: at most 200)", resident_megabytes(kernel.pid()));
}

fn resident_megabytes(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kibibytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1_024.0 / 1e6
}
