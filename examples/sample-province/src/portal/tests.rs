use std::{collections::HashMap, fs};

use serde_json::Value;

use super::{PLANTED_DWELL, files::write, flows};
use crate::{FileTotal, Options, public, world::World};

/// The last city but one: small, so that the tests are quick.
const CITY: usize = 19;

fn written(options: &Options) -> (tempfile::TempDir, Vec<FileTotal>) {
    let out = tempfile::tempdir().expect("a folder for the files");
    let world = World::of(options).expect("the options are enough");
    let totals = write(&world, CITY, out.path()).expect("the files are written");
    (out, totals)
}

fn clicks(out: &std::path::Path, totals: &[FileTotal]) -> Vec<Value> {
    let files = totals.iter().filter(|total| total.feed == "portal.click").map(|total| fs::read_to_string(out.join(&total.file)).expect("the file is there"));
    files.flat_map(|text| text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect::<Vec<_>>()).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let digests = |options: &Options| written(options).1.into_iter().map(|total| (total.file, total.sha256)).collect::<Vec<_>>();
    let options = Options::default();
    assert_eq!(digests(&options), digests(&options));
    assert_ne!(digests(&options), digests(&Options { seed: 2, ..options }));
}

#[test]
fn sizes_follow_the_customers() {
    let options = Options::default();
    let (_out, totals) = written(&options);
    let world = World::of(&options).expect("the options are enough");
    let customer_months = f64::from(world.customers[CITY]) * 12.0;
    let rows = |feed: &str| totals.iter().filter(|total| total.feed == feed).map(FileTotal::rows).sum::<u64>() as f64;
    assert!((0.55..0.70).contains(&(rows("portal.access") / customer_months)), "{}", rows("portal.access") / customer_months);
    assert!((0.35..0.45).contains(&(rows("portal.click") / customer_months)), "{}", rows("portal.click") / customer_months);
    assert_eq!(totals.iter().filter(|total| total.feed == "portal.access").count(), 12);
    assert!(totals.iter().all(|total| total.city == public::cities()[CITY].code));
}

#[test]
fn the_planted_step_can_be_found_again_in_the_clicks() {
    let (out, totals) = written(&Options { customers: 100_000, ..Options::default() });
    let mut dwells = HashMap::<(String, u64, u64), Vec<i64>>::new();
    for click in clicks(out.path(), &totals) {
        if let Some(flow) = click["flow"].as_str() {
            let step = (flow.to_owned(), click["flow_ver"].as_u64().expect("a version"), click["step"].as_u64().expect("a step"));
            dwells.entry(step).or_default().push(click["dwell_ms"].as_i64().expect("a time"));
        }
    }
    dwells.values_mut().for_each(|times| times.sort_unstable());
    let longest = dwells.iter().max_by_key(|(step, times)| {
        let typical = flows().iter().find(|known| known.flow_id == step.0 && u64::from(known.version) == step.1 && u64::from(known.step) == step.2);
        times[times.len() / 2] * 100 / i64::from(typical.expect("ref.flow has the step").dwell_ms)
    });
    let (step, _) = longest.expect("there are flows");
    assert_eq!(*step, (PLANTED_DWELL.flow_id.to_owned(), u64::from(PLANTED_DWELL.flow_version), u64::from(PLANTED_DWELL.step)));
}

#[test]
fn files_are_in_order_and_clicks_are_sometimes_reported_twice() {
    let (out, totals) = written(&Options::default());
    for total in totals.iter().filter(|total| total.feed == "portal.click") {
        let text = fs::read_to_string(out.path().join(&total.file)).expect("the file is there");
        let times = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()?["ts"].as_i64()).collect::<Vec<_>>();
        assert!(times.is_sorted(), "{}", total.file);
        assert_eq!(times.len() as u64, total.rows());
    }
    assert!(totals.iter().any(|total| total.rows_duplicate > 0));
}

#[test]
fn what_the_server_could_not_read_has_failed() {
    let (out, totals) = written(&Options { customers: 100_000, ..Options::default() });
    let mut unreadable = 0;
    for total in totals.iter().filter(|total| total.feed == "portal.access") {
        let text = fs::read_to_string(out.path().join(&total.file)).expect("the file is there");
        for line in text.lines() {
            let request = line.split('"').nth(1).expect("a line has a request");
            if !request.ends_with("HTTP/1.1") {
                unreadable += 1;
                assert!(line.contains("\" 400 "), "{line}");
            }
        }
    }
    assert!(unreadable > 0);
}
