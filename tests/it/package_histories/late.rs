//! What comes when the months of a city have been valued: at random, and some changes after which no month has more rows than before, or other sums.

use sample_province::Draw;

use super::{
    DECEMBER_1, FIRSTS, LONG_AGO, MONTHS,
    catalogue::Catalogue,
    history::{cancelled_at, line, some_use},
    instant,
    rows::{Description, Enrolment, Line, Rows, Use},
};

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Late {
    /// Nothing of the city's own, only the province's.
    Nothing,
    /// From April on, lines and use; and a tariff that a customer had since February.
    Money,
    /// From April on, enrolments that were something else; and some planted ones.
    Corrections,
    /// All of it, from January on.
    Everything,
}

/// The customers behind the random ones, in the planted package; each is described where it is planted.
#[derive(Clone, Copy)]
enum Planted {
    Leaving,
    Entering,
    Early,
    Described,
    Priced,
    WithoutTerms,
}

impl Rows {
    pub(super) fn plant(&mut self, catalogue: &Catalogue, first_customer: i64) {
        let (january, february, march, april) = (FIRSTS[0], FIRSTS[1], FIRSTS[2], FIRSTS[3]);
        // Leaves February when another enters it: late, its start is corrected.
        self.add_planted(catalogue, first_customer, Planted::Leaving, february);
        // A line names it before it starts; late, its package is corrected.
        self.add_planted(catalogue, first_customer, Planted::Early, april);
        self.lines.push(fee(&planted(catalogue, first_customer, Planted::Early, april), january));
        // Its tariff since the 10th of February turns out to be another since the 20th.
        self.add_planted(catalogue, first_customer, Planted::Described, january);
        self.describe(catalogue, first_customer, Planted::Described, february + 9, None, "T0");
        // The terms of its package and tariff since the 10th of April turn out to be others since the 20th.
        self.add_planted(catalogue, first_customer, Planted::Priced, january);
        self.describe(catalogue, first_customer, Planted::Priced, LONG_AGO, None, "TL");
        // Since March its tariff is one of which there are no terms; the tariff before, which is still there, gives half.
        self.add_planted(catalogue, first_customer, Planted::WithoutTerms, january);
        self.describe(catalogue, first_customer, Planted::WithoutTerms, LONG_AGO, None, "T5");
        self.describe(catalogue, first_customer, Planted::WithoutTerms, march, None, "T9");
    }

    /// An enrolment to the end of June with a fee a month, and use of its first and third component.
    fn add_planted(&mut self, catalogue: &Catalogue, first_customer: i64, who: Planted, starts_on: i32) {
        let enrolment = planted(catalogue, first_customer, who, starts_on);
        for month in FIRSTS.into_iter().take(MONTHS).filter(|month| *month >= starts_on) {
            self.lines.push(fee(&enrolment, month));
        }
        for month in FIRSTS.into_iter().take(MONTHS) {
            let of_product = |product_id| Use { customer_id: enrolment.customer_id, product_id, day: month, source_feed: "misc.usage", counts: [5, 0, 0, 0] };
            self.uses.extend(catalogue.products().map(of_product));
        }
        self.enrolments.push(enrolment);
    }

    fn describe(&mut self, catalogue: &Catalogue, first_customer: i64, who: Planted, valid_from: i32, valid_to: Option<i32>, tariff: &str) {
        let tariff_id = catalogue.tariff(tariff);
        self.descriptions.push(Description { customer_id: first_customer + who as i64, valid_from, valid_to, tariff_id });
    }

    /// What comes after these rows.
    pub(super) fn late(&self, draw: &mut Draw, catalogue: &Catalogue, first_planted: i64, what: Late) -> Rows {
        let mut late = Rows::default();
        let first_month = if what == Late::Everything { 0 } else { 3 };
        if matches!(what, Late::Money | Late::Everything) {
            let some_month = |draw: &mut Draw| first_month + draw.below((MONTHS - first_month) as u32) as usize;
            for _ in 0..25 {
                let enrolment = draw.pick(&self.enrolments);
                let month = some_month(draw);
                late.lines.push(line(draw, enrolment.customer_id, Some(&enrolment.enrolment_id), FIRSTS[month]));
                let (customer_id, month) = (draw.pick(&self.enrolments).customer_id, some_month(draw));
                let product_id = &draw.pick(&self.uses).product_id;
                late.uses.push(some_use(draw, customer_id, product_id, month));
            }
            let february = FIRSTS[1];
            late.describe(catalogue, first_planted, Planted::Described, february + 9, Some(february + 19), "T0");
            late.describe(catalogue, first_planted, Planted::Described, february + 19, None, "T5");
        }
        if matches!(what, Late::Corrections | Late::Everything) {
            let is_late = |enrolment: &&Enrolment| enrolment.starts_on >= FIRSTS[first_month] && enrolment.customer_id < first_planted;
            let corrected: Vec<Enrolment> = self.enrolments.iter().filter(is_late).map(|enrolment| self.corrected(draw, catalogue, enrolment)).collect();
            late.enrolments.extend(corrected);
            let planted = |who, starts_on| planted(catalogue, first_planted, who, starts_on);
            late.enrolments.push(planted(Planted::Leaving, FIRSTS[2]));
            late.enrolments.push(Enrolment { ends_on: FIRSTS[2] - 1, ..planted(Planted::Entering, FIRSTS[1]) });
            late.enrolments.push(Enrolment { package_id: catalogue.package_without_components(), ..planted(Planted::Early, FIRSTS[3]) });
        }
        late
    }

    /// Another package, customer or term, or as it was.
    fn corrected(&self, draw: &mut Draw, catalogue: &Catalogue, enrolment: &Enrolment) -> Enrolment {
        let mut corrected = enrolment.clone();
        match draw.below(8) {
            0 => corrected.package_id = catalogue.some_package(draw),
            1 => corrected.customer_id = draw.pick(&self.enrolments).customer_id,
            2 => corrected.starts_on += 9,
            3 => corrected.ends_on -= 30,
            4 => corrected.cancelled_at = Some(cancelled_at(draw, enrolment.starts_on, enrolment.ends_on)),
            5 => corrected.cancelled_at = None,
            _ => {}
        }
        corrected
    }
}

fn planted(catalogue: &Catalogue, first_customer: i64, who: Planted, starts_on: i32) -> Enrolment {
    let customer_id = first_customer + who as i64;
    Enrolment {
        enrolment_id: format!("planted-{customer_id}"),
        customer_id,
        continues_id: None,
        at: instant(DECEMBER_1, 0),
        package_id: catalogue.planted_package(),
        starts_on,
        ends_on: FIRSTS[MONTHS] - 1,
        cancelled_at: None,
    }
}

fn fee(enrolment: &Enrolment, month: i32) -> Line {
    Line { customer_id: enrolment.customer_id, enrolment_id: Some(enrolment.enrolment_id.clone()), month, kind: "fee", amount_fen: 1_000 }
}
