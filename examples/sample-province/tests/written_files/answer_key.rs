//! The planted facts, found again without the answer key and held against it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
};

use jiff::civil::Date;
use serde_json::Value;

use crate::province::{PROVINCE, city, path, rows};

fn fact(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path(&format!("answer-key/{name}.json"))).unwrap()).unwrap()
}

/// What BOSS says last of each enrolment.
fn enrolments() -> BTreeMap<String, Vec<String>> {
    let good = rows("boss.enrolment", '|').into_iter().filter(|(_, fields)| fields.len() == 11 && fields[7] != "#N/A");
    good.map(|(_, fields)| (fields[0].clone(), fields)).collect()
}

/// Customer, city and end of each number's assignments, by number and first day, as BOSS says last.
fn assignments() -> BTreeMap<(String, String), [String; 3]> {
    let good = rows("boss.number", '|').into_iter().filter(|(_, fields)| fields.len() == 4 && fields[2] != "#N/A");
    good.map(|(file, fields)| ((fields[0].clone(), fields[2].clone()), [fields[1].clone(), city(file).to_owned(), fields[3].clone()])).collect()
}

/// The good lines of the bills, each once, with their files.
fn bill_lines() -> BTreeMap<(String, String), (usize, Vec<String>)> {
    let good = rows("boss.charge", '|').into_iter().filter(|(_, fields)| fields.len() == 12 && fields[9].parse::<i64>().is_ok());
    good.map(|(file, fields)| ((fields[0].clone(), fields[1].clone()), (file, fields))).collect()
}

/// A row of the answer key as the files would write it: days and months without dashes.
fn stated(row: &Value, columns: &[&str]) -> Vec<String> {
    let is_date = |column: &str| matches!(column, "on" | "month" | "sent_in" | "taken_on");
    let cell = |column: &&str| {
        let text = row[*column].as_str().map_or_else(|| row[*column].to_string(), str::to_owned);
        if is_date(column) { text.replace('-', "") } else { text.replace("null", "\\N") }
    };
    columns.iter().map(cell).collect()
}

fn listed(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap().iter()
}

