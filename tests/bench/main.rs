//! Ratios against peers, side by side in one run: `make bench`. Nothing is asserted; the numbers are for people, with the targets of the design beside them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops at the first surprise, and prints")]

mod batches;
mod calls;
mod grpc;
mod platform;
mod process;
mod timing;

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
mod bench_v1 {
    tonic::include_proto!("bench.v1");
}

fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they start; only `cargo bench` passes --bench.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let platform = platform::Platform::start().await;
        calls::run(&platform).await;
        batches::run(&platform).await;
        grpc::run(&platform).await;
    });
    runtime.block_on(process::run());
}
