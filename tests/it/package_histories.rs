//! package-monitor on random histories: what its job says of every enrolment and month is what `audit/value.sql` says, which computes it by another route; and again
//! when rows came late.

mod catalogue;
mod history;
mod late;
mod rows;

use std::hash::{BuildHasher, Hasher, RandomState};

use backplane_tests::{DONGGUAN, FOSHAN, Kernel, package_monitor};
use sample_province::Draw;
use serde_json::{Value, json};

use self::{
    catalogue::Catalogue,
    history::{Customers, History},
    late::Late,
};
use crate::package_monitor::figures::{every_amount_is_the_sum_of_its_parts, rows, the_figures_are_those_of_the_audit, value_months, whole};

const HUIZHOU: &str = "441300";
const ZHONGSHAN: &str = "442000";

const MONTHS: usize = 6;
/// The first days of January to July 2026, days since 1970.
const FIRSTS: [i32; MONTHS + 1] = [20_454, 20_485, 20_513, 20_544, 20_574, 20_605, 20_635];
const DECEMBER_1: i32 = FIRSTS[0] - 31;
const APRIL_10: i32 = FIRSTS[3] + 9;
/// Before all that happens.
const LONG_AGO: i32 = FIRSTS[0] - 365;

/// Microseconds since 1970, so many after midnight in Shanghai.
fn instant(day: i32, micros: i64) -> i64 {
    i64::from(day) * 86_400_000_000 - 8 * 3_600_000_000 + micros
}

/// A city, its catalogue, and what comes late there.
struct City<'a> {
    code: &'a str,
    seed: u64,
    catalogue: &'a Catalogue,
    customers: i64,
    /// From a few customers a step, and fewer than one of them needs, to all in one.
    enrolments_per_step: i64,
    /// θ, a decimal.
    under_used_below: &'static str,
    has_own_components: bool,
    late: Late,
}

#[tokio::test]
async fn random_histories_are_valued_as_the_audit_says() {
    let fresh = Fresh::seed();
    // Before the kernel starts: a first build takes minutes, in which this thread would not answer the kernel's pings.
    let wasm = std::fs::read(package_monitor()).unwrap();
    let kernel = Kernel::start().await;
    let version = kernel.install(&wasm).await.unwrap();
    let [fixed, drawn] = [(1, "P"), (fresh.seed, "Q")].map(|(seed, prefix)| Catalogue::random(&mut Draw::named(seed, &[0]), prefix));
    for catalogue in [&fixed, &drawn] {
        catalogue.append(&kernel, "first").await;
    }
    let cities = [
        City {
            code: HUIZHOU,
            seed: 2,
            catalogue: &fixed,
            customers: 40,
            enrolments_per_step: 10,
            under_used_below: "0.3",
            has_own_components: true,
            late: Late::Money,
        },
        City {
            code: DONGGUAN,
            seed: 3,
            catalogue: &fixed,
            customers: 90,
            enrolments_per_step: 50,
            under_used_below: "0.123456789",
            has_own_components: false,
            late: Late::Corrections,
        },
        City {
            code: FOSHAN,
            seed: 4,
            catalogue: &fixed,
            customers: 150,
            enrolments_per_step: 10_000,
            under_used_below: "0.75",
            has_own_components: false,
            late: Late::Nothing,
        },
        City {
            code: ZHONGSHAN,
            seed: fresh.seed,
            catalogue: &drawn,
            customers: 90,
            enrolments_per_step: 40,
            under_used_below: fresh.under_used_below(),
            has_own_components: true,
            late: Late::Everything,
        },
    ];

    let mut histories: Vec<History> = Vec::new();
    for (city, first) in cities.iter().zip((1_000_i64..).step_by(1_000)) {
        let arriving = histories.last().map_or(&[][..], |history| history.leaving.as_slice());
        let customers = Customers { first, count: city.customers, arriving };
        let history = History::random(&mut Draw::named(city.seed, &[1]), city.catalogue, &customers);
        history.append(&kernel.call.in_city(city.code)).await;
        if city.has_own_components {
            city.catalogue.append_of_city(&kernel, city.code).await;
        }
        // Rows that are appended come from no feed.
        let configuration =
            json!({"bill_feeds": [], "use_feeds": [], "enrolments_per_step": city.enrolments_per_step, "under_used_below": city.under_used_below});
        kernel.enable_with(&version, city.code, &configuration.to_string()).await.unwrap();
        let outcome = value_months(&kernel, city.code, "{}");
        assert_eq!(outcome["valued"].as_array().unwrap().len(), MONTHS, "{outcome}");
        is_valued_as_the_audit_says(&kernel, city);
        histories.push(history);
    }
    every_case_is_among_them(&kernel, &cities[..3]);

    for catalogue in [&fixed, &drawn] {
        catalogue.late().append(&kernel, "late").await;
    }
    for ((city, history), first) in cities.iter().zip(&histories).zip((1_000_i64..).step_by(1_000)) {
        let late = history.rows.late(&mut Draw::named(city.seed, &[2]), city.catalogue, first + city.customers, city.late);
        late.append(&kernel.call.in_city(city.code), "late").await;
        value_months(&kernel, city.code, "{}");
        is_valued_as_the_audit_says(&kernel, city);
        assert_eq!(value_months(&kernel, city.code, "{}")["valued"], json!([]), "nothing is stale in {}", city.code);
    }
}

