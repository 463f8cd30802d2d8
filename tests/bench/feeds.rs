//! A file of a feed from the door to the disk, against DuckDB reading the same text into a table on disk; and the kernel's memory while a large one goes through.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use backplane_tests::{FeedFile, Kernel, import, python, repository};

use crate::{feed_file::Form, timing::median};

const ROWS: u64 = 3_000_000;
const ROUNDS: usize = 3;
const THREADS: &str = "2";
/// About 1.5 GB.
const LARGE_ROWS: u64 = 30_000_000;

/// Rows per second per form.
pub(crate) async fn run() {
    let folder = tempfile::tempdir().unwrap();
    println!("\na feed's file of {ROWS} rows, 10 fields, through ImportFile to the disk (target: at least DuckDB with {THREADS} threads)");
    println!("{:>14}  {:>8}  {:>14}  {:>14}  {:>6}  {:>12}", "form", "MB", "backplane r/s", "duckdb r/s", "ratio", "peak RSS MB");
    for form in [Form::SEPARATED, Form::GB18030, Form::JSON] {
        let (path, bytes) = form.file(folder.path(), ROWS).unwrap();
        let has_peer = form.name == Form::SEPARATED.name;
        let (mut ours, mut peers, mut peak) = (Vec::new(), Vec::new(), 0.0_f64);
        for round in 0..ROUNDS {
            let (time, megabytes) = import_once(&form, &path, ROWS).await;
            ours.push(time);
            peak = peak.max(megabytes);
            if has_peer {
                peers.push(duckdb(&path, &folder.path().join(format!("peer-{round}.db"))));
            }
        }
        let ours = rate(median(ours));
        let peer = if has_peer { Some(rate(median(peers))) } else { None };
        let column = |number: Option<f64>, digits: usize| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"));
        let ratio = peer.map(|peer| ours / peer);
        println!("{:>14}  {:>8.0}  {ours:>14.0}  {:>14}  {:>6}  {peak:>12.0}", form.name, bytes as f64 / 1e6, column(peer, 0), column(ratio, 2));
        std::fs::remove_file(path).unwrap();
    }
}

/// Peak memory while a large file goes through.
pub(crate) async fn memory() {
    let folder = tempfile::tempdir().unwrap();
    println!("\nmemory of the kernel while a file goes through (aim: the same for a larger file)");
    for rows in [LARGE_ROWS / 8, LARGE_ROWS] {
        let (path, bytes) = Form::SEPARATED.file(folder.path(), rows).unwrap();
        let (time, peak) = import_once(&Form::SEPARATED, &path, rows).await;
        println!("{:>8.0} MB: peak RSS {peak:.0} MB, {:.0} s", bytes as f64 / 1e6, time.as_secs_f64());
    }
}

/// The time of one import into a fresh kernel, and its peak memory in megabytes.
async fn import_once(form: &Form, path: &Path, rows: u64) -> (Duration, f64) {
    let kernel = Kernel::start().await;
    let contract = kernel.dir().join("bench.yaml");
    std::fs::write(&contract, form.contract()).unwrap();
    kernel.cli_ok(&["feed", "put", contract.to_str().unwrap()]);
    let start = Instant::now();
    let result = import(&kernel.call, &FeedFile { feed: form.name.to_owned(), path: path.to_owned() }).await.unwrap();
    let time = start.elapsed();
    assert_eq!(result.rows_taken, rows.cast_signed(), "{result:?}");
    (time, peak_megabytes(kernel.pid()))
}

fn duckdb(path: &Path, database: &PathBuf) -> Duration {
    let script = repository().join("tests/bench/duckdb_read.py");
    let output = python().arg(script).args([path, database.as_path()]).arg(THREADS).output().unwrap();
    assert!(output.status.success(), "run 'make bench', which installs DuckDB: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(database).unwrap();
    Duration::from_secs_f64(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
}

fn rate(time: Duration) -> f64 {
    ROWS as f64 / time.as_secs_f64()
}

fn peak_megabytes(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kibibytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1_024.0 / 1e6
}
