use std::collections::BTreeMap;

use crate::{Bill, Component, Components, Measure, MonthValue, Rules, share, value_month};

/// An enrolment in a month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment<'a> {
    pub enrolment_id: &'a str,
    /// When it was made: who came first claims use first.
    pub at: i64,
    /// Whether it was in force on a day of the month. One that was not is valued when a bill line names it, and claims no use.
    pub is_in_force: bool,
    pub bill: Bill,
    /// Those of its package that are valid on the first of the month.
    pub components: &'a Components,
}

/// What a customer used in a month, all of its days, of each product in each measure.
pub type Used<'a> = BTreeMap<(&'a str, Measure), u64>;

/// Values the enrolments of one customer in one month, in the order given. What was used is shared among those that are in force (step 3).
pub fn value_customer(enrolments: &[Enrolment<'_>], used: &Used<'_>, rules: Rules) -> Vec<MonthValue> {
    let mut shares: Vec<Vec<u64>> = enrolments.iter().map(|enrolment| vec![0; enrolment.components.len()]).collect();
    for (what, claims) in claims(enrolments) {
        let entitlements: Vec<u64> = claims.iter().map(|claim| enrolments[claim.enrolment].components[claim.component].entitlement).collect();
        let taken = share(used.get(&what).copied().unwrap_or(0), &entitlements);
        claims.iter().zip(taken).for_each(|(claim, taken)| shares[claim.enrolment][claim.component] = taken);
    }
    enrolments.iter().zip(shares).map(|(enrolment, shares)| value_month(enrolment.bill, enrolment.components, &shares, rules)).collect()
}

/// A component that could claim use, by its place among the enrolments.
struct Claim {
    enrolment: usize,
    component: usize,
}

/// The claims on each product and measure in their order: by the enrolment's time and id, then by the component's id.
fn claims<'a>(enrolments: &[Enrolment<'a>]) -> BTreeMap<(&'a str, Measure), Vec<Claim>> {
    let mut by_order: Vec<usize> = (0..enrolments.len()).filter(|index| enrolments[*index].is_in_force).collect();
    by_order.sort_by_key(|index| (enrolments[*index].at, enrolments[*index].enrolment_id));
    let mut claims: BTreeMap<_, Vec<Claim>> = BTreeMap::new();
    for enrolment in by_order {
        for (component, Component { product_id, measure, .. }) in enrolments[enrolment].components.iter().enumerate() {
            claims.entry((product_id.as_str(), *measure)).or_default().push(Claim { enrolment, component });
        }
    }
    claims
}
