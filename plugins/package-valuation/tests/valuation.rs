//! The valuation by worked examples, and its identities over random customers.
#![allow(clippy::unwrap_used, reason = "tests")]

use package_valuation::{Bill, Component, Components, Enrolment, Measure, MonthValue, Role, Rules, Use, Used, value_customer, value_month};
use proptest::prelude::*;

fn rules(ordinary_voice_discount_permille: u32) -> Rules {
    Rules { under_used_below: "0.3".parse().unwrap(), ordinary_voice_discount_permille }
}

fn component(id: &str, product: &str, role: Role, list_price_fen: u64, entitlement: u64) -> Component {
    Component { component_id: id.to_owned(), product_id: product.to_owned(), role, list_price_fen, entitlement, measure: Measure::Events }
}

fn charged(charged_fen: i64) -> Bill {
    Bill { charged_fen, ..Bill::default() }
}

fn parts(value: &MonthValue) -> [u64; 4] {
    [value.real_fen, value.virtual_fen, value.gifted_fen, value.swapped_fen]
}

/// A phone line, internet and television for 20, 30 and 40 yuan, sold together for 10 less, as an accounting handbook works it out.
fn handbook() -> Components {
    let of = |id, role, price| component(id, id, role, price, 100);
    Components::new(vec![of("phone", Role::Voice, 2_000), of("internet", Role::Paid, 3_000), of("tv", Role::Gift, 4_000)])
}

#[test]
fn what_is_used_is_real() {
    let value = value_month(charged(8_000), &handbook(), &[50, 50, 50], rules(1_000));
    let allocated: Vec<u64> = value.components.iter().map(|component| component.allocated_fen).collect();
    assert_eq!(allocated, [2_667, 1_778, 3_555], "internet, phone, tv");
    assert_eq!(parts(&value), [8_000, 0, 0, 0]);
}

#[test]
fn silent_and_under_used_components_are_virtual() {
    // Internet silent: 2,667. Television used 10 of 100: nine tenths of 3,555, which is 3,199.5 and goes to the even 3,200.
    let value = value_month(charged(8_000), &handbook(), &[0, 30, 10], rules(1_000));
    let states: Vec<Use> = value.components.iter().map(|component| component.state).collect();
    assert_eq!(states, [Use::Silent, Use::Used, Use::UnderUsed], "30 of 100 is not below 0.3");
    assert_eq!(parts(&value), [2_133, 5_867, 0, 0]);
}

#[test]
fn gifts_and_excess_voice_discount_follow_within_what_is_left() {
    // The phone costs 2,000 alone and 1,778 here: a discount of 222, of which the tariff gives everyone 100.
    let all_used = |bill| value_month(bill, &handbook(), &[100, 100, 100], rules(50));
    let bill = Bill { charged_fen: 8_000, gift_credit_fen: 1_000, carried_fen: 0 };
    assert_eq!(parts(&all_used(bill)), [6_878, 0, 1_000, 122]);
    assert_eq!(parts(&all_used(Bill { gift_credit_fen: 9_000, ..bill })), [0, 0, 8_000, 0], "no more than is booked");
    assert_eq!(parts(&all_used(Bill { gift_credit_fen: -5, ..bill })), [7_878, 0, 0, 122], "a negative sum counts nothing");
    assert_eq!(parts(&all_used(Bill { gift_credit_fen: 7_950, ..bill })), [0, 0, 7_950, 50]);
}

#[test]
fn without_a_valid_component_all_is_real_but_what_was_gifted() {
    let bill = Bill { charged_fen: 500, gift_credit_fen: 200, carried_fen: 0 };
    let value = value_month(bill, &Components::default(), &[], rules(0));
    assert_eq!((parts(&value), value.components.len()), ([300, 0, 200, 0], 0));
}

#[test]
fn less_than_nothing_is_carried_until_it_is_consumed() {
    let mut carried_fen = 0;
    let booked: Vec<(u64, i64)> = [-300, 0, 100, 500]
        .into_iter()
        .map(|charged_fen| {
            let value = value_month(Bill { charged_fen, gift_credit_fen: 0, carried_fen }, &handbook(), &[1, 1, 1], rules(0));
            carried_fen = value.carried_fen;
            (value.booked_fen, value.carried_fen)
        })
        .collect();
    assert_eq!(booked, [(0, -300), (0, -300), (0, -200), (300, 0)]);
}

