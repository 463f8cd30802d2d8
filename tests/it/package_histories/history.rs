//! What the customers of a city did and were charged in half a year, drawn by chance, with everything that the rules have a word for.

use backplane_tests::Call;
use sample_province::Draw;

use super::{
    DECEMBER_1, FIRSTS, LONG_AGO, MONTHS,
    catalogue::Catalogue,
    instant,
    rows::{Description, Enrolment, Line, Rows, Use, append_enrolments},
};

/// A kind of line, and how often it is drawn.
const KINDS: [(&str, u32); 6] = [("package", 8), ("fee", 3), ("refund", 2), ("adjustment", 2), ("gift_credit", 2), ("discount", 1)];
const FEEDS_OF_USE: [&str; 2] = ["misc.usage", "base.activity"];
const TARIFFS: [&str; 5] = ["T0", "T1", "T2", "T3", "T5"];
/// With one that has no terms.
const TARIFFS_AND_NONE: [&str; 6] = ["T0", "T1", "T2", "T3", "T5", "T9"];
const DAY_MICROS: i64 = 86_400_000_000;

/// A city's first half year.
pub(super) struct History {
    /// Enrolments as they were known at first; the rows have newer revisions of them.
    drafts: Vec<Enrolment>,
    pub(super) rows: Rows,
    /// Enrolments with which customers go on in another city.
    pub(super) leaving: Vec<Enrolment>,
}

/// Which customers a city has.
pub(super) struct Customers<'a> {
    pub(super) first: i64,
    pub(super) count: i64,
    /// Who comes from another city.
    pub(super) arriving: &'a [Enrolment],
}

impl History {
    pub(super) fn random(draw: &mut Draw, catalogue: &Catalogue, customers: &Customers<'_>) -> History {
        let mut history = History { drafts: Vec::new(), rows: Rows::default(), leaving: Vec::new() };
        for customer_id in customers.first..customers.first + customers.count {
            // One has more than a step of the job takes.
            let enrolments = if customer_id == customers.first { 11 } else { draw.weighted(&[1, 4, 3, 2, 1]) };
            history.add_enrolments(draw, catalogue, customer_id, enrolments);
            history.add_descriptions(draw, catalogue, customer_id);
            history.add_use(draw, catalogue, customer_id);
            history.add_stray_lines(draw, customer_id);
        }
        for enrolment in customers.arriving {
            history.add_lines(draw, enrolment);
            history.add_descriptions(draw, catalogue, enrolment.customer_id);
            history.add_use(draw, catalogue, enrolment.customer_id);
            // The old city's enrolment is not known here.
            let old = enrolment.continues_id.as_deref();
            history.rows.lines.push(line(draw, enrolment.customer_id, old, FIRSTS[4]));
            history.rows.enrolments.push(enrolment.clone());
        }
        history.rows.plant(catalogue, customers.first + customers.count);
        history
    }

    pub(super) async fn append(&self, city: &Call) {
        append_enrolments(city, "drafts", &self.drafts).await;
        self.rows.append(city, "first").await;
    }

    fn add_enrolments(&mut self, draw: &mut Draw, catalogue: &Catalogue, customer_id: i64, count: usize) {
        let mut package_id = catalogue.some_package(draw);
        for number in 0..count {
            // Often the same again.
            if !draw.chance(0.35) {
                package_id = catalogue.some_package(draw);
            }
            let enrolment_id = format!("{}{customer_id}-{number}", draw.pick(&["E", "e"]));
            let mut enrolment = enrolment(draw, enrolment_id, customer_id, package_id.clone());
            if draw.chance(0.06) {
                self.leave(draw, &mut enrolment);
            }
            if draw.chance(0.15) {
                let (package_id, starts_on) = (catalogue.some_package(draw), enrolment.starts_on + 7);
                self.drafts.push(Enrolment { package_id, starts_on, cancelled_at: None, ..enrolment.clone() });
            }
            self.add_lines(draw, &enrolment);
            self.rows.enrolments.push(enrolment);
        }
    }

    /// It is closed with a day, and goes on in another city with the next.
    fn leave(&mut self, draw: &mut Draw, enrolment: &mut Enrolment) {
        let on = *draw.pick(&FIRSTS) + *draw.pick(&[0, 0, 12]);
        if enrolment.starts_on < on && on <= enrolment.ends_on && enrolment.cancelled_at.is_none() {
            let (enrolment_id, continues_id) = (format!("{}m", enrolment.enrolment_id), Some(enrolment.enrolment_id.clone()));
            self.leaving.push(Enrolment { enrolment_id, continues_id, at: instant(on, 0), starts_on: on, ..enrolment.clone() });
            enrolment.cancelled_at = Some(instant(on, -1_000_000));
        }
    }

    /// In most months in which it is in force, and in some others.
    fn add_lines(&mut self, draw: &mut Draw, enrolment: &Enrolment) {
        for month in 0..MONTHS {
            let in_force = enrolment.starts_on < FIRSTS[month + 1] && enrolment.ends_on >= FIRSTS[month];
            if draw.chance(if in_force { 0.75 } else { 0.06 }) {
                for _ in 0..draw.between(1, 4) {
                    // The customer of a line decides nothing.
                    let customer_id = if draw.chance(0.9) { enrolment.customer_id } else { 7 };
                    self.rows.lines.push(line(draw, customer_id, Some(&enrolment.enrolment_id), FIRSTS[month]));
                }
            }
        }
    }

