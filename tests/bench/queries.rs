//! Ten questions of the domain over twenty million usage rows, through the door and the guards of a kernel, beside DuckDB on its own Parquet and in its own tables and
//! chDB, in turn. All answers are compared, in whichever order their rows come. The kernel's time has gRPC, the guards and the audit in it, and it keeps plans; the peers are asked within their process.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_ipc::reader::StreamReader;
use backplane_proto::warehouse::v1::QueryRequest;
use backplane_tests::{Call, Columns, Kernel, bench_python, repository};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{process_use::peak_megabytes, timing::median};

const CITIES: [&str; 21] = [
    "440100", "440200", "440300", "440400", "440500", "440600", "440700", "440800", "440900", "441200", "441300", "441400", "441500", "441600", "441700",
    "441800", "441900", "442000", "445100", "445200", "445300",
];
const DAYS: i64 = 90;
/// 2026-01-01, in days since 1970.
const FIRST_DAY: i32 = 20_454;
const CUSTOMERS_OF_CITY: i64 = 47_619;
const ENROLMENTS: i64 = 400_000;
/// Appends on their way at the same time.
const AT_ONCE: usize = 4;
const ROUNDS: usize = 5;
/// Longer than a merge of a city's files takes, and than the kernel waits for rows before it begins one.
const MERGED_AFTER: Duration = Duration::from_secs(20);
const LOOKS_EVERY: Duration = Duration::from_millis(500);
const PEERS: [&str; 3] = ["duckdb", "duckdb tables", "chdb"];

/// What an engine says of one query.
struct Answered {
    time: Duration,
    rows: u64,
    digest: String,
}

pub(crate) async fn run(rows: i64) {
    let kernel = Kernel::start().await;
    let permissions = ["warehouse.query", "dataset.read:*", "ingest.append", "dataset.write:*"];
    let call = kernel.call.with_token(&kernel.account("bench", &permissions, &["440000"]).await);
    let start = Instant::now();
    load(&call, rows).await;
    let appended = start.elapsed();
    until_merged(&call).await;
    let (folder, start_peers) = (TempDir::new().unwrap(), Instant::now());
    let mut peers = Peers::start(folder.path(), rows);
    println!(
        "\n{rows} rows of usage: appended in {:.0} s, merged {:.0} s later, {:.0} MB on disk; made anew by DuckDB in {:.0} s",
        appended.as_secs_f64(),
        (start.elapsed() - appended - start_peers.elapsed() - MERGED_AFTER).as_secs_f64(),
        size(&kernel.dir().join("warehouse/data/main/usage")) as f64 / 1e6,
        start_peers.elapsed().as_secs_f64(),
    );
    println!("{:>30}  {:>8}  {:>8}  {:>8}  {:>13}  {:>8}   kernel / duckdb", "milliseconds, median", "rows", "kernel", "duckdb", "duckdb tables", "chdb");
    let mut ratios = vec![Vec::new(); PEERS.len()];
    for (name, sql) in domain_queries() {
        let mut times = vec![Vec::new(); 1 + PEERS.len()];
        let mut count = 0;
        for round in 0..=ROUNDS {
            let ours = ask(&call, &sql).await;
            let theirs = PEERS.map(|peer| peers.ask(peer, &sql));
            for peer in &theirs {
                assert_eq!((peer.rows, &peer.digest), (ours.rows, &ours.digest), "{name}");
            }
            count = ours.rows;
            // The first is for the caches.
            if round > 0 {
                [ours].into_iter().chain(theirs).zip(&mut times).for_each(|(answered, times)| times.push(answered.time));
            }
        }
        let medians: Vec<f64> = times.into_iter().map(|times| median(times).as_secs_f64()).collect();
        for (ratios, peer) in ratios.iter_mut().zip(&medians[1..]) {
            ratios.push(medians[0] / peer);
        }
        let [ours, parquet, tables, chdb] = [0, 1, 2, 3].map(|at| medians[at] * 1e3);
        println!("{name:>30}  {count:>8}  {ours:>8.1}  {parquet:>8.1}  {tables:>13.1}  {chdb:>8.1}   {:.2}", ours / parquet);
    }
    for (peer, ratios) in PEERS.iter().zip(ratios) {
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        println!("kernel / {peer}, geometric mean: {mean:.2}{}", if *peer == "duckdb" { " (target: at most 1.0)" } else { "" });
    }
    println!("peak RSS of the kernel: {:.0} MB", peak_megabytes(kernel.pid()));
}

