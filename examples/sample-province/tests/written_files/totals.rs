//! The totals that the generator states, counted again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{Timestamp, civil::Date, tz};
use serde_json::Value;

use crate::province::{PROVINCE, rows};

#[test]
fn charges_read_back_come_to_the_totals() {
    let mut found: HashMap<usize, (u64, u64, u64, i64)> = HashMap::new();
    let mut keys = BTreeSet::new();
    for (file, fields) in rows("boss.charge", '|') {
        let sums = found.entry(file).or_default();
        let amount = fields.get(9).and_then(|amount| amount.parse::<i64>().ok());
        match amount.filter(|_| fields.len() == 12) {
            None => sums.1 += 1,
            Some(_) if !keys.insert((fields[0].clone(), fields[1].clone())) => sums.2 += 1,
            Some(amount) => *sums = (sums.0 + 1, sums.1, sums.2, sums.3 + amount),
        }
    }
    assert!(!found.is_empty());
    for (place, file) in PROVINCE.1.files.iter().enumerate().filter(|(_, file)| file.feed == "boss.charge") {
        let stated = (file.rows_good, file.rows_corrupt, file.rows_duplicate, file.sums.get("amount_fen").copied().unwrap_or(0));
        assert_eq!(found.get(&place).copied().unwrap_or_default(), stated, "{}", file.file);
    }
}

#[test]
fn use_read_back_comes_to_the_totals() {
    let assigned: BTreeSet<String> = rows("boss.number", '|').into_iter().map(|(_, fields)| fields[0].clone()).collect();
    let mut found: HashMap<usize, [i64; 5]> = HashMap::new();
    let mut keys = BTreeSet::new();
    for (file, fields) in rows("misc.usage", '\u{1}') {
        let [good, corrupt, duplicate, unknown, fee] = found.entry(file).or_default();
        if fields.len() != 12 || fields[5].parse::<i64>().is_err() {
            *corrupt += 1;
        } else if !assigned.contains(&fields[0]) {
            *unknown += 1;
        } else if !keys.insert((file, fields[0].clone(), fields[3].clone(), fields[4].clone())) {
            *duplicate += 1;
        } else {
            *good += 1;
            *fee += fields[9].replace('.', "").parse::<i64>().unwrap();
        }
    }
    for (place, file) in PROVINCE.1.files.iter().enumerate().filter(|(_, file)| file.feed == "misc.usage") {
        let stated = [file.rows_good, file.rows_corrupt, file.rows_duplicate, file.rows_unknown_number].map(u64::cast_signed);
        let fee = file.sums.get("fee_fen").copied().unwrap_or(0);
        assert_eq!(found.get(&place).copied().unwrap_or_default(), [stated[0], stated[1], stated[2], stated[3], fee], "{}", file.file);
    }
    assert!(PROVINCE.1.files.iter().any(|file| file.rows_unknown_number > 0) && PROVINCE.1.files.iter().any(|file| file.rows_corrupt > 0));
}

#[test]
fn package_lines_of_a_month_come_to_the_price() {
    let price: HashMap<String, i64> = rows("boss.package", '|').into_iter().map(|(_, fields)| (fields[0].clone(), fields[5].parse().unwrap())).collect();
    let package: HashMap<String, String> =
        rows("boss.enrolment", '|').into_iter().filter(|(_, fields)| fields.len() == 11).map(|(_, fields)| (fields[0].clone(), fields[4].clone())).collect();
    let mut seen = BTreeSet::new();
    let mut billed: BTreeMap<(String, String), i64> = BTreeMap::new();
    for (_, fields) in rows("boss.charge", '|').into_iter().filter(|(_, fields)| fields.len() == 12 && fields[10] == "02") {
        if let (Ok(amount), true) = (fields[9].parse::<i64>(), seen.insert((fields[0].clone(), fields[1].clone()))) {
            *billed.entry((fields[6].clone(), fields[3].clone())).or_default() += amount;
        }
    }
    assert!(billed.len() > 1_000);
    for ((enrolment, month), amount) in billed {
        assert_eq!(amount, price[&package[&enrolment]], "{enrolment} in {month}");
    }
}

