//! The files of a small province, read again by means that the generator does not have: what they hold must be what it says they hold.
#![allow(clippy::unwrap_used, reason = "a test that cannot read what was written has failed")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use sample_province::{Options, Summary, generate};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// One province for all tests that only read.
static PROVINCE: LazyLock<(TempDir, Summary)> = LazyLock::new(|| written(1));

fn written(seed: u64) -> (TempDir, Summary) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { customers: 1_000, seed, ..Options::default() };
    let summary = generate(&options, folder.path(), &mut |_| ()).unwrap();
    (folder, summary)
}

fn path(file: &str) -> PathBuf {
    PROVINCE.0.path().join(file)
}

fn text(file: &Path) -> String {
    let bytes = fs::read(file).unwrap();
    let bytes = if file.extension().is_some_and(|extension| extension == "gz") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
        plain
    } else {
        bytes
    };
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let is_chinese = ["boss.", "ringback.", "service."].iter().any(|platform| name.starts_with(platform));
    let encoding = if is_chinese { encoding_rs::GB18030 } else { encoding_rs::UTF_8 };
    let (text, had_errors) = encoding.decode_without_bom_handling(&bytes);
    assert!(!had_errors, "{name}");
    text.into_owned()
}

/// The lines of a feed's files split at `separator`, with the file that they are of, in the order of periods.
fn rows(feed: &str, separator: char) -> Vec<(usize, Vec<String>)> {
    let mut rows = Vec::new();
    for (place, file) in PROVINCE.1.files.iter().enumerate().filter(|(_, file)| file.feed == feed) {
        rows.extend(text(&path(&file.file)).lines().map(|line| (place, line.split(separator).map(str::to_owned).collect())));
    }
    rows
}

fn fact(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(path(&format!("answer-key/{name}.json"))).unwrap()).unwrap()
}

fn digests(folder: &Path, below: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            digests(folder, &name, into);
        } else {
            into.insert(name.clone(), Sha256::digest(fs::read(folder.join(&name)).unwrap()).to_vec());
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let all = |folder: &Path| {
        let mut all = BTreeMap::new();
        digests(folder, Path::new(""), &mut all);
        all
    };
    let first = all(PROVINCE.0.path());
    assert!(first.len() > 4_000);
    assert_eq!(first, all(written(1).0.path()));
    let other = all(written(2).0.path());
    let differ = first.iter().filter(|(name, digest)| other.get(*name) != Some(digest)).count();
    assert!(differ * 2 > first.len(), "{differ} of {} differ", first.len());
}

#[test]
fn control_files_tell_name_rows_digest_and_period() {
    for file in &PROVINCE.1.files {
        let bytes = fs::read(path(&file.file)).unwrap();
        let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!((file.sha256.as_str(), file.bytes), (sha256.as_str(), bytes.len() as u64), "{}", file.file);
        let has_control_file = !file.feed.starts_with("ref.") && !file.feed.starts_with("portal.");
        let control = path(&format!("{}.ctl", file.file));
        assert_eq!(control.exists(), has_control_file, "{}", file.file);
        if has_control_file {
            let name = Path::new(&file.file).file_name().unwrap().to_string_lossy();
            assert_eq!(fs::read_to_string(control).unwrap(), format!("{name}|{}|{sha256}|{}\n", file.rows(), file.period));
        }
    }
}

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

#[test]
fn exclusive_pairs_of_the_key_are_those_that_the_files_show() {
    let pair = |one: &str, other: &str| if one < other { (one.to_owned(), other.to_owned()) } else { (other.to_owned(), one.to_owned()) };
    // The latest row of each counts, and a rule's validity.
    let mut rules: BTreeMap<(String, String), (String, String)> = BTreeMap::new();
    for (_, fields) in rows("boss.relation", '|').into_iter().filter(|(_, fields)| fields[2] == "0") {
        let to = if fields[5] == "\\N" { "99999999" } else { &fields[5] };
        rules.insert(pair(&fields[0], &fields[1]), (fields[4].clone(), to.to_owned()));
    }
    let mut enrolments: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, fields) in rows("boss.enrolment", '|').into_iter().filter(|(_, fields)| fields.len() == 11 && fields[7] != "#N/A") {
        enrolments.insert(fields[0].clone(), fields);
    }
    let last = |fields: &[String]| {
        let cancelled = fields[10].get(..10).map(|day| day.replace('-', ""));
        cancelled.map_or(fields[8].clone(), |day| day.min(fields[8].clone()))
    };
    let mut found = BTreeSet::new();
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

#[test]
fn too_few_customers_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let error = generate(&Options { customers: 10, ..Options::default() }, folder.path(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("10 customers"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_holds_something_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine"), "kept").unwrap();
    let error = generate(&Options { customers: 1_000, ..Options::default() }, folder.path(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("empty"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