/// The queries of the file, each with its name.
fn domain_queries() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(repository().join("tests/bench/domain_queries.sql")).unwrap();
    let queries = text.split("\n\n-- ").skip(1);
    queries.map(|query| query.split_once('\n').unwrap()).map(|(name, sql)| (name.to_owned(), sql.trim().trim_end_matches(';').to_owned())).collect()
}

async fn load(call: &Call, rows: i64) {
    let of_city_day = rows / (DAYS * CITIES.len() as i64);
    let usage = (0..DAYS).flat_map(|day| (0..CITIES.len() as i64).map(move |city| (day, city)));
    let appends = stream::iter(usage).map(|(day, city)| async move {
        let first = (day * CITIES.len() as i64 + city) * of_city_day;
        let mixed: Vec<i64> = (first..first + of_city_day).map(|row| row * 2_654_435_761 % 4_294_967_296).collect();
        let products: Vec<String> = mixed.iter().map(|mixed| format!("P{:02}", (mixed / 65_536 % 20).min(mixed / 2_097_152 % 20))).collect();
        let rows: Vec<(i64, &str)> = mixed.into_iter().zip(products.iter().map(String::as_str)).collect();
        let columns = Columns::of(&rows)
            .integer("customer_id", |(mixed, _)| CITIES.len() as i64 * (mixed % CUSTOMERS_OF_CITY) + city)
            .text("product_id", |(_, product)| product)
            .day("day", |_| FIRST_DAY + day as i32)
            .text("source_feed", |_| "bench")
            .integer("events", |(mixed, _)| 1 + mixed % 7)
            .integer("quantity", |(mixed, _)| mixed % 11)
            .integer("seconds", |(mixed, _)| mixed % 3_600)
            .integer("kb", |(mixed, _)| mixed % 50_000)
            .integer("fee_fen", |(mixed, _)| mixed % 5 * 10)
            .integer("ok_events", |(mixed, _)| 1 + mixed % 7 - i64::from(mixed % 13 == 0))
            .integer("failed_events", |(mixed, _)| i64::from(mixed % 13 == 0));
        call.in_city(CITIES[city as usize]).append("usage", &format!("usage-{day}-{city}"), columns).await
    });
    appends.buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await.unwrap();
    for (place, city) in (0..).zip(CITIES) {
        load_customers(&call.in_city(city), place).await;
    }
    let components: Vec<(String, String, String)> =
        (0..150).map(|row| (row / 3, row % 3)).map(|(p, k)| (format!("C{p}-{k}"), format!("K{p:03}"), format!("P{:02}", (p * 3 + k * 7) % 20))).collect();
    let columns = Columns::of(&components)
        .text("component_id", |(component, _, _)| component)
        .day("valid_from", |_| FIRST_DAY)
        .text("package_id", |(_, package, _)| package)
        .text("product_id", |(_, _, product)| product)
        .text("role", |_| "paid")
        .integer("list_price_fen", |_| 500)
        .text("measure", |_| "events");
    call.in_city("440000").append("package_component", "components", columns).await.unwrap();
}