#[test]
fn an_earlier_enrolment_claims_use_first() {
    let ringback = Components::new(vec![component("c1", "ringback", Role::Paid, 500, 10)]);
    let enrolment = |enrolment_id, at, is_in_force| Enrolment { enrolment_id, at, is_in_force, bill: charged(500), components: &ringback };
    let used = Used::from([(("ringback", Measure::Events), 12), (("ringback", Measure::Seconds), 99)]);
    let of = |enrolments: &[Enrolment<'_>]| value_customer(enrolments, &used, rules(0)).iter().map(|value| value.components[0].used).collect::<Vec<_>>();
    assert_eq!(of(&[enrolment("late", 7, true), enrolment("early", 3, true)]), [2, 10]);
    assert_eq!(of(&[enrolment("b", 3, true), enrolment("a", 3, true)]), [2, 10], "by id when made at the same time");
    assert_eq!(of(&[enrolment("late", 7, true), enrolment("over", 3, false)]), [12, 0], "one that is over claims nothing");
}

fn any_component() -> impl Strategy<Value = Component> {
    let measure = prop_oneof![Just(Measure::Events), Just(Measure::Kb)];
    let role = prop_oneof![Just(Role::Paid), Just(Role::Gift), Just(Role::Voice)];
    ("[a-d]{1,2}", "[xyz]", role, 0_u64..5_000, 0_u64..50, measure).prop_map(|(component_id, product_id, role, list_price_fen, entitlement, measure)| {
        Component { component_id, product_id, role, list_price_fen, entitlement, measure }
    })
}

prop_compose! {
    fn any_bill()(charged_fen in -20_000_i64..20_000, gift_credit_fen in -500_i64..20_000, carried_fen in -20_000_i64..=0) -> Bill {
        Bill { charged_fen, gift_credit_fen, carried_fen }
    }
}

proptest! {
    #[test]
    fn the_four_parts_are_what_is_booked(
        packages in prop::collection::vec(prop::collection::vec(any_component(), 0..5), 1..4),
        bills in prop::collection::vec((any_bill(), 0_i64..3, any::<bool>()), 4),
        used in prop::collection::btree_map(("[xyz]", prop_oneof![Just(Measure::Events), Just(Measure::Kb)]), 0_u64..80, 0..6),
        permille in 0_u32..1_200,
    ) {
        let packages: Vec<Components> = packages.into_iter().map(Components::new).collect();
        let ids: Vec<String> = (0..packages.len()).map(|number| number.to_string()).collect();
        let enrolments: Vec<Enrolment<'_>> = packages.iter().zip(&ids).zip(&bills)
            .map(|((components, enrolment_id), (bill, at, is_in_force))| Enrolment { enrolment_id, at: *at, is_in_force: *is_in_force, bill: *bill, components })
            .collect();
        let used: Used<'_> = used.iter().map(|((product, measure), used)| ((product.as_str(), *measure), *used)).collect();
        let values = value_customer(&enrolments, &used, rules(permille));
        for (enrolment, value) in enrolments.iter().zip(&values) {
            prop_assert_eq!(parts(value).iter().sum::<u64>(), value.booked_fen);
            let Bill { charged_fen, carried_fen, .. } = enrolment.bill;
            prop_assert_eq!(value.booked_fen.cast_signed() + value.carried_fen, charged_fen + carried_fen, "nothing is lost between months");
            prop_assert!(value.carried_fen <= 0);
            let allocated: u64 = value.components.iter().map(|component| component.allocated_fen).sum();
            prop_assert_eq!(allocated, if enrolment.components.is_empty() { 0 } else { value.booked_fen });
            prop_assert!(value.components.iter().all(|component| component.virtual_fen <= component.allocated_fen));
        }
        // What was used of a product that some enrolment could claim is shared to the last event.
        for ((product, measure), used) in &used {
            let is_claim = |component: &Component| component.product_id == *product && component.measure == *measure;
            let in_force = || enrolments.iter().zip(&values).filter(|(enrolment, _)| enrolment.is_in_force);
            let taken: u64 = in_force().flat_map(|(enrolment, value)| enrolment.components.iter().zip(&value.components)).filter(|(component, _)| is_claim(component)).map(|(_, value)| value.used).sum();
            let is_claimed = in_force().any(|(enrolment, _)| enrolment.components.iter().any(is_claim));
            prop_assert_eq!(taken, if is_claimed { *used } else { 0 });
        }
    }

    #[test]
    fn the_order_in_which_enrolments_and_components_come_changes_nothing(
        mut components in prop::collection::vec(any_component(), 1..5),
        bills in prop::collection::vec(any_bill(), 2),
        used in 0_u64..80,
    ) {
        components.dedup_by(|a, b| a.component_id == b.component_id);
        let ids: std::collections::BTreeSet<&str> = components.iter().map(|component| component.component_id.as_str()).collect();
        prop_assume!(ids.len() == components.len());
        let forward = Components::new(components.clone());
        components.reverse();
        let backward = Components::new(components);
        prop_assert_eq!(&forward, &backward);
        let used = Used::from([(("x", Measure::Events), used)]);
        let enrolment = |enrolment_id, bill| Enrolment { enrolment_id, at: 1, is_in_force: true, bill, components: &forward };
        let mut swapped = value_customer(&[enrolment("b", bills[1]), enrolment("a", bills[0])], &used, rules(0));
        swapped.reverse();
        prop_assert_eq!(value_customer(&[enrolment("a", bills[0]), enrolment("b", bills[1])], &used, rules(0)), swapped);
    }
}
