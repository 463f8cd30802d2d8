//! A file of a feed from the door to the disk, against DuckDB reading the same text into a table on disk; and the kernel's memory while a large one goes through.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use backplane_tests::{FeedFile, Kernel, Province, bench_python, import, import_all, repository};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use sample_province::FileTotal;
use sha2::{Digest, Sha256};

use crate::{
    feed_file::Form,
    process_use::{cpu_time, peak_megabytes},
    timing::{median, micros},
};

const ROWS: u64 = 3_000_000;
const ROUNDS: usize = 3;
const THREADS: &str = "2";
/// 0.2, 1.6 and 10 GB.
const LARGER_ROWS: [u64; 3] = [4_000_000, 30_000_000, 190_000_000];
/// A province whose months have tens of thousands of rows in a file.
const CUSTOMERS: u32 = 20_000;
/// Of a feed that is compared with its peer: fewer rows show what a file costs, and `province` does.
const LEAST_ROWS: u64 = 5_000;
/// As `feed load` sends: the kernel imports two at a time while the others' uploads go on.
const GROUPS_AT_ONCE: usize = 4;

/// Rows per second per form.
pub(crate) async fn run() {
    let folder = tempfile::tempdir().unwrap();
    println!("\na feed's file of {ROWS} rows, 10 fields, through ImportFile to the disk (target: at least DuckDB with {THREADS} threads)");
    println!("{:>14}  {:>8}  {:>14}  {:>14}  {:>6}  {:>12}  {:>12}", "form", "MB", "backplane r/s", "duckdb r/s", "ratio", "CPU µs/row", "peak RSS MB");
    for form in [Form::SEPARATED, Form::GB18030, Form::JSON] {
        let (path, bytes) = form.file(folder.path(), "440600", ROWS).unwrap();
        let has_peer = form.name == Form::SEPARATED.name;
        let (mut ours, mut cpu, mut peers, mut peak) = (Vec::new(), Vec::new(), Vec::new(), 0.0_f64);
        for round in 0..ROUNDS {
            let import = import_once(&form, &path, ROWS).await;
            ours.push(import.time);
            cpu.push(import.cpu);
            peak = peak.max(import.peak_megabytes);
            if has_peer {
                peers.push(duckdb(&path, &folder.path().join(format!("peer-{round}.db"))));
            }
        }
        let (ours, cpu) = (rate(median(ours)), micros(median(cpu)) / ROWS as f64);
        let peer = if has_peer { Some(rate(median(peers))) } else { None };
        let column = |number: Option<f64>, digits: usize| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"));
        let ratio = peer.map(|peer| ours / peer);
        let (megabytes, peer, ratio) = (bytes as f64 / 1e6, column(peer, 0), column(ratio, 2));
        println!("{:>14}  {megabytes:>8.0}  {ours:>14.0}  {peer:>14}  {ratio:>6}  {cpu:>12.2}  {peak:>12.0}", form.name);
        std::fs::remove_file(path).unwrap();
    }
}

/// Peak memory while larger and larger files go through, of a feed that drops duplicates: the one thing that could grow with a file.
pub(crate) async fn memory() {
    let folder = tempfile::tempdir().unwrap();
    println!("\nmemory of the kernel while a file goes through (aim: bounded)");
    for rows in LARGER_ROWS {
        let (path, bytes) = Form::KEYED.file(folder.path(), "440600", rows).unwrap();
        let Import { time, peak_megabytes, .. } = import_once(&Form::KEYED, &path, rows).await;
        println!("{:>8.0} MB, {rows} rows: peak RSS {peak_megabytes:.0} MB, {:.0} s", bytes as f64 / 1e6, time.as_secs_f64());
        std::fs::remove_file(path).unwrap();
    }
}