fn is_valued_as_the_audit_says(kernel: &Kernel, city: &City<'_>) {
    every_amount_is_the_sum_of_its_parts(kernel, city.code);
    the_figures_are_those_of_the_audit(kernel, city.code, city.under_used_below);
}

/// What happens to nobody would be tested by nobody.
fn every_case_is_among_them(kernel: &Kernel, cities: &[City<'_>]) {
    let cases = [
        "booked_fen > 0 and real_fen = booked_fen",
        "booked_fen = 0 and carried_fen = 0",
        "carried_fen < 0",
        "virtual_fen > 0 and virtual_fen < booked_fen",
        "gifted_fen > 0 and real_fen > 0",
        "gifted_fen > 0 and virtual_fen > 0 and real_fen + swapped_fen = 0",
        "swapped_fen > 0 and real_fen > 0",
        "swapped_fen > 0 and real_fen = 0",
        "under_used_components > 0 and silent_components > 0",
        "components = 0 and booked_fen > 0",
        "not in_force and booked_fen > 0",
    ];
    let count = |(place, case): (usize, &&str)| format!("sum(case when {case} then 1 else 0 end) as c{place}");
    let counts: Vec<String> = cases.iter().enumerate().map(count).collect();
    let sql = format!("select {} from package_monitor.enrolment_value where not withdrawn", counts.join(", "));
    let found: Vec<Value> = cities.iter().map(|city| rows(kernel, city.code, &sql).remove(0)).collect();
    for (place, case) in cases.iter().enumerate() {
        let found: i64 = found.iter().map(|counts| whole(&counts[format!("c{place}")])).sum();
        assert!(found >= 5, "{found} rows with {case}");
    }
    let of_rows = [
        "charge where kind = 'refund'",
        "charge where kind = 'adjustment' and amount_fen < 0",
        "charge where kind = 'adjustment' and amount_fen > 0",
        "(select enrolment_id from charge where enrolment_id is not null and kind <> 'discount' group by enrolment_id, month having sum(amount_fen) < 0)",
        "enrolment where continues_id is not null",
        "enrolment a join enrolment b on b.customer_id = a.customer_id and b.enrolment_id > a.enrolment_id and b.starts_on <= a.ends_on and a.starts_on <= b.ends_on",
        "package_component where list_price_fen = 0",
        "package_component where entitlement is null or entitlement = 0",
        "package_component where date_part('day', valid_from) > 1",
        "package_component a join package_component b on b.component_id = a.component_id and b.valid_from > a.valid_from and (a.valid_to is null or a.valid_to > b.valid_from)",
        "(select component_id from package_component group by component_id having count(distinct list_price_fen) > 1)",
        "package_component where city <> '440000'",
    ];
    for from in of_rows {
        let found: i64 = cities.iter().map(|city| whole(&rows(kernel, city.code, &format!("select count(*) as n from {from}"))[0]["n"])).sum();
        assert!(found > 0, "no row of {from}");
    }
}

/// A seed that is another in each run. A run that fails says it, and is repeated with `HISTORIES_SEED`.
struct Fresh {
    seed: u64,
}

impl Fresh {
    fn seed() -> Fresh {
        let given = std::env::var("HISTORIES_SEED").ok().map(|seed| seed.parse().expect("HISTORIES_SEED is a number"));
        Fresh { seed: given.unwrap_or_else(|| RandomState::new().build_hasher().finish()) }
    }
}

impl Fresh {
    /// From where nothing is under-used to where all is that is not used up.
    fn under_used_below(&self) -> &'static str {
        const ONES: [&str; 4] = ["0", "0.3", "0.5", "1"];
        ONES[usize::try_from(self.seed % 4).unwrap()]
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "for whoever repeats the run")]
            {
                eprintln!("the same again: HISTORIES_SEED={}", self.seed);
            }
        }
    }
}
