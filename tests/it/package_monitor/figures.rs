//! The figures of package-monitor, through the doors, and what has to hold of them whatever they were computed from.

use std::collections::{BTreeMap, BTreeSet};

use backplane_tests::{Kernel, repository};
use serde_json::Value;

/// Runs the job and gives what came of it.
pub(crate) fn value_months(kernel: &Kernel, city: &str, parameters: &str) -> Value {
    let outcome = kernel.cli_ok(&["plugin", "job", "package-monitor", "value-months", parameters, "--in", city, "--json"]);
    let outcome: Value = serde_json::from_str(&outcome).unwrap();
    assert_eq!(outcome["finished"], true, "{outcome}");
    serde_json::from_str(outcome["resultJson"].as_str().unwrap()).unwrap()
}

pub(crate) fn call(kernel: &Kernel, city: &str, method: &str, request: &Value) -> Value {
    serde_json::from_str(&kernel.cli_ok(&["plugin", "call", method, &request.to_string(), "--city", city])).unwrap()
}

/// The rows of a query as JSON objects.
pub(crate) fn rows(kernel: &Kernel, city: &str, sql: &str) -> Vec<Value> {
    // After `--`, since SQL may begin with a comment.
    let answer: Value = serde_json::from_str(&kernel.cli_ok(&["query", "--city", city, "--json", "--", sql])).unwrap();
    answer["rows"].as_array().unwrap().clone()
}

pub(crate) fn whole(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok())).unwrap_or_else(|| panic!("{value} is no number"))
}

/// real + virtual + gifted + swapped = booked, of every enrolment and of every month, with no part below zero, and the components' parts sum to the enrolment's.
pub(crate) fn every_amount_is_the_sum_of_its_parts(kernel: &Kernel, city: &str) {
    let wrong = "select count(*) as n from package_monitor.enrolment_value
                 where booked_fen <> real_fen + virtual_fen + gifted_fen + swapped_fen or least(real_fen, virtual_fen, gifted_fen, swapped_fen) < 0";
    let components = "select count(*) as n from
                        (select enrolment_id, month, sum(allocated_fen) as allocated, sum(virtual_fen) as unused
                         from package_monitor.component_value where state <> 'withdrawn' group by 1, 2) c
                      join package_monitor.enrolment_value v on v.enrolment_id = c.enrolment_id and v.month = c.month
                      where c.allocated <> v.booked_fen or c.unused <> v.virtual_fen";
    let months = "select count(*) as n from package_monitor.month m
                  left join (select month, count(*) as enrolments, sum(booked_fen) as booked_fen, sum(real_fen) as real_fen, sum(virtual_fen) as virtual_fen,
                                    sum(gifted_fen) as gifted_fen, sum(swapped_fen) as swapped_fen
                             from package_monitor.enrolment_value where not withdrawn group by month) v on v.month = m.month
                  where m.status = 'valued'
                    and (m.enrolments <> coalesce(v.enrolments, 0) or m.booked_fen <> coalesce(v.booked_fen, 0) or m.real_fen <> coalesce(v.real_fen, 0)
                         or m.virtual_fen <> coalesce(v.virtual_fen, 0) or m.gifted_fen <> coalesce(v.gifted_fen, 0) or m.swapped_fen <> coalesce(v.swapped_fen, 0))";
    for sql in [wrong, components, months] {
        assert_eq!(whole(&rows(kernel, city, sql)[0]["n"]), 0, "in {city}: {sql}");
    }
}

/// What the job says of an enrolment and month, in the columns of `audit/value.sql`.
const FIGURES: &str =
    "select v.enrolment_id, v.month, v.in_force, v.booked_fen, v.real_fen, v.virtual_fen, v.gifted_fen, v.swapped_fen, v.carried_fen, v.components,
                              v.silent_components, v.under_used_components
                       from package_monitor.enrolment_value v join package_monitor.month m on m.month = v.month
                       where not v.withdrawn and m.status = 'valued'";

/// The job's rows of the months that are valued are those of the query that an auditor would run, no more and no fewer.
pub(crate) fn the_figures_are_those_of_the_audit(kernel: &Kernel, city: &str, under_used_below: &str) {
    let audit = audit_with(under_used_below);
    let valued: BTreeSet<String> = rows(kernel, city, "select month from package_monitor.month where status = 'valued'")
        .iter()
        .map(|row| row["month"].as_str().unwrap().to_owned())
        .collect();
    let (figures, mut expected) = (by_enrolment_and_month(kernel, city, FIGURES), by_enrolment_and_month(kernel, city, &audit));
    expected.retain(|(_, month), _| valued.contains(month));
    let keys: BTreeSet<&(String, String)> = figures.keys().chain(expected.keys()).collect();
    let wrong: Vec<_> = keys.into_iter().map(|key| (key, figures.get(key), expected.get(key))).filter(|(_, figure, expected)| figure != expected).collect();
    let some: String = wrong.iter().take(5).map(|(key, figure, expected)| format!("\n{key:?}\n  job   {figure:?}\n  audit {expected:?}")).collect();
    assert!(wrong.is_empty(), "in {city} {} of {} rows differ: {some}", wrong.len(), expected.len());
    assert!(!figures.is_empty(), "{city} has no figures");
}

/// `audit/value.sql` with another θ, a decimal, than the one that stands there.
fn audit_with(under_used_below: &str) -> String {
    const THERE: &str = "3 AS theta_numerator, 10 AS theta_denominator";
    let audit = std::fs::read_to_string(repository().join("plugins/package-monitor/audit/value.sql")).unwrap();
    let (whole, places) = under_used_below.split_once('.').unwrap_or((under_used_below, ""));
    let (numerator, denominator): (i64, i64) = (format!("{whole}{places}").parse().unwrap(), 10_i64.pow(places.len().try_into().unwrap()));
    assert_eq!(audit.matches(THERE).count(), 1);
    audit.replace(THERE, &format!("{numerator} AS theta_numerator, {denominator} AS theta_denominator"))
}

fn by_enrolment_and_month(kernel: &Kernel, city: &str, sql: &str) -> BTreeMap<(String, String), Value> {
    let found = rows(kernel, city, sql);
    let count = found.len();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let by_key: BTreeMap<_, _> = found.into_iter().map(|row| ((text(&row, "enrolment_id"), text(&row, "month")), row)).collect();
    assert_eq!(by_key.len(), count, "an enrolment has one row a month");
    by_key
}