/// Each feed's files of the sample province, as its platform would send them: what many small files cost, besides their rows.
pub(crate) async fn province() {
    let province = Province::of(CUSTOMERS);
    let kernel = Kernel::start().await;
    println!("\neach feed's files of a province of {CUSTOMERS} customers, through ImportFile to the disk");
    println!("{:>20}  {:>6}  {:>9}  {:>8}  {:>10}  {:>8}", "feed", "files", "rows", "MB", "rows/s", "ms/file");
    // The numbers first, since the others name them.
    let mut feeds: BTreeMap<_, BTreeMap<&str, Vec<&FileTotal>>> = BTreeMap::new();
    for total in &province.summary.files {
        feeds.entry((total.feed != "boss.number", total.feed)).or_default().entry(&total.city).or_default().push(total);
    }
    for ((_, feed), cities) in feeds {
        let files: Vec<&FileTotal> = cities.values().flatten().copied().collect();
        let rows: u64 = files.iter().map(|total| total.rows()).sum();
        let bytes: u64 = files.iter().map(|total| province.file(total).path.metadata().unwrap().len()).sum();
        let groups = cities.into_values().map(|files| files.into_iter().map(|total| province.file(total)).collect()).collect();
        let start = Instant::now();
        import_all(&kernel.call, groups, GROUPS_AT_ONCE, |_, _| true).await.unwrap();
        let seconds = start.elapsed().as_secs_f64();
        let (megabytes, per_file) = (bytes as f64 / 1e6, seconds * 1e3 / files.len() as f64);
        println!("{feed:>20}  {:>6}  {rows:>9}  {megabytes:>8.1}  {:>10.0}  {per_file:>8.1}", files.len(), rows as f64 / seconds);
    }
}

/// What each platform sends, a year of a province in one file per feed: as the kernel takes it, and as DuckDB reads the same text with the same columns.
pub(crate) async fn platforms() {
    let (province, folder) = (Province::of(CUSTOMERS), tempfile::tempdir().unwrap());
    let mut feeds: BTreeMap<&str, Vec<&FileTotal>> = BTreeMap::new();
    for total in &province.summary.files {
        feeds.entry(total.feed).or_default().push(total);
    }
    let numbers = whole(&province, &feeds["boss.number"], folder.path());
    let usage = province.file(feeds["misc.usage"][0]).path;
    let cores = std::thread::available_parallelism().unwrap();
    println!(
        "\na year of each feed as one file, through ImportFile to the disk on {cores} cores, against DuckDB with {THREADS} threads reading the same text in UTF-8"
    );
    println!("(feeds of {LEAST_ROWS} rows and more; the peer checks neither listed values nor bounds, and its digests of visitors have no key)");
    println!("{:>18}  {:>9}  {:>7}  {:>14}  {:>12}  {:>6}  {:>12}", "feed", "rows", "MB", "backplane r/s", "duckdb r/s", "ratio", "duckdb rows");
    for (feed, files) in &feeds {
        let rows: u64 = files.iter().map(|total| total.rows()).sum();
        if rows < LEAST_ROWS {
            continue;
        }
        let path = whole(&province, files, folder.path());
        let (mut ours, mut peers, mut taken, mut peer_rows) = (Vec::new(), Vec::new(), 0, String::new());
        for _ in 0..ROUNDS {
            let kernel = Kernel::start().await;
            if *feed != "boss.number" {
                import(&kernel.call, &FeedFile { feed: "boss.number".to_owned(), path: numbers.clone() }).await.unwrap();
                // The peer has read its numbers before its clock starts: a sample makes the kernel read its own.
                kernel.cli_ok(&["feed", "try", "misc.usage", &usage.to_string_lossy()]);
            }
            let start = Instant::now();
            let result = import(&kernel.call, &FeedFile { feed: (*feed).to_owned(), path: path.clone() }).await.unwrap();
            ours.push(start.elapsed());
            taken = result.rows_taken;
            let (time, rows) = duckdb_feed(feed, &path, &numbers, &folder.path().join("peer.db"));
            peers.push(time);
            peer_rows = rows;
        }
        let per_second = |time: Duration| rows as f64 / time.as_secs_f64();
        let (ours, peers) = (per_second(median(ours)), per_second(median(peers)));
        let megabytes = path.metadata().unwrap().len() as f64 / 1e6;
        println!("{feed:>18}  {taken:>9}  {megabytes:>7.1}  {ours:>14.0}  {peers:>12.0}  {:>6.2}  {peer_rows:>12}", ours / peers);
    }
}

