//! package-monitor on the sample province, through the doors: the job's figures against the bills, against the generator's answer key, and after late lines.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use backplane_proto::plugin::v1::RunJobRequest;
use backplane_tests::{Columns, FeedFile, Kernel, Province, import, import_all, package_monitor};
use flate2::read::GzDecoder;
use sample_province::FileTotal;
use serde_json::{Value, json};

use self::figures::{call, every_amount_is_the_sum_of_its_parts, rows, the_figures_are_those_of_the_audit, value_months, whole};

pub(crate) mod figures;
mod findings;

/// Huizhou and Dongguan, which piloted it.
const HUIZHOU: &str = "441300";
const DONGGUAN: &str = "441900";
/// θ by default.
const THETA: &str = "0.3";
const LIST_MONTHS: &str = "package_monitor.v1.PackageMonitor/ListMonths";
const LIST_PACKAGES: &str = "package_monitor.v1.PackageMonitor/ListPackages";

/// What the plugin reads comes from these feeds; the numbers first.
const FEEDS: [&str; 10] = [
    "boss.number",
    "boss.subscriber",
    "boss.package",
    "boss.component",
    "boss.tariff",
    "boss.relation",
    "boss.enrolment",
    "boss.charge",
    "misc.usage",
    "base.activity",
];

/// A kernel with a province's files of these feeds and cities, and the plugin enabled in each with this configuration.
async fn kernel(province: &Province, feeds: &[&str], cities: &[&str], configuration: &str) -> Kernel {
    let wasm = std::fs::read(package_monitor()).unwrap();
    let kernel = Kernel::start().await;
    let mut groups: BTreeMap<_, Vec<FeedFile>> = BTreeMap::new();
    let is_read = |city: &str, feed: &str| feeds.contains(&feed) && (cities.contains(&city) || city == "440000");
    for total in province.summary.files.iter().filter(|total| is_read(&total.city, total.feed) && !total.file.starts_with("late/")) {
        groups.entry((total.feed != "boss.number", total.feed, &total.city)).or_default().push(province.file(total));
    }
    import_all(&kernel.call, groups.into_values().collect(), 4, |_, _| true).await.unwrap();
    let version = kernel.install(&wasm).await.unwrap();
    for city in cities {
        kernel.enable_with(&version, city, configuration).await.unwrap();
    }
    kernel
}

