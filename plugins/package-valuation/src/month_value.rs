use std::ops::Deref;

use crate::{Decimal, allocate, decimal::round_half_even};

/// A component of a package (拆分 splits its price over them), as it is valid on the first day of the month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    pub component_id: String,
    pub product_id: String,
    pub role: Role,
    /// What it costs alone, per month.
    pub list_price_fen: u64,
    /// What may be used of it in a month; 0 means that nothing says how much.
    pub entitlement: u64,
    pub measure: Measure,
}

/// The components of a package, in the order of their ids as text: it decides between equal remainders, and who claims use first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Components(Vec<Component>);

impl Components {
    /// Brings components into their order.
    pub fn new(mut components: Vec<Component>) -> Components {
        components.sort_by(|a, b| a.component_id.cmp(&b.component_id));
        Components(components)
    }
}

impl Deref for Components {
    type Target = [Component];

    fn deref(&self) -> &[Component] {
        &self.0
    }
}

/// What a component is in its package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Paid,
    Gift,
    Voice,
}

/// What use of a component is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    Events,
    Quantity,
    Seconds,
    Kb,
}

/// The bill lines of an enrolment in a month, summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bill {
    /// Lines of the kinds package, fee, refund and adjustment.
    pub charged_fen: i64,
    /// Lines of the kind gift_credit.
    pub gift_credit_fen: i64,
    /// What the month before left: 0 or less.
    pub carried_fen: i64,
}

/// What the steps leave to the operator and to the customer's tariff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// θ: a component of which less than this share was used is under-used (用量不足).
    pub under_used_below: Decimal,
    /// The tariff's ordinary discount on voice; 0 without a tariff.
    pub ordinary_voice_discount_permille: u32,
}

/// What an enrolment was worth in a month. All amounts sum to `booked_fen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonthValue {
    pub booked_fen: u64,
    pub real_fen: u64,
    /// Paid for and not used, or used too little (虚值).
    pub virtual_fen: u64,
    /// Credited as promotion (赠送话费).
    pub gifted_fen: u64,
    /// Bought with more discount on voice than the tariff gives to everyone (语音过度折扣).
    pub swapped_fen: u64,
    /// What the month leaves to the next: 0 or less.
    pub carried_fen: i64,
    /// In the order of the components; none when no component was valid, and then all is real but what was gifted.
    pub components: Vec<ComponentValue>,
}

/// A component's part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComponentValue {
    /// Its share of the booked amount.
    pub allocated_fen: u64,
    pub virtual_fen: u64,
    pub used: u64,
    pub state: Use,
}

/// How a component was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Not at all (沉默).
    Silent,
    /// Less than θ of its entitlement (用量不足).
    UnderUsed,
    Used,
}

/// Steps 1, 2 and 4 to 7, of one enrolment. `used` says what fell to each component in the sharing (step 3).
pub fn value_month(bill: Bill, components: &Components, used: &[u64], rules: Rules) -> MonthValue {
    let (booked_fen, carried_fen) = booked(bill);
    let prices: Vec<u64> = components.iter().map(|component| component.list_price_fen).collect();
    let parts = allocate(booked_fen, &prices);
    let values: Vec<ComponentValue> =
        components.iter().zip(parts).zip(used).map(|((component, part), used)| component_value(component, part, *used, rules)).collect();

    let virtual_fen: u64 = values.iter().map(|value| value.virtual_fen).sum();
    let gifted_fen = u64::try_from(bill.gift_credit_fen).unwrap_or(0).min(booked_fen - virtual_fen);
    let swapped_fen = excess_voice_discount(components, &values, rules).min(booked_fen - virtual_fen - gifted_fen);
    let real_fen = booked_fen - virtual_fen - gifted_fen - swapped_fen;
    MonthValue { booked_fen, real_fen, virtual_fen, gifted_fen, swapped_fen, carried_fen, components: values }
}

/// Step 1: what is booked, and what is left to the next month when the lines and what was left before come to less than nothing.
fn booked(bill: Bill) -> (u64, i64) {
    let sum = bill.charged_fen.saturating_add(bill.carried_fen);
    (u64::try_from(sum).unwrap_or(0), sum.min(0))
}

/// Step 4: the part of a component's share that nothing was used for.
fn component_value(component: &Component, allocated_fen: u64, used: u64, rules: Rules) -> ComponentValue {
    let (state, virtual_fen) = if used == 0 {
        (Use::Silent, allocated_fen)
    } else if rules.under_used_below.is_above(used, component.entitlement) {
        let unused = component.entitlement - used;
        let unused_fen = round_half_even(u128::from(allocated_fen) * u128::from(unused), u128::from(component.entitlement));
        // At most the share, which has 64 bits.
        (Use::UnderUsed, u64::try_from(unused_fen).unwrap_or(allocated_fen))
    } else {
        (Use::Used, 0)
    };
    ComponentValue { allocated_fen, virtual_fen, used, state }
}

/// Step 6, before its bound: the discount on voice above the ordinary one.
fn excess_voice_discount(components: &[Component], values: &[ComponentValue], rules: Rules) -> u64 {
    let voice = || components.iter().zip(values).filter(|(component, _)| component.role == Role::Voice);
    let price: u128 = voice().map(|(component, _)| u128::from(component.list_price_fen)).sum();
    let allocated: u128 = voice().map(|(_, value)| u128::from(value.allocated_fen)).sum();
    let ordinary = round_half_even(price * u128::from(rules.ordinary_voice_discount_permille), 1_000);
    // A share above the price takes from the discount of the others.
    u64::try_from(price.saturating_sub(allocated).saturating_sub(ordinary)).unwrap_or(u64::MAX)
}