/// A feed of separated fields whose rows have a day.
struct Dated {
    feed: &'static str,
    separator: char,
    /// How many a row has at least; after the text of a ticket nobody can tell.
    fields: usize,
    number: Option<usize>,
    day: usize,
    /// A summed column and its field.
    sum: Option<(&'static str, usize)>,
}

const DATED: [Dated; 7] = [
    Dated { feed: "misc.usage", separator: '\u{1}', fields: 12, number: Some(0), day: 4, sum: Some(("events", 5)) },
    Dated { feed: "boss.charge", separator: '|', fields: 12, number: None, day: 4, sum: Some(("amount_fen", 9)) },
    Dated { feed: "boss.order", separator: '|', fields: 13, number: None, day: 2, sum: None },
    Dated { feed: "boss.enrolment", separator: '|', fields: 11, number: None, day: 3, sum: None },
    Dated { feed: "ringback.order", separator: ',', fields: 9, number: Some(1), day: 2, sum: None },
    Dated { feed: "ringback.setting", separator: ',', fields: 6, number: Some(1), day: 2, sum: None },
    Dated { feed: "service.ticket", separator: ',', fields: 11, number: Some(1), day: 2, sum: None },
];

/// The feeds in JSON, with the field of the time in milliseconds, and a column that is summed under the name of its field.
const DATED_JSON: [(&str, &str, Option<&str>); 3] =
    [("base.activity", "stat_time", Some("events")), ("base.delivery", "send_time", None), ("portal.click", "ts", Some("dwell_ms"))];

/// A file of the summary and a day.
type Place = (usize, String);

#[test]
fn rows_read_back_come_to_the_totals_of_their_days() {
    let assigned: BTreeSet<String> = rows("boss.number", '|').into_iter().map(|(_, fields)| fields[0].clone()).collect();
    for dated in &DATED {
        let Dated { feed, separator, day, sum, .. } = *dated;
        let good = rows(feed, separator).into_iter().filter(|(_, fields)| is_good(dated, fields, &assigned));
        let good = good.map(|(file, fields)| {
            let digits = fields[day].chars().filter(char::is_ascii_digit).take(8).collect();
            ((file, digits), sum.map_or(0, |(_, field)| fields[field].parse().unwrap()), fields.join("|"))
        });
        check_days(feed, sum.map(|(column, _)| column), good);
    }
    for (feed, time, sum) in DATED_JSON {
        // No object has a character like this one.
        let good = rows(feed, '\u{1}').into_iter().filter_map(|(file, line)| {
            let row: Value = serde_json::from_str(&line[0]).ok()?;
            let at = Timestamp::from_millisecond(row[time].as_i64()?).unwrap().to_zoned(tz::offset(8).to_time_zone());
            let is_known = row["msisdn"].as_str().is_none_or(|number| assigned.contains(number));
            is_known.then(|| ((file, at.strftime("%Y%m%d").to_string()), sum.map_or(0, |field| row[field].as_i64().unwrap()), line.concat()))
        });
        check_days(feed, sum, good);
    }
    // Nothing comes twice in an access log: lines that say the same are two requests.
    let access = rows("portal.access", '[').into_iter().enumerate().map(|(place, (file, line))| {
        let day = Date::strptime("%d/%b/%Y", &line[1][..11]).unwrap();
        ((file, day.strftime("%Y%m%d").to_string()), 0, place.to_string())
    });
    check_days("portal.access", None, access);
}

/// Of a ticket the line that it begins with, since its text may have more.
fn is_good(dated: &Dated, fields: &[String], assigned: &BTreeSet<String>) -> bool {
    let is_row = dated.feed != "service.ticket" || fields[0].starts_with('T') && fields[0].len() == 17;
    let is_whole = fields.len() >= dated.fields && !fields.iter().any(|field| field == "#N/A");
    is_row && is_whole && dated.number.is_none_or(|number| assigned.contains(&fields[number]))
}

/// Good rows with their file and day, what they add to the sum, and their text: what comes twice in a file counts once.
fn check_days(feed: &str, column: Option<&str>, good: impl Iterator<Item = (Place, i64, String)>) {
    let mut seen = BTreeSet::new();
    let mut found: BTreeMap<Place, (u64, i64)> = BTreeMap::new();
    for (at, value, text) in good {
        if seen.insert((at.0, text)) {
            let (rows, sum) = found.entry(at).or_default();
            (*rows, *sum) = (*rows + 1, *sum + value);
        }
    }
    let mut expected = BTreeMap::new();
    for (place, file) in PROVINCE.1.files.iter().enumerate().filter(|(_, file)| file.feed == feed) {
        assert_eq!(file.days.values().map(|day| day.rows_good).sum::<u64>(), file.rows_good, "{}", file.file);
        assert_eq!(file.days.values().map(|day| day.rows_replacing).sum::<u64>(), file.rows_replacing, "{}", file.file);
        expected.extend(file.days.iter().map(|(day, total)| {
            let sum = column.map_or(0, |column| total.sum(column));
            ((place, day.strftime("%Y%m%d").to_string()), (total.rows_good, sum))
        }));
    }
    assert!(!expected.is_empty(), "{feed}");
    assert_eq!(found, expected, "{feed}");
}