/// All files of a feed as one of Guangzhou, with its control file.
fn whole(province: &Province, files: &[&FileTotal], folder: &Path) -> PathBuf {
    let first = files[0];
    let (name, is_csv) = (first.file.rsplit('/').next().unwrap().replace(&first.city, "440100"), first.file.ends_with(".csv"));
    let mut text = Vec::new();
    for total in files {
        let bytes = std::fs::read(province.file(total).path).unwrap();
        let start = text.len();
        match name.ends_with(".gz") {
            true => drop(GzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap()),
            false => text.extend(bytes),
        }
        if is_csv && start > 0 {
            let header = text[start..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
            text.drain(start..start + header);
        }
    }
    let path = folder.join(&name);
    match name.ends_with(".gz") {
        true => {
            let mut encoder = GzEncoder::new(File::create(&path).unwrap(), Compression::default());
            encoder.write_all(&text).unwrap();
            encoder.finish().unwrap();
        }
        false => std::fs::write(&path, &text).unwrap(),
    }
    let digest: String = Sha256::digest(std::fs::read(&path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
    let rows: u64 = files.iter().map(|total| total.rows()).sum();
    std::fs::write(folder.join(format!("{name}.ctl")), format!("{name}|{rows}|{digest}|{}", first.period)).unwrap();
    path
}

/// The time that DuckDB takes, and the rows that it has then.
fn duckdb_feed(feed: &str, path: &Path, numbers: &Path, database: &Path) -> (Duration, String) {
    let (script, contracts) = (repository().join("tests/bench/duckdb_feed.py"), repository().join("kernel/warehouse"));
    let output = bench_python().arg(script).arg(contracts).arg(feed).args([path, numbers, database]).arg(THREADS).output().unwrap();
    assert!(output.status.success(), "run 'make bench', which installs DuckDB: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(database).unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    let (seconds, rows) = answer.trim().split_once(' ').unwrap();
    (Duration::from_secs_f64(seconds.parse().unwrap()), rows.to_owned())
}

/// What one import took.
struct Import {
    time: Duration,
    /// Of the kernel, on all cores.
    cpu: Duration,
    peak_megabytes: f64,
}

/// Imports into a fresh kernel.
async fn import_once(form: &Form, path: &Path, rows: u64) -> Import {
    let kernel = Kernel::start().await;
    let contract = kernel.dir().join("bench.yaml");
    std::fs::write(&contract, form.contract()).unwrap();
    kernel.cli_ok(&["feed", "put", contract.to_str().unwrap()]);
    // The first rows ever of a dataset make its table, and later ones wait for them.
    let first = form.file(kernel.dir(), "441900", 1_000).unwrap().0;
    import(&kernel.call, &FeedFile { feed: form.name.to_owned(), path: first }).await.unwrap();
    let (start, cpu_before) = (Instant::now(), cpu_time(kernel.pid()));
    let result = import(&kernel.call, &FeedFile { feed: form.name.to_owned(), path: path.to_owned() }).await.unwrap();
    let (time, cpu) = (start.elapsed(), cpu_time(kernel.pid()) - cpu_before);
    assert_eq!(result.rows_taken, rows.cast_signed(), "{result:?}");
    Import { time, cpu, peak_megabytes: peak_megabytes(kernel.pid()) }
}

fn duckdb(path: &Path, database: &PathBuf) -> Duration {
    let script = repository().join("tests/bench/duckdb_read.py");
    let output = bench_python().arg(script).args([path, database.as_path()]).arg(THREADS).output().unwrap();
    assert!(output.status.success(), "run 'make bench', which installs DuckDB: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(database).unwrap();
    Duration::from_secs_f64(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
}

fn rate(time: Duration) -> f64 {
    ROWS as f64 / time.as_secs_f64()
}
