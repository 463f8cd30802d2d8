use std::path::Path;

use super::{
    numbers::assignments,
    read_back::city_name,
    table::{Table, cells},
};
use crate::GenerateError;

/// Customers whose number ends in one city and goes on in another on the same day.
pub(super) fn table(out: &Path) -> Result<Table, GenerateError> {
    let assignments = assignments(out)?;
    let moved = assignments.windows(2).filter_map(|pair| match pair {
        [old, new] if (old.msisdn, old.customer, old.to) == (new.msisdn, new.customer, Some(new.from)) && old.city != new.city => Some((old, new)),
        _ => None,
    });
    let rows = moved.map(|(old, new)| cells([&new.customer, &new.msisdn, &city_name(&old.city), &city_name(&new.city), &new.from]));
    Ok(Table {
        title: "Customers who moved",
        caption: "Their number ends in one city and goes on in another on the same day.".to_owned(),
        columns: &["customer", "number", "from", "to", "on"],
        rows: rows.collect(),
    })
}
