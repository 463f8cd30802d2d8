//! Ratios against peers, side by side in one run: `make bench`; one part of it: `make bench PART=feeds`. Nothing is asserted; the numbers are for people, with the targets of the design beside them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops at the first surprise, and prints")]

mod batches;
mod calls;
mod feed_file;
mod feeds;
mod grpc;
mod packages;
mod platform;
mod process;
mod process_use;
mod queries;
mod timing;
mod warehouse;

/// That of the binary, so that what runs in this process, peers among it, allocates as a kernel does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
mod bench_v1 {
    tonic::include_proto!("bench.v1");
}

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
mod package_monitor_v1 {
    tonic::include_proto!("package_monitor.v1");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --all-targets` runs benchmarks too, to see that they start; only `cargo bench` passes --bench.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    // `cargo bench … --bench peers -- grpc` runs one part.
    let asked: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_asked = |part: &str| asked.is_empty() || asked.iter().any(|asked| *asked == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if ["calls", "batches", "grpc"].into_iter().any(is_asked) {
            let platform = platform::Platform::start().await;
            if is_asked("calls") {
                calls::run(&platform).await;
            }
            if is_asked("batches") {
                batches::run(&platform).await;
            }
            if is_asked("grpc") {
                grpc::run(&platform).await;
            }
        }
        if is_asked("process") {
            process::run().await;
        }
        if is_asked("warehouse") {
            warehouse::run().await;
        }
        if is_asked("feeds") {
            feeds::run().await;
        }
        if is_asked("province") {
            feeds::province().await;
        }
        if is_asked("platforms") {
            feeds::platforms().await;
        }
        if is_asked("memory") {
            feeds::memory().await;
        }
        if is_asked("packages") {
            packages::run(20_000).await;
        }
        // Some minutes: only when they are asked for.
        if asked.iter().any(|part| *part == "queries") {
            queries::run(20_000_000).await;
        }
        // A quarter of an hour, most of it to write and import the files: only when it is asked for.
        if asked.iter().any(|part| *part == "million") {
            packages::run(1_000_000).await;
        }
    });
}
