//! From what a step reads to what it writes.

use std::collections::BTreeMap;

use backplane_sdk::{Fen, Month};
use package_valuation::{Bill, Component, ComponentValue, Decimal, Enrolment, Measure, MonthValue, Rules, Use, Used, value_customer};

use super::{
    components::{ByPackage, measure_name, role_name},
    inputs::{EnrolmentRow, Inputs, UseRow},
};
use crate::{
    datasets::{ComponentValueRow, EnrolmentValueRow},
    value::{Parts, fen, signed},
};

/// The rows of a step.
#[derive(Default)]
pub(crate) struct Valued {
    pub(crate) enrolments: Vec<EnrolmentValueRow>,
    pub(crate) components: Vec<ComponentValueRow>,
}

/// Values the enrolments of a step, customer by customer.
pub(crate) fn value(month: Month, inputs: &Inputs, components: &ByPackage, under_used_below: Decimal) -> Valued {
    let mut valued = Valued::default();
    for of_customer in inputs.enrolments.chunk_by(|one, other| one.customer_id == other.customer_id) {
        let Some(customer_id) = of_customer.first().map(|enrolment| enrolment.customer_id) else {
            continue;
        };
        let of_month: Vec<(&EnrolmentRow, bool)> = of_customer
            .iter()
            .map(|row| (row, is_in_force(row, month)))
            .filter(|(row, in_force)| *in_force || inputs.bills.contains_key(&row.enrolment_id))
            .collect();
        let enrolments: Vec<Enrolment<'_>> = of_month.iter().map(|(row, in_force)| enrolment(row, *in_force, inputs, components)).collect();
        let used = used(inputs.used.get(&customer_id).map_or(&[], Vec::as_slice));
        let permille = inputs.permille.get(&customer_id).copied().unwrap_or(0);
        let rules = Rules { under_used_below, ordinary_voice_discount_permille: u32::try_from(permille).unwrap_or(0) };
        for ((row, in_force), value) in of_month.iter().zip(value_customer(&enrolments, &used, rules)) {
            let of_package = components.of(&row.package_id);
            valued.components.extend(of_package.iter().zip(&value.components).map(|(component, value)| component_row(month, row, component, value)));
            valued.enrolments.push(value_row(month, row, *in_force, &value));
        }
    }
    valued
}

fn is_in_force(row: &EnrolmentRow, month: Month) -> bool {
    row.term().is_some_and(|term| term.is_in_force(month.first_day().number(), month.last_day().number()))
}

fn enrolment<'a>(row: &'a EnrolmentRow, is_in_force: bool, inputs: &Inputs, components: &'a ByPackage) -> Enrolment<'a> {
    let bill = inputs.bills.get(&row.enrolment_id).copied().unwrap_or_default();
    let carried_fen = inputs.carried.get(&row.enrolment_id).copied().unwrap_or_default().number();
    Enrolment {
        enrolment_id: &row.enrolment_id,
        at: row.at,
        is_in_force,
        bill: Bill { charged_fen: bill.charged_fen.number(), gift_credit_fen: bill.gift_credit_fen.number(), carried_fen },
        components: components.of(&row.package_id),
    }
}

fn used(rows: &[UseRow]) -> Used<'_> {
    let mut used: BTreeMap<(&str, Measure), u64> = BTreeMap::new();
    for row in rows {
        let measured = [(Measure::Events, row.events), (Measure::Quantity, row.quantity), (Measure::Seconds, row.seconds), (Measure::Kb, row.kb)];
        for (measure, count) in measured {
            used.insert((&row.product_id, measure), u64::try_from(count).unwrap_or(0));
        }
    }
    used
}

fn value_row(month: Month, row: &EnrolmentRow, in_force: bool, value: &MonthValue) -> EnrolmentValueRow {
    let with = |state: Use| value.components.iter().filter(|component| component.state == state).count() as u64;
    let Parts { booked_fen, real_fen, virtual_fen, gifted_fen, swapped_fen } = Parts::from(value);
    EnrolmentValueRow {
        enrolment_id: row.enrolment_id.clone(),
        month,
        customer_id: row.customer_id,
        package_id: row.package_id.clone(),
        channel_id: row.channel_id.clone(),
        agent_id: row.agent_id.clone(),
        joined_month: row.starts_on.month(),
        in_force,
        booked_fen,
        real_fen,
        virtual_fen,
        gifted_fen,
        swapped_fen,
        carried_fen: Fen::new(value.carried_fen),
        components: signed(value.components.len() as u64),
        silent_components: signed(with(Use::Silent)),
        under_used_components: signed(with(Use::UnderUsed)),
        withdrawn: false,
    }
}

fn component_row(month: Month, row: &EnrolmentRow, component: &Component, value: &ComponentValue) -> ComponentValueRow {
    ComponentValueRow {
        enrolment_id: row.enrolment_id.clone(),
        month,
        component_id: component.component_id.clone(),
        customer_id: row.customer_id,
        package_id: row.package_id.clone(),
        product_id: component.product_id.clone(),
        role: role_name(component.role).to_owned(),
        list_price_fen: fen(component.list_price_fen),
        entitlement: signed(component.entitlement),
        measure: measure_name(component.measure).to_owned(),
        used: signed(value.used),
        state: state_name(value.state).to_owned(),
        allocated_fen: fen(value.allocated_fen),
        virtual_fen: fen(value.virtual_fen),
    }
}

fn state_name(state: Use) -> &'static str {
    match state {
        Use::Silent => "silent",
        Use::UnderUsed => "under_used",
        Use::Used => "used",
    }
}