fn ids(value: &Value) -> BTreeSet<String> {
    listed(value).map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[test]
fn exclusive_pairs_of_the_key_are_those_that_the_files_show() {
    let pair = |one: &str, other: &str| if one < other { (one.to_owned(), other.to_owned()) } else { (other.to_owned(), one.to_owned()) };
    // The latest row of each counts, and a rule's validity.
    let mut rules: BTreeMap<(String, String), (String, String)> = BTreeMap::new();
    for (_, fields) in rows("boss.relation", '|').into_iter().filter(|(_, fields)| fields[2] == "0") {
        let to = if fields[5] == "\\N" { "99999999" } else { &fields[5] };
        rules.insert(pair(&fields[0], &fields[1]), (fields[4].clone(), to.to_owned()));
    }
    let last = |fields: &[String]| {
        let cancelled = fields[10].get(..10).map(|day| day.replace('-', ""));
        cancelled.map_or(fields[8].clone(), |day| day.min(fields[8].clone()))
    };
    let mut found = BTreeSet::new();
    let enrolments = enrolments();
    let rows: Vec<&Vec<String>> = enrolments.values().collect();
    for (place, one) in rows.iter().enumerate() {
        for other in rows[place + 1..].iter().take_while(|other| other[2] == one[2]) {
            let Some((from, to)) = rules.get(&pair(&one[4], &other[4])) else { continue };
            let first = one[7].clone().max(other[7].clone()).max(from.clone());
            let last = last(one).min(last(other));
            if first <= last && first < *to {
                found.insert(pair(&one[0], &other[0]));
            }
        }
    }
    let key = fact("exclusive");
    let stated: BTreeSet<_> =
        key["rows"].as_array().unwrap().iter().map(|row| pair(row["enrolment_id"].as_str().unwrap(), row["other_enrolment_id"].as_str().unwrap())).collect();
    assert!(stated.len() >= 21, "each city has one: {}", stated.len());
    assert_eq!(found, stated);
}

#[test]
fn moves_of_the_key_are_those_that_the_files_show() {
    let assignments = assignments();
    let mut found = BTreeSet::new();
    for ((number, _), [customer, from, to_day]) in &assignments {
        if let Some([same, to, _]) = assignments.get(&(number.clone(), to_day.clone()))
            && same == customer
        {
            found.insert(vec![customer.clone(), from.clone(), to.clone(), to_day.clone()]);
        }
    }
    let key = fact("moves");
    assert_eq!(found, listed(&key["rows"]).map(|row| stated(row, &["customer_id", "from_city", "to_city", "on"])).collect());

    // What was held goes on under another number, and BOSS says that the old one moved.
    let pairs = |column: &str| -> BTreeSet<[String; 2]> {
        let pair = |pair: &Value| [0, 1].map(|place| pair[place].as_str().unwrap().to_owned());
        listed(&key["rows"]).flat_map(|row| listed(&row[column])).map(pair).collect()
    };
    let enrolments = enrolments();
    let continued: BTreeSet<_> = enrolments.values().filter(|fields| fields[1] != "\\N").map(|fields| [fields[1].clone(), fields[0].clone()]).collect();
    assert!(!continued.is_empty() && continued.iter().all(|[old, _]| enrolments[old][9] == "4"));
    assert_eq!(continued, pairs("enrolments"));
    let subscriptions = rows("misc.subscription", '\u{1}').into_iter().filter(|(_, fields)| fields.len() == 10 && !fields[1].is_empty());
    assert_eq!(subscriptions.map(|(_, fields)| [fields[1].clone(), fields[0].clone()]).collect::<BTreeSet<_>>(), pairs("subscriptions"));
}

#[test]
fn reused_numbers_of_the_key_are_those_that_the_files_show() {
    let assignments = assignments();
    let mut found = BTreeSet::new();
    for pair in assignments.iter().collect::<Vec<_>>().windows(2) {
        let [((one, _), [left_by, _, left_on]), ((other, taken_on), [taken_by, city, _])] = pair else { unreachable!("pairs") };
        if one == other && left_by != taken_by {
            assert!(left_on < taken_on, "{one} had two holders on {taken_on}");
            found.insert([city, one, left_by, taken_by, taken_on].map(String::clone).to_vec());
        }
    }
    let key = fact("reused-numbers");
    assert_eq!(found, listed(&key["rows"]).map(|row| stated(row, &["city", "msisdn", "left_by", "taken_by", "taken_on"])).collect());
}

#[test]
fn late_adjustments_of_the_key_are_those_that_the_files_show() {
    let lines = bill_lines();
    let mut found = BTreeSet::new();
    for (file, fields) in lines.values() {
        let sent_in = &PROVINCE.1.files[*file].period;
        if *sent_in != fields[3] {
            let (adjusted_in, adjusted) = &lines[&(fields[0].clone(), fields[11].clone())];
            assert_eq!((fields[10].as_str(), &PROVINCE.1.files[*adjusted_in].period), ("06", &fields[3]), "{fields:?}");
            assert_eq!(adjusted[5..8], fields[5..8], "an adjustment is about what it adjusts");
            found.insert([city(*file), &fields[0], &fields[1], &fields[3], sent_in, &fields[6], &fields[9]].map(str::to_owned).to_vec());
        }
    }
    let key = fact("late-adjustments");
    let columns = ["city", "bill_id", "line_no", "month", "sent_in", "enrolment_id", "amount_fen"];
    assert_eq!(found, listed(&key["rows"]).map(|row| stated(row, &columns)).collect());
}

#[test]
fn the_agent_of_the_key_is_who_enrols_most_for_one_package_in_a_month() {
    let enrolments = enrolments();
    let mut lists: BTreeMap<[&str; 3], Vec<&Vec<String>>> = BTreeMap::new();
    for fields in enrolments.values().filter(|fields| fields[6] != "\\N") {
        lists.entry([&fields[6], &fields[4], &fields[3][..7]]).or_default().push(fields);
    }
    let (place, list) = lists.iter().max_by_key(|(_, list)| list.len()).unwrap();
    let others_most = lists.iter().filter(|(other, _)| *other != place).map(|(_, list)| list.len()).max().unwrap();
    assert!(list.len() >= 2 * others_most, "{} against {others_most}", list.len());
    let evenings: BTreeSet<&str> = list.iter().map(|fields| &fields[3][..10]).collect();
    assert!(evenings.len() <= 6 && list.iter().all(|fields| &fields[3][11..13] >= "20"), "{list:?}");
    let key = fact("agent-flood");
    assert_eq!(place.map(Value::from), ["agent_id", "package_id", "month"].map(|column| key[column].clone()));
    assert_eq!(list.iter().map(|fields| fields[0].clone()).collect::<BTreeSet<_>>(), ids(&key["enrolment_ids"]));
}

#[test]
fn complaints_of_the_burst_are_about_its_product_and_days() {
    let key = fact("complaint-burst");
    // A ticket begins where a line does; `T`, a customer and two digits are its number.
    let tickets = rows("service.ticket", ',').into_iter().filter(|(_, fields)| fields[0].starts_with('T') && fields[0].len() == 17);
    let complaints = tickets.filter(|(file, fields)| city(*file) == key["city"] && fields[3] == "2" && fields[6] == key["product_id"].as_str().unwrap());
    let is_within = |day: &str| key["first_day"].as_str().unwrap() <= day && day <= key["last_day"].as_str().unwrap();
    let (within, outside): (BTreeSet<_>, BTreeSet<_>) = complaints
        .filter(|(_, fields)| fields[2] != "#N/A")
        .map(|(_, fields)| (is_within(&fields[2][..10]), fields[0].clone()))
        .partition(|(within, _)| *within);
    let within: BTreeSet<String> = within.into_iter().map(|(_, id)| id).collect();
    assert!(within.is_superset(&ids(&key["ticket_ids"])), "{within:?}");
    assert!(within.len() > outside.len(), "{} in nine days, {} in all others", within.len(), outside.len());
}

#[test]
fn take_and_cancel_of_the_key_is_what_the_files_show() {
    let gift: HashMap<String, i64> = rows("boss.package", '|').into_iter().map(|(_, fields)| (fields[0].clone(), fields[7].parse().unwrap())).collect();
    let day = |text: &str| text[..10].parse::<Date>().unwrap();
    let mut taken: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for (id, fields) in enrolments().into_iter().filter(|(_, fields)| fields[9] == "3") {
        if day(&fields[10]).since(day(&fields[3])).unwrap().get_days() <= 10 {
            taken.entry((fields[2].clone(), fields[4].clone())).or_default().insert(id);
        }
    }
    taken.retain(|_, ids| ids.len() > 2);
    let key = fact("arbitrage");
    assert_eq!(taken.len() as u64, key["count"]);
    for row in listed(&key["rows"]) {
        let package = row["package_id"].as_str().unwrap().to_owned();
        let ids = ids(&row["enrolments"]);
        assert_eq!(row["gift_credit_fen"], gift[&package] * ids.len() as i64, "{row}");
        assert_eq!(taken.get(&(row["customer_id"].to_string(), package)), Some(&ids), "{row}");
    }
}

#[test]
fn of_enrolments_refunded_more_a_month_is_negative() {
    let mut booked: BTreeMap<(String, String), i64> = BTreeMap::new();
    for (_, fields) in bill_lines().into_values().filter(|(_, fields)| fields[6] != "\\N" && !matches!(fields[10].as_str(), "03" | "04")) {
        *booked.entry((fields[6].clone(), fields[3].clone())).or_default() += fields[9].parse::<i64>().unwrap();
    }
    let negative: BTreeSet<String> = booked.into_iter().filter(|(_, fen)| *fen < 0).map(|((enrolment, _), _)| enrolment).collect();
    assert_eq!(negative, ids(&fact("refunded-more")["rows"]));
}

#[test]
fn every_planted_fact_happens_to_somebody() {
    for name in ["agent-flood", "arbitrage", "refunded-more", "complaint-burst", "moves", "reused-numbers", "late-adjustments", "late-file", "exclusive"] {
        assert!(fact(name)["count"].as_u64().unwrap() > 0, "{name}");
    }
    let drop = &fact("kpi-drop")["by_brand"]["mzone"];
    assert!(drop["events_during"].as_i64().unwrap() * 2 < drop["events_before"].as_i64().unwrap(), "{drop}");
    let handset = &fact("handset-without-mms")["models"][0];
    assert_eq!(handset["sent"], handset["failed"]);
    let silent = fact("silent");
    let sums = |column: &str| silent["rows"].as_array().unwrap().iter().map(|row| row["sums"][column].as_u64().unwrap()).sum::<u64>();
    assert!(sums("components_silent") > 0 && sums("components_under_used") > 0 && sums("components_silent") < sums("components"));
}