    /// Lines that name no enrolment, or none that is known.
    fn add_stray_lines(&mut self, draw: &mut Draw, customer_id: i64) {
        for enrolment_id in [None, Some("unknown")] {
            if draw.chance(0.2) {
                let month = FIRSTS[draw.below(MONTHS as u32) as usize];
                self.rows.lines.push(line(draw, customer_id, enrolment_id, month));
            }
        }
    }

    fn add_descriptions(&mut self, draw: &mut Draw, catalogue: &Catalogue, customer_id: i64) {
        let mut add = |valid_from, valid_to, tariff: &str| {
            self.rows.descriptions.push(Description { customer_id, valid_from, valid_to, tariff_id: catalogue.tariff(tariff) });
        };
        if draw.chance(0.85) {
            let until = *draw.pick(&[None, None, None, Some(FIRSTS[3]), Some(FIRSTS[2] + 9)]);
            add(LONG_AGO, until, draw.pick::<&str>(&TARIFFS));
        }
        // After it, or over it.
        if draw.chance(0.35) {
            let since = *draw.pick(&FIRSTS) + *draw.pick(&[0, 9]);
            let until = *draw.pick(&[None, None, Some(since + 5), Some(since + 45)]);
            add(since, until, draw.pick::<&str>(&TARIFFS_AND_NONE));
        }
    }

    fn add_use(&mut self, draw: &mut Draw, catalogue: &Catalogue, customer_id: i64) {
        for product_id in catalogue.products() {
            for month in 0..MONTHS {
                if draw.chance(0.6) {
                    for _ in 0..draw.between(1, 3) {
                        self.rows.uses.push(some_use(draw, customer_id, &product_id, month));
                    }
                }
            }
        }
    }
}

/// An enrolment with days where rules have their edges.
pub(super) fn enrolment(draw: &mut Draw, enrolment_id: String, customer_id: i64, package_id: String) -> Enrolment {
    let some_day = day_between(draw, DECEMBER_1, FIRSTS[MONTHS] - 6);
    let starts_on = *draw.pick(&[some_day, some_day, FIRSTS[0], FIRSTS[2], FIRSTS[3] - 1, FIRSTS[4]]);
    let (short, long) = (day_between(draw, 0, 120), day_between(draw, 60, 300));
    // For one day, and over before it begins.
    let ends_on = match draw.weighted(&[2, 3, 1, 1, 1]) {
        0 => starts_on + short,
        1 => starts_on + long,
        2 => starts_on,
        3 => starts_on - 1,
        // With a month, or on the 1st of the next.
        _ => (*draw.pick(&FIRSTS) - *draw.pick(&[0, 1])).max(starts_on),
    };
    // Many at the same instant: then the id decides.
    let at = *draw.pick(&[instant(DECEMBER_1, 0), instant(DECEMBER_1, 0), instant(DECEMBER_1, 1), instant(starts_on - 3, DAY_MICROS / 2)]);
    let cancelled_at = draw.chance(0.25).then(|| cancelled_at(draw, starts_on, ends_on));
    Enrolment { enrolment_id, customer_id, continues_id: None, at, package_id, starts_on, ends_on, cancelled_at }
}

/// Before the start, on the first or the last day, within or after the term, or on the 1st of a month: at noon or around midnight in Shanghai.
pub(super) fn cancelled_at(draw: &mut Draw, starts_on: i32, ends_on: i32) -> i64 {
    let within = day_between(draw, starts_on, ends_on.max(starts_on));
    let day = *draw.pick(&[starts_on - 3, starts_on, starts_on + 1, within, within, ends_on, ends_on + 2, FIRSTS[1], FIRSTS[2], FIRSTS[3]]);
    instant(day, *draw.pick(&[-1, 0, 1, DAY_MICROS / 2, DAY_MICROS - 1]))
}

/// A line of any kind and amount; a negative one is often more than all that was charged before.
pub(super) fn line(draw: &mut Draw, customer_id: i64, enrolment_id: Option<&str>, month: i32) -> Line {
    let (kind, _) = KINDS[draw.weighted(&KINDS.map(|(_, often)| often))];
    let amount_fen = match kind {
        "package" => draw.between(0, 6_000),
        "fee" => draw.between(0, 900),
        "refund" => -draw.between(1, 4_000),
        "adjustment" => draw.between(-5_000, 5_000),
        "gift_credit" => draw.between(-300, 6_000) / *draw.pick(&[1, 10]),
        _ => draw.between(-100, 1_500),
    };
    Line { customer_id, enrolment_id: enrolment_id.map(str::to_owned), month, kind, amount_fen }
}

/// Use on a day of a month, its first and last among them.
pub(super) fn some_use(draw: &mut Draw, customer_id: i64, product_id: &str, month: usize) -> Use {
    let (first, last) = (FIRSTS[month], FIRSTS[month + 1] - 1);
    let within = day_between(draw, first, last);
    Use {
        customer_id,
        product_id: product_id.to_owned(),
        day: *draw.pick(&[first, last, within]),
        source_feed: draw.pick::<&str>(&FEEDS_OF_USE),
        counts: [*draw.pick(&[0, 1, 2, 5, 20, 40]), *draw.pick(&[0, 1, 3, 9, 30]), *draw.pick(&[0, 4, 9, 70]), *draw.pick(&[0, 0, 6, 11, 50])],
    }
}

fn day_between(draw: &mut Draw, first: i32, last: i32) -> i32 {
    first + draw.below((last - first + 1).unsigned_abs()) as i32
}
