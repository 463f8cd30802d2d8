//! What package-monitor finds in the sample province, against what the generator planted; and who may ask.

use std::collections::{BTreeMap, BTreeSet};

use backplane_tests::{Columns, Kernel, Province};
use serde_json::{Value, json};

use super::figures::{call, rows, whole};

const SERVICE: &str = "package_monitor.v1.PackageMonitor";
/// The months that the sample province has.
const FIRST_MONTH: &str = "2025-11";
const LAST_MONTH: &str = "2026-10";

/// One fact of the answer key.
fn fact(province: &Province, name: &str) -> Value {
    let path = province.path().join(format!("answer-key/{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The rows of a fact that are a city's.
fn planted(name: &str, city: &str) -> Vec<Value> {
    fact(Province::least(), name)["rows"].as_array().unwrap().iter().filter(|row| row["city"] == city).cloned().collect()
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_else(|| panic!("{name} of {row}")).to_owned()
}

/// All rows of a list, page by page.
pub(super) fn listed(kernel: &Kernel, city: &str, method: &str, field: &str, request: &Value) -> Vec<Value> {
    let (mut all, mut request) = (Vec::new(), request.clone());
    loop {
        let page = call(kernel, city, &format!("{SERVICE}/{method}"), &request);
        all.extend(page[field].as_array().unwrap().iter().cloned());
        request["pageToken"] = page["nextPageToken"].clone();
        if request["pageToken"] == "" {
            return all;
        }
    }
}

fn months() -> impl Iterator<Item = String> {
    (0..12).map(|month| format!("{}-{:02}", 2025 + (month + 10) / 12, (month + 10) % 12 + 1))
}

/// The two enrolments in the order of their ids, and the days.
fn pair(one: String, other: String, first_day: String, last_day: String) -> [String; 4] {
    if one <= other { [one, other, first_day, last_day] } else { [other, one, first_day, last_day] }
}

pub(super) fn conflicts_are_those_of_the_key(kernel: &Kernel, city: &str) {
    let mut expected: BTreeMap<[String; 4], usize> = BTreeMap::new();
    for row in planted("exclusive", city) {
        let (first_day, last_day) = (text(&row, "first_day"), text(&row, "last_day"));
        let touched = months().filter(|month| first_day[..7] <= **month && **month <= last_day[..7]).count();
        if touched > 0 {
            expected.insert(pair(text(&row, "enrolment_id"), text(&row, "other_enrolment_id"), first_day, last_day), touched);
        }
    }
    let (mut found, mut newest): (BTreeMap<[String; 4], usize>, _) = (BTreeMap::new(), None);
    for month in months() {
        for conflict in listed(kernel, city, "ListConflicts", "conflicts", &json!({"month": month, "pageSize": 3})) {
            assert!(
                !text(&conflict, "reason").is_empty() && !text(&conflict["first"], "nameZh").is_empty() && !text(&conflict["other"], "channelId").is_empty()
            );
            let enrolments = [&conflict["first"], &conflict["other"]].map(|held| text(held, "enrolmentId"));
            let [one, other] = enrolments;
            *found.entry(pair(one, other, text(&conflict, "since"), text(&conflict, "until"))).or_default() += 1;
            newest = Some((month.clone(), conflict));
        }
    }
    assert_eq!(found, expected, "in {city}");

    let (month, some) = newest.unwrap_or_else(|| panic!("{city} has conflicts planted"));
    let of_customer = listed(kernel, city, "ListConflicts", "conflicts", &json!({"month": month, "customerId": some["customerId"]}));
    assert!(of_customer.contains(&some) && of_customer.iter().all(|row| row["customerId"] == some["customerId"]));
    let package = &some["other"]["packageId"];
    let of_package = listed(kernel, city, "ListConflicts", "conflicts", &json!({"month": month, "packageId": package}));
    assert!(of_package.contains(&some) && of_package.iter().all(|row| row["other"]["packageId"] == *package || row["first"]["packageId"] == *package));
    an_order_that_would_conflict_is_refused(kernel, city, &some);
}

fn an_order_that_would_conflict_is_refused(kernel: &Kernel, city: &str, conflict: &Value) {
    let check = |customer: &Value, package: &Value, day: &str| {
        call(kernel, city, &format!("{SERVICE}/CheckEnrolment"), &json!({"customerId": customer, "packageId": package, "enrolsOn": day}))
    };
    let answer = check(&conflict["customerId"], &conflict["other"]["packageId"], &text(conflict, "until"));
    assert_eq!(answer["allowed"], false, "{answer}");
    let finding = |kind: &str| answer["findings"].as_array().unwrap().iter().find(|finding| finding["kind"] == kind).cloned();
    let exclusive = finding("FINDING_KIND_EXCLUSIVE").unwrap_or_else(|| panic!("{answer}"));
    assert_eq!((&exclusive["enrolmentId"], &exclusive["reason"]), (&conflict["first"]["enrolmentId"], &conflict["reason"]));
    assert_eq!(finding("FINDING_KIND_ALREADY_HELD").unwrap()["enrolmentId"], conflict["other"]["enrolmentId"]);

    let free = "select s.customer_id, p.package_id from subscriber s, package p
                where s.valid_from <= date '2026-10-15' and (s.valid_to is null or s.valid_to > date '2026-10-15') and s.status = 'active'
                  and s.customer_id not in (select customer_id from enrolment)
                  and p.valid_from <= date '2026-10-15' and p.valid_to is null and p.starts_on <= date '2026-10-15' and p.ends_on >= date '2026-10-15'
                order by 1, 2 limit 1";
    let free = rows(kernel, city, free).remove(0);
    let answer = check(&free["customer_id"], &free["package_id"], "2026-10-15");
    assert_eq!((&answer["allowed"], &answer["findings"]), (&json!(true), &json!([])), "{free}");
    let answer = check(&json!(1), &json!("K999"), "2026-10-15");
    let kinds: Vec<&str> = answer["findings"].as_array().unwrap().iter().map(|finding| finding["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["FINDING_KIND_PACKAGE_UNKNOWN", "FINDING_KIND_CUSTOMER_UNKNOWN"]);
}

/// Every planted customer is listed, with the enrolments and the credit.
pub(super) fn takes_and_cancels_are_those_of_the_key(kernel: &Kernel, city: &str) {
    let span = json!({"fromMonth": FIRST_MONTH, "toMonth": LAST_MONTH, "pageSize": 2});
    let found: BTreeMap<i64, Value> =
        listed(kernel, city, "ListTakesAndCancels", "customers", &span).into_iter().map(|row| (whole(&row["customerId"]), row)).collect();
    let planted = planted("arbitrage", city);
    assert!(!planted.is_empty());
    for row in &planted {
        let customer = &found[&whole(&row["customer_id"])];
        let ids = |value: &Value| value.as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
        assert!(ids(&customer["enrolmentIds"]).is_superset(&ids(&row["enrolments"])), "{customer} for {row}");
        assert!(whole(&customer["times"]) >= ids(&row["enrolments"]).len() as i64);
    }
    let expected = "select e.customer_id, count(distinct e.enrolment_id) as times, sum(case when c.kind = 'gift_credit' then c.amount_fen else 0 end) as gift
                    from enrolment e left join charge c on c.enrolment_id = e.enrolment_id
                    where e.continues_id is null and e.status <> 'moved' and cast(e.cancelled_at + interval '8' hour as date) <= e.day + interval '30 days' and e.day >= date '2025-11-01'
                    group by 1 having count(distinct e.enrolment_id) >= 2";
    let expected: BTreeMap<i64, (i64, i64)> =
        rows(kernel, city, expected).iter().map(|row| (whole(&row["customer_id"]), (whole(&row["times"]), whole(&row["gift"])))).collect();
    let found: BTreeMap<i64, (i64, i64)> = found.into_iter().map(|(customer, row)| (customer, (whole(&row["times"]), whole(&row["giftCreditFen"])))).collect();
    assert_eq!(found, expected);
}

pub(super) fn customers_pay_for_what_they_do_not_use(kernel: &Kernel, city: &str) {
    for (silent_only, unused) in [(true, "silent_components"), (false, "silent_components + under_used_components")] {
        let expected = format!(
            "select count(*) as customers, sum(fen) as fen from
               (select customer_id, sum(virtual_fen) as fen from package_monitor.enrolment_value
                where month = date '2026-10-01' and in_force group by 1 having sum({unused}) > 0) of_customer"
        );
        let expected = rows(kernel, city, &expected).remove(0);
        let found = listed(kernel, city, "ListCustomers", "customers", &json!({"month": LAST_MONTH, "silentOnly": silent_only, "pageSize": 40}));
        let fen: Vec<i64> = found.iter().map(|row| whole(&row["value"]["virtualFen"])).collect();
        assert_eq!((found.len() as i64, fen.iter().sum()), (whole(&expected["customers"]), whole(&expected["fen"])));
        assert!(fen.is_sorted_by(|one, other| one >= other) && found.len() > 5);
    }
}

/// The sources that are called abnormal, with their months.
fn anomalies(kernel: &Kernel, city: &str) -> Vec<(String, Value)> {
    let of_month = |month: String| {
        let anomalies = listed(kernel, city, "ListSourceAnomalies", "anomalies", &json!({"month": month}));
        anomalies.into_iter().map(move |anomaly| (month.clone(), anomaly))
    };
    months().flat_map(of_month).collect()
}

/// In a city of some fifty customers eight enrolments need not be found; who does nothing must not be.
pub(super) fn nobody_is_called_abnormal_but_the_flooding_agent(kernel: &Kernel, city: &str) {
    let flood = fact(Province::least(), "agent-flood");
    for (month, anomaly) in anomalies(kernel, city) {
        assert_eq!((&json!(month), &anomaly["agentId"], &json!(city)), (&flood["month"], &flood["agent_id"], &flood["city"]), "{anomaly}");
    }
}

/// The agent who floods is found with all that was enrolled, and nobody else is called abnormal in any month.
pub(super) fn the_flooding_agent_is_found(kernel: &Kernel, province: &Province) {
    let flood = fact(province, "agent-flood");
    let city = flood["city"].as_str().unwrap();
    let found = anomalies(kernel, city);
    assert!(!found.is_empty(), "{} enrolments of agent {} in {}", flood["count"], flood["agent_id"], flood["month"]);
    let mut drilled = BTreeSet::new();
    for (month, anomaly) in &found {
        assert_eq!((&json!(month), &anomaly["agentId"]), (&flood["month"], &flood["agent_id"]), "{anomaly}");
        let (enrolments, expected) = (whole(&anomaly["enrolments"]), anomaly["expected"].as_f64().unwrap());
        assert!(enrolments as f64 >= 3.0 * expected && anomaly["chance"].as_f64().unwrap() < 0.01, "{anomaly}");
        let request = json!({
            "channelId": anomaly["channelId"], "agentId": anomaly["agentId"], "firstDay": anomaly["firstDay"], "lastDay": anomaly["lastDay"], "pageSize": 7
        });
        let behind = listed(kernel, city, "ListSourceEnrolments", "enrolments", &request);
        assert_eq!(behind.len() as i64, enrolments);
        let of_package = |package: &Value| behind.iter().filter(|enrolment| enrolment["packageId"] == *package).count() as i64;
        assert_eq!((&anomaly["topPackageId"], whole(&anomaly["topPackageEnrolments"])), (&flood["package_id"], of_package(&flood["package_id"])));
        assert!(whole(&anomaly["cancelledSoon"]) <= behind.iter().filter(|enrolment| enrolment["cancelledOn"] != "").count() as i64);
        let mut silent = request.clone();
        silent["silentOnly"] = json!(true);
        let silent = listed(kernel, city, "ListSourceEnrolments", "enrolments", &silent);
        assert_eq!(
            (silent.len() as i64, &silent),
            (whole(&anomaly["silent"]), &behind.iter().filter(|row| row["silent"] == true).cloned().collect::<Vec<_>>())
        );
        drilled.extend(behind.iter().map(|enrolment| text(enrolment, "enrolmentId")));
        // The channel is judged by the others.
        let of_channel = |without_abnormal: bool| {
            let mut of_channel = request.clone();
            of_channel["agentId"] = json!("");
            of_channel["withoutAbnormalAgents"] = json!(without_abnormal);
            let enrolments = listed(kernel, city, "ListSourceEnrolments", "enrolments", &of_channel);
            enrolments.iter().map(|enrolment| text(enrolment, "enrolmentId")).collect::<BTreeSet<_>>()
        };
        let behind: BTreeSet<String> = behind.iter().map(|enrolment| text(enrolment, "enrolmentId")).collect();
        let (all, others) = (of_channel(false), of_channel(true));
        assert!(behind.is_subset(&all) && behind.is_disjoint(&others) && others.is_subset(&all), "{anomaly}");
    }
    let planted: BTreeSet<String> = flood["enrolment_ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    assert!(drilled.is_superset(&planted), "of {} planted {} were found", planted.len(), drilled.intersection(&planted).count());
}

/// With thresholds that no source reaches, and one cancellation within 366 days as a habit.
pub(super) fn other_thresholds_are_held_to(kernel: &Kernel, city: &str) {
    assert_eq!(anomalies(kernel, city), []);
    let span = json!({"fromMonth": FIRST_MONTH, "toMonth": LAST_MONTH});
    let found: BTreeMap<i64, i64> =
        listed(kernel, city, "ListTakesAndCancels", "customers", &span).iter().map(|row| (whole(&row["customerId"]), whole(&row["times"]))).collect();
    let expected = "select customer_id, count(*) as times from enrolment
                    where continues_id is null and status <> 'moved' and cast(cancelled_at + interval '8' hour as date) <= day + interval '366 days' and day >= date '2025-11-01'
                    group by 1";
    let expected: BTreeMap<i64, i64> = rows(kernel, city, expected).iter().map(|row| (whole(&row["customer_id"]), whole(&row["times"]))).collect();
    assert!(found == expected && found.values().any(|times| *times == 1), "{found:?} for {expected:?}");
}

/// A contradiction among the rules is found before anybody enrols by them.
pub(super) async fn problems_of_the_rules_are_found(kernel: &Kernel, city: &str) {
    let problems = || listed(kernel, city, "ListRuleProblems", "problems", &json!({"pageSize": 1}));
    let before = problems();
    let rule =
        &rows(kernel, city, "select package_id, other_id from package_relation where relation = 'exclusive' and valid_to is null order by 1, 2 limit 1")[0];
    let (package, other) = (text(rule, "package_id"), text(rule, "other_id"));
    // The other way round, and from a later day.
    let added = [(other.as_str(), package.as_str(), "compatible"), (package.as_str(), package.as_str(), "compatible"), ("K998", "K999", "exclusive")];
    let columns = Columns::of(&added)
        .text("package_id", |(package_id, ..)| package_id)
        .text("other_id", |(_, other_id, _)| other_id)
        .day("valid_from", |_| 20_574)
        .text("relation", |(.., relation)| relation)
        .text("reason", |_| "a test");
    kernel.call.in_city("440000").append("package_relation", "rules", columns).await.unwrap();
    let found: Vec<(String, String, String, String)> = problems()
        .into_iter()
        .filter(|problem| !before.contains(problem))
        .map(|problem| (text(&problem, "kind"), text(&problem, "packageId"), text(&problem, "otherId"), text(&problem, "since")))
        .collect();
    let (first, second) = if package < other { (&package, &other) } else { (&other, &package) };
    let problem = |kind: &str, package: &str, other: &str| (kind.to_owned(), package.to_owned(), other.to_owned(), "2026-05-01".to_owned());
    assert_eq!(
        found,
        [
            problem("RULE_PROBLEM_KIND_CONTRADICTORY", first, second),
            problem("RULE_PROBLEM_KIND_SELF_RELATED", &package, &package),
            problem("RULE_PROBLEM_KIND_UNKNOWN_PACKAGE", "K998", "K999"),
        ]
    );
}

/// Every method is refused to who lacks its permission, and to who has it in another city.
pub(super) async fn nobody_asks_without_the_right(kernel: &Kernel, city: &str, other_city: &str) {
    const METHODS: [(&str, &str); 13] = [
        ("ListMonths", "package_monitor.read"),
        ("ListPackages", "package_monitor.read"),
        ("ListPackageGroups", "package_monitor.read"),
        ("ListEnrolments", "package_monitor.read"),
        ("ListComponents", "package_monitor.read"),
        ("ListCustomers", "package_monitor.read"),
        ("ListConflicts", "package_monitor.read"),
        ("ListRuleProblems", "package_monitor.read"),
        ("ListSourceAnomalies", "package_monitor.read"),
        ("ListSourceEnrolments", "package_monitor.read"),
        ("ListTakesAndCancels", "package_monitor.read"),
        ("ListUnmatchedLines", "package_monitor.read"),
        ("CheckEnrolment", "package_monitor.check"),
    ];
    let of_order_system = kernel.account("order-system", &["package_monitor.check"], &[city]).await;
    let of_analyst = kernel.account("analyst", &["package_monitor.read"], &[city]).await;
    for (method, permission) in METHODS {
        let without = if permission.ends_with("check") { &of_analyst } else { &of_order_system };
        let with = if permission.ends_with("check") { &of_order_system } else { &of_analyst };
        for (token, city) in [(without, city), (with, other_city)] {
            let refused = kernel.cli_err(&["plugin", "call", &format!("{SERVICE}/{method}"), "{}", "--city", city, "--token", token]);
            assert!(refused.contains("PERMISSION_MISSING") && refused.contains(permission), "{method} in {city}: {refused}");
        }
    }
}