/// A city large enough that an agent's flood is more than chance; bills and enrolments are all that the question takes.
#[tokio::test]
async fn the_agent_who_floods_is_found() {
    let province = Province::of(5_000);
    let feeds = ["boss.package", "boss.component", "boss.relation", "boss.enrolment", "boss.charge"];
    let kernel = kernel(&province, &feeds, &[DONGGUAN], r#"{"use_feeds": []}"#).await;
    assert_eq!(value_months(&kernel, DONGGUAN, "{}")["not_valued"], json!([]));
    findings::the_flooding_agent_is_found(&kernel, &province);

    // A branch with other thresholds: no source reaches the one, and one cancellation within a year is enough for the other.
    let version = kernel.install(&std::fs::read(package_monitor()).unwrap()).await.unwrap();
    let thresholds = r#"{"use_feeds": [], "surge_enrolments_min": 1000000, "cancels_min": 1, "cancelled_within_days": 366}"#;
    kernel.enable_with(&version, DONGGUAN, thresholds).await.unwrap();
    assert_eq!(value_months(&kernel, DONGGUAN, "{}")["valued"].as_array().unwrap().len(), 12, "valued anew under the new configuration");
    findings::other_thresholds_are_held_to(&kernel, DONGGUAN);
}

#[tokio::test]
async fn the_months_of_two_cities_are_valued_to_the_fen() {
    let kernel = kernel(Province::least(), &FEEDS, &[HUIZHOU, DONGGUAN], "").await;
    for city in [HUIZHOU, DONGGUAN] {
        let outcome = value_months(&kernel, city, "{}");
        assert_eq!(outcome["valued"].as_array().unwrap().len(), 12, "{outcome}");
        every_amount_is_the_sum_of_its_parts(&kernel, city);
        the_figures_are_those_of_the_audit(&kernel, city, THETA);
        booked_is_what_the_bills_say(&kernel, city);
        silent_and_under_used_are_those_of_the_key(&kernel, city);
        lists_sum_to_their_month(&kernel, city);
        findings::conflicts_are_those_of_the_key(&kernel, city);
        findings::nobody_is_called_abnormal_but_the_flooding_agent(&kernel, city);
        findings::takes_and_cancels_are_those_of_the_key(&kernel, city);
        findings::customers_pay_for_what_they_do_not_use(&kernel, city);
        // Nothing is stale: nothing is done again.
        assert_eq!(value_months(&kernel, city, "{}")["valued"], json!([]));
        let before = whole(&rows(&kernel, city, REVISIONS)[0]["n"]);
        value_months(&kernel, city, r#"{"from": "2026-09"}"#);
        assert_eq!(whole(&rows(&kernel, city, REVISIONS)[0]["n"]), before, "the same figures again restate no enrolment");
    }
    a_late_line_restates_its_month_and_those_after_it(&kernel, DONGGUAN).await;
    what_a_branch_makes_of_a_package_holds_there_alone(&kernel, DONGGUAN, HUIZHOU).await;
    a_month_that_is_not_complete_has_no_figures(&kernel, HUIZHOU).await;
    bills_of_a_month_without_figures_are_carried(&kernel, HUIZHOU).await;
    lines_that_no_figure_has_are_listed(&kernel, HUIZHOU).await;
    the_province_answers_for_its_cities_together(&kernel).await;
    a_stopped_run_leaves_the_figures_of_before(&kernel, HUIZHOU).await;
    findings::problems_of_the_rules_are_found(&kernel, HUIZHOU).await;
    findings::nobody_asks_without_the_right(&kernel, HUIZHOU, DONGGUAN).await;
}

/// A city that has a component of its own for a package of the province: its enrolments there are split by that one, those of the other city as before.
async fn what_a_branch_makes_of_a_package_holds_there_alone(kernel: &Kernel, city: &str, other_city: &str) {
    let package = "select c.package_id from package_component c join enrolment e on e.package_id = c.package_id
                   where c.valid_from <= date '2025-11-01' and c.valid_to is null group by 1 having count(distinct c.component_id) > 1
                   order by count(distinct e.enrolment_id) desc, 1 limit 1";
    let package = rows(kernel, city, package).remove(0)["package_id"].as_str().unwrap().to_owned();
    let columns = Columns::of(&["Z1"])
        .text("component_id", |id| id)
        .day("valid_from", |_| 18_262)
        .text("package_id", |_| package.as_str())
        .text("product_id", |_| "P-OWN")
        .text("role", |_| "paid")
        .integer("list_price_fen", |_| 100)
        .text("measure", |_| "events");
    kernel.call.in_city(city).append("package_component", "own", columns).await.unwrap();
    let components = |city: &str| {
        let sql = format!(
            "select distinct c.component_id from package_monitor.component_value c join enrolment e on e.enrolment_id = c.enrolment_id
             where e.package_id = '{package}' and c.state <> 'withdrawn' order by 1"
        );
        rows(kernel, city, &sql).iter().map(|row| row["component_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let before = components(other_city);
    assert!(before.len() > 1 && value_months(kernel, city, "{}")["valued"].as_array().unwrap().len() == 12, "{before:?}");
    assert_eq!(components(city), ["Z1"]);
    every_amount_is_the_sum_of_its_parts(kernel, city);
    the_figures_are_those_of_the_audit(kernel, city, THETA);
    assert_eq!((value_months(kernel, other_city, "{}")["valued"].clone(), components(other_city)), (json!([]), before));
}

const REVISIONS: &str = "select sum(revision) as n from package_monitor.enrolment_value";

/// Another route to the booked amounts: every line in the order of months, carried by hand.
fn booked_is_what_the_bills_say(kernel: &Kernel, city: &str) {
    let lines = rows(
        kernel,
        city,
        "select c.enrolment_id, left(cast(c.month as varchar), 7) as month, sum(case when c.kind in ('package', 'fee', 'refund', 'adjustment') then c.amount_fen else 0 end) as fen
         from charge c join enrolment e on e.enrolment_id = c.enrolment_id group by 1, 2",
    );
    let mut bills: BTreeMap<(String, String), i64> = BTreeMap::new();
    for line in &lines {
        bills.insert((line["enrolment_id"].as_str().unwrap().to_owned(), line["month"].as_str().unwrap().to_owned()), whole(&line["fen"]));
    }
    let valued = rows(
        kernel,
        city,
        "select enrolment_id, left(cast(month as varchar), 7) as month, booked_fen, carried_fen from package_monitor.enrolment_value where not withdrawn order by 1, 2",
    );
    let (mut carried, mut named) = (BTreeMap::<String, i64>::new(), BTreeSet::new());
    for value in &valued {
        let key = (value["enrolment_id"].as_str().unwrap().to_owned(), value["month"].as_str().unwrap().to_owned());
        let sum = bills.get(&key).copied().unwrap_or(0) + carried.get(&key.0).copied().unwrap_or(0);
        assert_eq!((whole(&value["booked_fen"]), whole(&value["carried_fen"])), (sum.max(0), sum.min(0)), "{key:?}");
        carried.insert(key.0.clone(), sum.min(0));
        named.insert(key);
    }
    assert!(bills.keys().all(|key| named.contains(key)), "every enrolment that a line names has a row in that month");
    assert!(valued.len() > 100, "{} rows", valued.len());
}

/// The generator judged each component while it wrote the use; the plugin read bills and files.
fn silent_and_under_used_are_those_of_the_key(kernel: &Kernel, city: &str) {
    let path = Province::least().path().join(format!("answer-key/silent.{city}.csv.gz"));
    let mut key = String::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut key).unwrap();
    let planted: BTreeSet<String> = key.lines().skip(1).map(str::to_owned).collect();
    let found = rows(
        kernel,
        city,
        "select c.enrolment_id, left(cast(c.month as varchar), 7) as month, c.component_id, c.used, c.entitlement, c.state
         from package_monitor.component_value c join package_monitor.enrolment_value v on v.enrolment_id = c.enrolment_id and v.month = c.month
         where c.state in ('silent', 'under_used') and v.in_force",
    );
    let found: BTreeSet<String> = found
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            let entitlement = whole(&row["entitlement"]);
            let entitlement = if entitlement == 0 { String::new() } else { entitlement.to_string() };
            format!("{},{},{},{},{entitlement},{}", text("enrolment_id"), text("month"), text("component_id"), whole(&row["used"]), text("state"))
        })
        .collect();
    let (missed, invented): (Vec<_>, Vec<_>) = (planted.difference(&found).take(5).collect(), found.difference(&planted).take(5).collect());
    assert!(missed.is_empty() && invented.is_empty(), "of {} planted, missed {missed:?}, invented {invented:?}", planted.len());
    assert!(planted.len() > 100, "{}", planted.len());
}

fn lists_sum_to_their_month(kernel: &Kernel, city: &str) {
    let months = call(kernel, city, LIST_MONTHS, &json!({}));
    let march = months["months"].as_array().unwrap().iter().find(|month| month["month"] == "2026-03").unwrap().clone();
    assert_eq!((&march["valued"], &march["revision"]), (&json!(true), &json!("1")), "{march}");
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    let (mut page_token, mut shares) = (String::new(), Vec::new());
    loop {
        let page = call(kernel, city, LIST_PACKAGES, &json!({"month": "2026-03", "pageSize": 7, "pageToken": page_token}));
        for package in page["packages"].as_array().unwrap() {
            assert_ne!(package["nameZh"], "", "{package}");
            for part in ["bookedFen", "realFen", "virtualFen", "giftedFen", "swappedFen"] {
                *sums.entry(part).or_default() += whole(&package["value"][part]);
            }
            *sums.entry("enrolments").or_default() += whole(&package["enrolments"]);
            shares.push(whole(&package["value"]["virtualFen"]) as f64 / whole(&package["value"]["bookedFen"]).max(1) as f64);
        }
        page_token = page["nextPageToken"].as_str().unwrap().to_owned();
        if page_token.is_empty() {
            break;
        }
    }
    for (part, sum) in &sums {
        let of_month = if *part == "enrolments" { whole(&march["enrolments"]) } else { whole(&march["value"][*part]) };
        assert_eq!(*sum, of_month, "{part}");
    }
    assert!(shares.is_sorted_by(|one, other| one >= other) && shares.len() > 3, "{shares:?}");

    let package = call(kernel, city, LIST_PACKAGES, &json!({"month": "2026-03", "pageSize": 1}))["packages"][0].clone();
    let of_package = json!({"month": "2026-03", "packageId": package["packageId"], "pageSize": 1000});
    let enrolments = call(kernel, city, "package_monitor.v1.PackageMonitor/ListEnrolments", &of_package);
    let drilled: i64 = enrolments["enrolments"].as_array().unwrap().iter().map(|row| whole(&row["value"]["virtualFen"])).sum();
    assert_eq!(drilled, whole(&package["value"]["virtualFen"]), "a figure is the sum of its subscribers");
    packages_are_ranked_by_each_share(kernel, city);
    components_are_those_of_their_enrolments(kernel, city, &package["packageId"]);
    trends_of_channels_and_cohorts_sum_to_their_package(kernel, city, &package["packageId"]);
    for grouping in ["GROUPING_MONTH", "GROUPING_CHANNEL", "GROUPING_AGENT", "GROUPING_COHORT", "GROUPING_AGE"] {
        let groups = json!({"packageId": package["packageId"], "fromMonth": "2026-03", "toMonth": "2026-03", "groupBy": grouping});
        let groups = call(kernel, city, "package_monitor.v1.PackageMonitor/ListPackageGroups", &groups);
        let booked: i64 = groups["groups"].as_array().unwrap().iter().map(|group| whole(&group["value"]["bookedFen"])).sum();
        assert_eq!(booked, whole(&package["value"]["bookedFen"]), "{grouping}");
    }
}

fn packages_are_ranked_by_each_share(kernel: &Kernel, city: &str) {
    for (part, field) in [("PART_VIRTUAL", "virtualFen"), ("PART_GIFTED", "giftedFen"), ("PART_SWAPPED", "swappedFen"), ("PART_REAL", "realFen")] {
        let packages = findings::listed(kernel, city, "ListPackages", "packages", &json!({"month": "2026-03", "rankBy": part, "pageSize": 5}));
        // As fractions of whole fen, without dividing.
        let amounts: Vec<(i128, i128)> =
            packages.iter().map(|package| (whole(&package["value"][field]).into(), whole(&package["value"]["bookedFen"]).into())).collect();
        let is_before = |(one, of_one): &(i128, i128), (other, of_other): &(i128, i128)| *of_other == 0 || (*of_one > 0 && one * of_other >= other * of_one);
        assert!(amounts.is_sorted_by(is_before) && amounts.iter().any(|(amount, _)| *amount > 0), "{part}: {amounts:?}");
    }
}

/// The components of each enrolment make up its figures, and each state has its own.
fn components_are_those_of_their_enrolments(kernel: &Kernel, city: &str, package_id: &Value) {
    let of_package = |more: Value| {
        let mut request = json!({"month": "2026-03", "packageId": package_id, "pageSize": 50});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let components = findings::listed(kernel, city, "ListComponents", "components", &of_package(json!({})));
    let mut sums: BTreeMap<&str, (i64, i64, i64)> = BTreeMap::new();
    for component in &components {
        let (allocated, unused, count) = sums.entry(component["enrolmentId"].as_str().unwrap()).or_default();
        *allocated += whole(&component["allocatedFen"]);
        *unused += whole(&component["virtualFen"]);
        *count += 1;
    }
    let enrolments = findings::listed(kernel, city, "ListEnrolments", "enrolments", &of_package(json!({})));
    for enrolment in &enrolments {
        let value = &enrolment["value"];
        let expected = (whole(&value["bookedFen"]), whole(&value["virtualFen"]), whole(&enrolment["components"]));
        assert_eq!(sums[enrolment["enrolmentId"].as_str().unwrap()], expected, "{enrolment}");
    }
    assert_eq!(sums.len(), enrolments.len());
    for (state, field) in [("COMPONENT_STATE_SILENT", "silentComponents"), ("COMPONENT_STATE_UNDER_USED", "underUsedComponents")] {
        let listed = findings::listed(kernel, city, "ListComponents", "components", &of_package(json!({"state": state})));
        let counted: i64 = enrolments.iter().filter(|enrolment| enrolment["inForce"] == true).map(|enrolment| whole(&enrolment[field])).sum();
        assert_eq!(listed.len() as i64, counted, "{state}");
        assert!(listed.iter().all(|component| component["state"] == state && component["inForce"] == true));
    }
    let some = &components[0];
    let of_one = json!({"enrolmentId": some["enrolmentId"], "componentId": some["componentId"], "customerId": some["customerId"]});
    assert_eq!(findings::listed(kernel, city, "ListComponents", "components", &of_package(of_one)), std::slice::from_ref(some));
}

/// One package by month, of each channel and each cohort: together they are the package by month.
fn trends_of_channels_and_cohorts_sum_to_their_package(kernel: &Kernel, city: &str, package_id: &Value) {
    let groups = |filter: Value| {
        let mut request = json!({"packageId": package_id, "fromMonth": "2026-01", "toMonth": "2026-06", "groupBy": "GROUPING_MONTH", "pageSize": 100});
        request.as_object_mut().unwrap().extend(filter.as_object().unwrap().clone());
        findings::listed(kernel, city, "ListPackageGroups", "groups", &request)
    };
    let booked = |groups: &[Value]| -> BTreeMap<String, i64> {
        groups.iter().map(|group| (group["group"].as_str().unwrap().to_owned(), whole(&group["value"]["bookedFen"]))).collect()
    };
    let whole_trend = booked(&groups(json!({})));
    assert!(whole_trend.len() > 1, "{whole_trend:?}");
    for (grouping, field) in [("GROUPING_CHANNEL", "channelId"), ("GROUPING_COHORT", "joinedMonth")] {
        let mut sums: BTreeMap<String, i64> = whole_trend.keys().map(|month| (month.clone(), 0)).collect();
        for group in groups(json!({"groupBy": grouping})) {
            for (month, fen) in booked(&groups(json!({(field): group["group"]}))) {
                *sums.get_mut(&month).unwrap() += fen;
            }
        }
        assert_eq!(sums, whole_trend, "{grouping}");
    }
    let of_agents = booked(&groups(json!({"groupBy": "GROUPING_AGENT"})));
    let alone: i64 = booked(&groups(json!({"withoutAgent": true}))).values().sum();
    assert_eq!(of_agents.get("").copied().unwrap_or(0), alone);
}

async fn a_late_line_restates_its_month_and_those_after_it(kernel: &Kernel, city: &str) {
    let revisions = || -> BTreeMap<String, i64> {
        let months = call(kernel, city, LIST_MONTHS, &json!({}));
        let months = months["months"].as_array().unwrap().iter();
        months.map(|month| (month["month"].as_str().unwrap().to_owned(), whole(&month["revision"]))).collect()
    };
    let before = revisions();
    let some = "select e.enrolment_id, e.customer_id, v.booked_fen from package_monitor.enrolment_value v join enrolment e on e.enrolment_id = v.enrolment_id
                where v.month = date '2026-05-01' and v.booked_fen > 0 order by 1 limit 1";
    let some = rows(kernel, city, some).remove(0);
    let (enrolment, customer, booked) = (some["enrolment_id"].as_str().unwrap(), whole(&some["customer_id"]), whole(&some["booked_fen"]));
    let booked_in_all = || whole(&rows(kernel, city, "select sum(booked_fen) as fen from package_monitor.enrolment_value").remove(0)["fen"]);
    let (booked_before, valued_at) = (booked_in_all(), answer(kernel, &["select 1 as one", "--city", city])["snapshot_id"].to_string());
    // A refund of more than what was booked, posted much later: the rest is carried into June.
    let refund = booked + 300;
    append_refund(kernel, city, "late-1", MAY, enrolment, customer, refund).await;

    let outcome = value_months(kernel, city, "{}");
    let months: Vec<&str> = outcome["valued"].as_array().unwrap().iter().map(|month| month.as_str().unwrap()).collect();
    let from_may: Vec<&str> = before.keys().map(String::as_str).filter(|month| *month >= "2026-05").collect();
    assert_eq!(months, from_may);
    let after = format!(
        "select left(cast(month as varchar), 7) as month, booked_fen, carried_fen, revision from package_monitor.enrolment_value where enrolment_id = '{enrolment}' and month >= date '2026-05-01' order by 1"
    );
    let after = rows(kernel, city, &after);
    assert_eq!((whole(&after[0]["booked_fen"]), whole(&after[0]["carried_fen"]), whole(&after[0]["revision"])), (0, -300, 2), "{after:?}");
    every_amount_is_the_sum_of_its_parts(kernel, city);
    the_figures_are_those_of_the_audit(kernel, city, THETA);
    booked_is_what_the_bills_say(kernel, city);
    let restated = revisions();
    assert_eq!(restated["2026-04"], before["2026-04"]);
    assert!(restated["2026-05"] > before["2026-05"], "the month says that it was restated");
    let changed = "select sum(_change * booked_fen) as fen, count(*) as n from changes.package_monitor.enrolment_value";
    let changed = answer(kernel, &[changed, "--city", city, "--changes-after", &valued_at])["rows"][0].clone();
    assert_eq!((whole(&changed["fen"]), whole(&changed["n"]) % 2), (booked_in_all() - booked_before, 0), "values that others replace go: {changed}");
}

fn answer(kernel: &Kernel, query: &[&str]) -> Value {
    serde_json::from_str(&kernel.cli_ok(&[&["query", "--json"], query].concat())).unwrap()
}

/// The province's figures are its cities' together, and a city that is not valued is named.
async fn the_province_answers_for_its_cities_together(kernel: &Kernel) {
    let version = kernel.install(&std::fs::read(package_monitor()).unwrap()).await.unwrap();
    kernel.enable(&version, "440000").await.unwrap();
    let month = json!({"month": "2026-03", "pageSize": 1000});
    let booked = |city: &str| -> BTreeMap<String, i64> {
        let packages = call(kernel, city, LIST_PACKAGES, &month);
        let packages = packages["packages"].as_array().unwrap().iter();
        packages.map(|package| (package["packageId"].as_str().unwrap().to_owned(), whole(&package["value"]["bookedFen"]))).collect()
    };
    let mut together = booked(HUIZHOU);
    for (package, fen) in booked(DONGGUAN) {
        *together.entry(package).or_default() += fen;
    }
    assert_eq!(booked("440000"), together);

    let (package, fen) = together.iter().max_by_key(|(_, fen)| **fen).unwrap();
    let by_city = json!({"packageId": package, "fromMonth": "2026-03", "toMonth": "2026-03", "groupBy": "GROUPING_CITY"});
    let by_city = call(kernel, "440000", "package_monitor.v1.PackageMonitor/ListPackageGroups", &by_city);
    let groups: Vec<(&str, i64)> =
        by_city["groups"].as_array().unwrap().iter().map(|group| (group["group"].as_str().unwrap(), whole(&group["value"]["bookedFen"]))).collect();
    assert_eq!(groups.iter().map(|(city, _)| *city).collect::<Vec<_>>(), [HUIZHOU, DONGGUAN]);
    assert_eq!(groups.iter().map(|(_, fen)| fen).sum::<i64>(), *fen);
    let months = call(kernel, "440000", LIST_MONTHS, &json!({}));
    assert_eq!(months["months"].as_array().unwrap().iter().filter(|month| month["month"] == "2026-03").count(), 2);

    // A third city has bills of the month, and nobody has run the job there.
    let line = [900_i64];
    let columns = Columns::of(&line).text("bill_id", |_| "jieyang-1").integer("line_no", |_| 1).integer("customer_id", |_| 1).day("month", |_| 20_513);
    let columns = columns.instant("posted_at", |_| 1_772_600_000_000_000).text("item", |_| "a test").integer("amount_fen", |fen| *fen).text("kind", |_| "fee");
    kernel.call.in_city("445200").append("charge", "jieyang-1", columns).await.unwrap();
    let refusal = kernel.cli_err(&["plugin", "call", LIST_PACKAGES, r#"{"month": "2026-03"}"#, "--city", "440000"]);
    assert!(refusal.contains("MONTH_NOT_VALUED") && refusal.contains("445200"), "{refusal}");
}

/// The first of May 2026.
const MAY: i32 = 20_574;

/// A refund of a month that was booked in November, as billing would append it.
async fn append_refund(kernel: &Kernel, city: &str, bill_id: &str, month: i32, enrolment_id: &str, customer_id: i64, fen: i64) {
    // Posted at noon of 20 November 2026, UTC.
    let refunds = [-fen];
    let columns = Columns::of(&refunds)
        .text("bill_id", |_| bill_id)
        .integer("line_no", |_| 1)
        .integer("customer_id", |_| customer_id)
        .day("month", |_| month)
        .instant("posted_at", |_| 1_795_176_000_000_000)
        .text("enrolment_id", |_| enrolment_id)
        .text("item", |_| "late")
        .integer("amount_fen", |fen| *fen)
        .text("kind", |_| "refund");
    kernel.call.in_city(city).append("charge", bill_id, columns).await.unwrap();
}

/// Whoever runs the job goes away after its first steps: some months are about to be replaced, or half replaced. Until the next run, answers are those of before.
async fn a_stopped_run_leaves_the_figures_of_before(kernel: &Kernel, city: &str) {
    let ask = |city: &str, month: &str| {
        let mut packages = call(kernel, city, LIST_PACKAGES, &json!({"month": month, "pageSize": 1000}));
        let snapshot_id = whole(&packages.as_object_mut().unwrap().remove("snapshotId").unwrap());
        (packages, snapshot_id)
    };
    // What was booked becomes less from June on.
    let before = ask(city, "2026-06");
    let some = "select enrolment_id, customer_id from package_monitor.enrolment_value where month = date '2026-06-01' and booked_fen > 300 order by 1 limit 1";
    let some = rows(kernel, city, some).remove(0);
    append_refund(kernel, city, "stopped-1", MAY + 31, some["enrolment_id"].as_str().unwrap(), whole(&some["customer_id"]), 300).await;
    let request =
        RunJobRequest { plugin_id: "package-monitor".to_owned(), city: city.to_owned(), job: "value-months".to_owned(), parameters_json: String::new() };
    let mut steps = kernel.call.plugins().run_job(request.clone()).await.unwrap().into_inner();
    for _ in 0..2 {
        steps.message().await.unwrap().unwrap();
    }
    drop(steps);
    let standing = rows(kernel, city, "select min(figures_snapshot_id) as at from package_monitor.month where status = 'valuing'").remove(0);
    let whole_at = whole(&standing["at"]);
    for city in [city, "440000"] {
        let (packages, snapshot_id) = ask(city, "2026-09");
        assert!(!packages["packages"].as_array().unwrap().is_empty() && snapshot_id == whole_at, "in {city} at {snapshot_id}, not {whole_at}");
    }
    let (_, snapshot_id) = ask(city, "2026-05");
    assert!(snapshot_id > whole_at, "nobody replaces what was before");
    let months = call(kernel, city, LIST_MONTHS, &json!({}));
    let september = months["months"].as_array().unwrap().iter().find(|month| month["month"] == "2026-09").unwrap().clone();
    assert!(september["valued"] == true && september["reason"].as_str().unwrap().contains("are being replaced"), "{september}");

    // The step that was on its way comes to its end first.
    while let Err(status) = run_to_its_end(kernel, &request).await {
        assert!(status.message().contains("wait for its end"), "{status}");
        tokio::task::yield_now().await;
    }
    let after = ask(city, "2026-06");
    assert!(after.1 > whole_at && after.0 != before.0, "{after:?}");
    assert_eq!(rows(kernel, city, "select count(*) as n from package_monitor.month where status <> 'valued'")[0]["n"], 0);
    the_figures_are_those_of_the_audit(kernel, city, THETA);
}

async fn run_to_its_end(kernel: &Kernel, request: &RunJobRequest) -> Result<(), tonic::Status> {
    let mut steps = kernel.call.plugins().run_job(request.clone()).await?.into_inner();
    while steps.message().await?.is_some() {}
    Ok(())
}

/// What is refunded in a month that lacks use is known, and lessens the month after it, which lacks nothing.
async fn bills_of_a_month_without_figures_are_carried(kernel: &Kernel, city: &str) {
    let province = Province::least();
    let booked_in_june = |enrolment: &str| {
        let sql = format!("select booked_fen from package_monitor.enrolment_value where month = date '2026-06-01' and enrolment_id = '{enrolment}'");
        whole(&rows(kernel, city, &sql)[0]["booked_fen"])
    };
    let some = "select m.enrolment_id, m.customer_id, m.booked_fen from package_monitor.enrolment_value m join package_monitor.enrolment_value j on j.enrolment_id = m.enrolment_id
                where m.month = date '2026-05-01' and j.month = date '2026-06-01' and m.booked_fen > 0 and j.booked_fen > 300 order by 1 limit 1";
    let some = rows(kernel, city, some).remove(0);
    let enrolment = some["enrolment_id"].as_str().unwrap();
    let before = booked_in_june(enrolment);
    append_refund(kernel, city, "late-2", MAY, enrolment, whole(&some["customer_id"]), whole(&some["booked_fen"]) + 300).await;
    let of_may = |total: &&FileTotal| total.feed == "misc.usage" && total.city == city && total.period.starts_with("202605");
    let used = province.summary.files.iter().find(of_may).unwrap();
    kernel.cli_ok(&["feed", "retract", "misc.usage", "--period", &used.period, "--reason", "a test", "--city", city]);
    let outcome = value_months(kernel, city, "{}");
    assert_eq!((&outcome["not_valued"], &outcome["valued"][0]), (&json!(["2026-05"]), &json!("2026-06")), "{outcome}");
    assert_eq!(booked_in_june(enrolment), before - 300);
    the_figures_are_those_of_the_audit(kernel, city, THETA);
    import(&kernel.call, &province.file(used)).await.unwrap();
    assert_eq!(value_months(kernel, city, "{}")["valued"][0], "2026-05");
    assert_eq!(booked_in_june(enrolment), before - 300);
    the_figures_are_those_of_the_audit(kernel, city, THETA);
}

/// Lines of packages that name no enrolment, or none of the city; and one that is about no package.
async fn lines_that_no_figure_has_are_listed(kernel: &Kernel, city: &str) {
    let counted = || {
        let months = call(kernel, city, LIST_MONTHS, &json!({}));
        let july = months["months"].as_array().unwrap().iter().find(|month| month["month"] == "2026-07").unwrap().clone();
        (whole(&july["unmatchedLines"]), whole(&july["unmatchedFen"]))
    };
    let listed = || {
        let lines = findings::listed(kernel, city, "ListUnmatchedLines", "lines", &json!({"month": "2026-07", "pageSize": 2}));
        (lines.len() as i64, lines.iter().map(|line| whole(&line["amountFen"])).sum::<i64>(), lines)
    };
    let before = counted();
    assert_eq!((listed().0, listed().1), before);
    let lines = [("package", None, 900_000_i64), ("refund", Some("of another city"), -700_000), ("fee", None, 500)];
    // July, posted at noon of its third day in Shanghai.
    let columns = Columns::of(&lines)
        .text("bill_id", |_| "unmatched")
        .integer("line_no", |(_, _, fen)| if *fen > 0 { *fen } else { 1 })
        .integer("customer_id", |_| 7)
        .day("month", |_| 20_635)
        .instant("posted_at", |_| 1_783_051_200_000_000)
        .optional_text("enrolment_id", |(_, enrolment_id, _)| *enrolment_id)
        .text("item", |_| "0042")
        .integer("amount_fen", |(_, _, fen)| *fen)
        .text("kind", |(kind, _, _)| kind);
    kernel.call.in_city(city).append("charge", "unmatched", columns).await.unwrap();
    assert_eq!(value_months(kernel, city, "{}")["valued"][0], "2026-07");
    assert_eq!(counted(), (before.0 + 2, before.1 + 200_000));
    let (count, fen, lines) = listed();
    assert_eq!((count, fen), counted(), "what is counted is what is listed");
    let expected = json!({"city": city, "billId": "unmatched", "lineNo": "1", "customerId": "7", "enrolmentId": "of another city", "kind": "refund", "item": "0042",
        "amountFen": "-700000", "postedOn": "2026-07-03"});
    assert_eq!(lines[1], expected, "the largest first, whatever their sign");
}

/// A month of which a file was taken back is not valued any more, and says which; with the file again it is.
async fn a_month_that_is_not_complete_has_no_figures(kernel: &Kernel, city: &str) {
    let province = Province::least();
    let bills = province.summary.files.iter().find(|total| total.feed == "boss.charge" && total.city == city && total.file.contains("202604")).unwrap();
    kernel.cli_ok(&["feed", "retract", "boss.charge", "--period", "202604", "--reason", "a test", "--city", city]);
    let outcome = value_months(kernel, city, r#"{"from": "2026-04"}"#);
    assert_eq!(outcome["not_valued"], json!(["2026-04"]), "{outcome}");
    let refusal = kernel.cli_err(&["plugin", "call", LIST_PACKAGES, r#"{"month": "2026-04"}"#, "--city", city]);
    assert!(refusal.contains("MONTH_NOT_VALUED") && refusal.contains("boss.charge lacks 202604"), "{refusal}");
    import(&kernel.call, &province.file(bills)).await.unwrap();
    assert!(value_months(kernel, city, "{}")["valued"].as_array().unwrap().contains(&json!("2026-04")));
    call(kernel, city, LIST_PACKAGES, &json!({"month": "2026-04"}));
    booked_is_what_the_bills_say(kernel, city);
}
