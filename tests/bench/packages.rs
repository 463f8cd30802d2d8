//! What it takes to value marketing packages: package-monitor's job over the whole province, one month; and how fast it says whether a customer may take a package.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use backplane_proto::plugin::v1::{RunJobRequest, RunJobResponse};
use backplane_tests::{Kernel, Province, import_all, package_monitor};
use sample_province::FileTotal;

use crate::{
    package_monitor_v1::{CheckEnrolmentRequest, package_monitor_client::PackageMonitorClient},
    process_use::{forget_peak, peak_megabytes},
    timing::{micros, percentiles},
};

/// What the job reads comes from these feeds, all of their files; and from these, the files of the month.
const FEEDS: [&str; 7] = ["boss.number", "boss.subscriber", "boss.package", "boss.component", "boss.tariff", "boss.relation", "boss.enrolment"];
const FEEDS_OF_MONTH: [&str; 3] = ["boss.charge", "misc.usage", "base.activity"];
const GROUPS_AT_ONCE: usize = 2;

/// A city's month.
struct CityMonth {
    time: Duration,
    enrolments: i64,
    plugin_megabytes: f64,
}

/// Values the last month of a province of so many customers, city by city.
pub(crate) async fn run(customers: u32) {
    let start = Instant::now();
    let province = Province::of(customers);
    let kernel = Kernel::start().await;
    let month = province.summary.files.iter().filter(|total| total.feed == "boss.charge").map(|total| total.period.clone()).max().unwrap();
    println!("\npackage-monitor values {month} of a province of {customers} customers ({:.0} s to write its files)", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let rows = import_month(&kernel, &province, &month).await;
    println!("{rows} rows of {} feeds imported in {:.0} s", FEEDS.len() + FEEDS_OF_MONTH.len(), start.elapsed().as_secs_f64());
    let version = kernel.install(&std::fs::read(package_monitor()).unwrap()).await.unwrap();
    let cities: BTreeSet<&str> = province.summary.files.iter().filter(|total| total.feed == "boss.charge").map(|total| total.city.as_str()).collect();
    for city in &cities {
        kernel.enable(&version, city).await.unwrap();
    }

    forget_peak(kernel.pid());
    let start = Instant::now();
    let mut months = BTreeMap::new();
    for city in &cities {
        months.insert(*city, value_month(&kernel, city, &month).await);
    }
    let time = start.elapsed();
    let row = |name: &str, enrolments: i64, time: Duration, megabytes: f64| {
        let (seconds, per_second) = (time.as_secs_f64(), enrolments as f64 / time.as_secs_f64());
        println!("{name:>10}  {enrolments:>10}  {seconds:>8.2}  {per_second:>12.0}  {megabytes:>10.0}");
    };
    println!("{:>10}  {:>10}  {:>8}  {:>12}  {:>10}", "city", "enrolments", "s", "enrolments/s", "plugin MB");
    let (largest, of_largest) = months.iter().max_by_key(|(_, month)| month.enrolments).unwrap();
    row(largest, of_largest.enrolments, of_largest.time, of_largest.plugin_megabytes);
    let plugin_megabytes = months.values().map(|month| month.plugin_megabytes).fold(0.0, f64::max);
    row("province", months.values().map(|month| month.enrolments).sum(), time, plugin_megabytes);
    println!("peak RSS of the kernel while it was valued: {:.0} MB", peak_megabytes(kernel.pid()));
    checks(&kernel, largest).await;
}

/// Asks for many customers of a city whether they may take a package, one after another.
async fn checks(kernel: &Kernel, city: &str) {
    let answer = kernel.cli_ok(&["query", "select customer_id from subscriber order by customer_id % 997, customer_id limit 2000", "--city", city, "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let customers: Vec<i64> = answer["rows"].as_array().unwrap().iter().map(|row| row["customer_id"].as_i64().unwrap()).collect();
    let mut client = PackageMonitorClient::new(kernel.call.in_city(city).service());
    let mut times = Vec::new();
    for (place, customer_id) in customers.iter().enumerate() {
        let package_id = format!("K{:03}", place % 20 + 1);
        let request = CheckEnrolmentRequest { customer_id: *customer_id, package_id, ..CheckEnrolmentRequest::default() };
        let start = Instant::now();
        client.check_enrolment(request).await.unwrap();
        times.push(start.elapsed());
    }
    let (median, p99) = percentiles(times);
    println!(
        "CheckEnrolment, {} customers one after another: median {:.1} ms, 99 % {:.1} ms (target: 99 % at most 5 ms)",
        customers.len(),
        micros(median) / 1e3,
        micros(p99) / 1e3
    );
}

async fn import_month(kernel: &Kernel, province: &Province, month: &str) -> u64 {
    let is_read = |total: &&FileTotal| FEEDS.contains(&total.feed) || FEEDS_OF_MONTH.contains(&total.feed) && total.period.starts_with(month);
    let files: Vec<&FileTotal> = province.summary.files.iter().filter(is_read).collect();
    // The numbers first, since the others name them.
    for numbers in [true, false] {
        let mut groups: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
        for total in files.iter().filter(|total| (total.feed == "boss.number") == numbers) {
            groups.entry((total.feed, &total.city)).or_default().push(province.file(total));
        }
        import_all(&kernel.call, groups.into_values().collect(), GROUPS_AT_ONCE, |_, _| true).await.unwrap();
    }
    files.iter().map(|total| total.rows()).sum()
}

async fn value_month(kernel: &Kernel, city: &str, month: &str) -> CityMonth {
    let (year, number) = month.split_at(4);
    let month = format!("{year}-{number}");
    let request = RunJobRequest {
        plugin_id: "package-monitor".to_owned(),
        city: city.to_owned(),
        job: "value-months".to_owned(),
        parameters_json: format!(r#"{{"from": "{month}", "to": "{month}"}}"#),
    };
    let start = Instant::now();
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_secs(3_600));
    let mut steps = kernel.call.plugins().run_job(request).await.unwrap().into_inner();
    let mut last = RunJobResponse::default();
    while let Some(step) = steps.message().await.unwrap() {
        last = step;
    }
    let outcome: serde_json::Value = serde_json::from_str(&last.result_json).unwrap();
    assert_eq!(outcome["valued"], serde_json::json!([month]), "{outcome}");
    CityMonth { time: start.elapsed(), enrolments: outcome["enrolments"].as_i64().unwrap(), plugin_megabytes: last.memory_bytes_peak as f64 / 1e6 }
}
