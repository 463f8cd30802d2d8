use std::collections::HashMap;

use backplane_sdk::{Context, Day, Fen, Month, Status, proto::v1::Reason};
use package_valuation::{Component, Components, Measure, Role};
use serde::Deserialize;

// Of overlapping validity the later start wins: it is read last. A package that the city has components of its own for on the day is what the city makes of it.
const VALID: &str = "
SELECT component_id, package_id, product_id, role, list_price_fen, entitlement, measure
FROM package_component
WHERE valid_from <= $1 AND (valid_to IS NULL OR valid_to > $1) AND city IN ('440000', $2)
  AND (city <> '440000' OR package_id NOT IN (
    SELECT package_id FROM package_component WHERE city = $2 AND city <> '440000' AND valid_from <= $1 AND (valid_to IS NULL OR valid_to > $1)))
ORDER BY component_id, valid_from";

#[derive(Deserialize)]
struct Row {
    component_id: String,
    package_id: String,
    product_id: String,
    role: String,
    list_price_fen: Fen,
    entitlement: Option<i64>,
    measure: String,
}

/// The components of each package that are valid on the first of a month.
pub(crate) struct ByPackage {
    of: HashMap<String, Components>,
    none: Components,
}

impl ByPackage {
    pub(crate) fn read(context: &Context, month: Month, snapshot_id: i64) -> Result<ByPackage, Status> {
        let first: Day = month.first_day();
        let mut newest: HashMap<String, (String, Component)> = HashMap::new();
        for row in context.warehouse().query(VALID).bind(first).bind(context.city()).pin(snapshot_id).rows::<Row>()? {
            let row = row?;
            newest.insert(row.component_id.clone(), (row.package_id.clone(), component(row)?));
        }
        let mut of: HashMap<String, Vec<Component>> = HashMap::new();
        for (package_id, component) in newest.into_values() {
            of.entry(package_id).or_default().push(component);
        }
        Ok(ByPackage { of: of.into_iter().map(|(package_id, components)| (package_id, Components::new(components))).collect(), none: Components::default() })
    }

    /// Of packages without any.
    #[cfg(test)]
    pub(crate) fn none() -> ByPackage {
        ByPackage { of: HashMap::new(), none: Components::default() }
    }

    pub(crate) fn of(&self, package_id: &str) -> &Components {
        self.of.get(package_id).unwrap_or(&self.none)
    }
}

fn component(row: Row) -> Result<Component, Status> {
    let broken = |what: &str| {
        let message = format!("the component {} has {what}, which its contract does not allow: correct it where it is kept", row.component_id);
        Status::internal(Reason::RowsInvalid, message).at("component", row.component_id.clone())
    };
    let amount = |amount: i64, what: &str| u64::try_from(amount).map_err(|_| broken(what));
    let role = match row.role.as_str() {
        "paid" => Role::Paid,
        "gift" => Role::Gift,
        "voice" => Role::Voice,
        _ => return Err(broken("another role")),
    };
    let measure = measure_of(&row.measure).ok_or_else(|| broken("another measure"))?;
    Ok(Component {
        list_price_fen: amount(row.list_price_fen.number(), "a negative price")?,
        entitlement: amount(row.entitlement.unwrap_or(0), "a negative entitlement")?,
        component_id: row.component_id,
        product_id: row.product_id,
        role,
        measure,
    })
}

const MEASURES: [(&str, Measure); 4] = [("events", Measure::Events), ("quantity", Measure::Quantity), ("seconds", Measure::Seconds), ("kb", Measure::Kb)];

fn measure_of(name: &str) -> Option<Measure> {
    MEASURES.iter().find(|(known, _)| *known == name).map(|(_, measure)| *measure)
}

pub(crate) fn measure_name(measure: Measure) -> &'static str {
    MEASURES.iter().find(|(_, known)| *known == measure).map_or("", |(name, _)| name)
}

pub(crate) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Paid => "paid",
        Role::Gift => "gift",
        Role::Voice => "voice",
    }
}