/// The subscribers and enrolments of a city.
async fn load_customers(call: &Call, place: i64) {
    let count = CITIES.len() as i64;
    let customers: Vec<i64> = (0..CUSTOMERS_OF_CITY).map(|row| row * count + place).collect();
    let columns = Columns::of(&customers)
        .integer("customer_id", |id| *id)
        .day("valid_from", |_| FIRST_DAY - 400)
        .integer("account_id", |id| *id)
        .text("brand", |id| ["gotone", "easyown", "mzone"][(id % 3) as usize])
        .text("gender", |_| "unknown")
        .day("birth_date", |id| (id % 20_000) as i32)
        .day("joined_on", |_| FIRST_DAY - 400)
        .text("status", |_| "active")
        .text("tariff_id", |_| "T1")
        .text("value_tier", |id| ["diamond", "gold", "silver", "standard"][(id / 3 % 4) as usize]);
    call.append("subscriber", &format!("subscriber-{place}"), columns).await.unwrap();

    let customer = |enrolment: i64| (enrolment * 7_919 + 13) % (CUSTOMERS_OF_CITY * count);
    let enrolments: Vec<(i64, String, String)> =
        (0..ENROLMENTS).filter(|row| customer(*row) % count == place).map(|row| (row, format!("E{row}"), format!("K{:03}", row % 50))).collect();
    let columns = Columns::of(&enrolments)
        .text("enrolment_id", |(_, id, _)| id)
        .integer("customer_id", |(row, _, _)| customer(*row))
        .instant("at", |_| i64::from(FIRST_DAY) * 86_400_000_000)
        .text("package_id", |(_, _, package)| package)
        .text("channel_id", |_| "hall")
        .day("starts_on", |(row, _, _)| FIRST_DAY - 31 + (row % 100) as i32)
        .day("ends_on", |_| FIRST_DAY + 700)
        .text("status", |_| "active");
    call.append("enrolment", &format!("enrolment-{place}"), columns).await.unwrap();
}

/// Waits until no merge has made a snapshot for so long that none is on its way: a kernel does not say when it is done.
async fn until_merged(call: &Call) {
    let (mut newest, mut since) = (0, Instant::now());
    while since.elapsed() < MERGED_AFTER {
        let snapshot_id = answer(call, "select 1").await.0;
        if snapshot_id != newest {
            (newest, since) = (snapshot_id, Instant::now());
        }
        tokio::time::sleep(LOOKS_EVERY).await;
    }
}

/// The bytes of the files of a folder and of those in it.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| if entry.path().is_dir() { size(&entry.path()) } else { entry.metadata().unwrap().len() }).sum()
}

/// The snapshot of an answer, and the Arrow stream.
async fn answer(call: &Call, sql: &str) -> (i64, Vec<u8>) {
    let mut request = tonic::Request::new(QueryRequest { sql: sql.to_owned(), ..QueryRequest::default() });
    request.set_timeout(Duration::from_secs(600));
    let mut answers = call.warehouse().query(request).await.unwrap().into_inner();
    let (mut snapshot_id, mut ipc) = (0, Vec::new());
    while let Some(answer) = answers.message().await.unwrap() {
        snapshot_id = snapshot_id.max(answer.snapshot_id);
        ipc.extend_from_slice(&answer.ipc);
    }
    (snapshot_id, ipc)
}

async fn ask(call: &Call, sql: &str) -> Answered {
    let start = Instant::now();
    let (_, ipc) = answer(call, sql).await;
    let batches: Vec<RecordBatch> = StreamReader::try_new(ipc.as_slice(), None).unwrap().map(Result::unwrap).collect();
    let time = start.elapsed();
    let mut lines: Vec<String> = batches.iter().flat_map(lines).collect();
    lines.sort_unstable();
    let digest = Sha256::digest(lines.join("\n")).iter().map(|byte| format!("{byte:02x}")).collect();
    Answered { time, rows: lines.len() as u64, digest }
}

fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default();
    let columns: Vec<ArrayFormatter<'_>> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|")).collect()
}

/// The process that has DuckDB and chDB.
struct Peers {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peers {
    fn start(folder: &Path, rows: i64) -> Peers {
        let script = repository().join("tests/bench/engines.py");
        let threads = std::thread::available_parallelism().unwrap();
        let mut process =
            bench_python().arg(script).arg(folder).args([rows.to_string(), threads.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (requests, answers) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let mut peers = Peers { process, requests, answers };
        assert_eq!(peers.line()["ready"], true);
        peers
    }

    fn ask(&mut self, engine: &str, sql: &str) -> Answered {
        writeln!(self.requests, "{}", json!({"engine": engine, "sql": sql})).unwrap();
        let answer = self.line();
        Answered {
            time: Duration::from_secs_f64(answer["seconds"].as_f64().unwrap()),
            rows: answer["rows"].as_u64().unwrap(),
            digest: answer["digest"].as_str().unwrap().to_owned(),
        }
    }

    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
