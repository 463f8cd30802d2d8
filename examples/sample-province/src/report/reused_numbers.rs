use std::path::Path;

use super::{
    numbers::assignments,
    read_back::city_name,
    table::{Table, cells},
};
use crate::{GenerateError, moment::days_between};

/// Numbers that a second customer has after the first left.
pub(super) fn table(out: &Path) -> Result<Table, GenerateError> {
    let assignments = assignments(out)?;
    let rows = assignments.windows(2).filter_map(|pair| match pair {
        [old, new] if old.msisdn == new.msisdn && old.customer != new.customer => {
            let left = old.to?;
            Some(cells([&city_name(&new.city), &new.msisdn, &old.customer, &left, &new.customer, &new.from, &days_between(left, new.from)]))
        }
        _ => None,
    });
    Ok(Table {
        title: "Numbers that somebody else has now",
        caption: "The first customer left, the number rested, and another customer got it.".to_owned(),
        columns: &["city", "number", "had by", "until", "has by", "since", "days of rest"],
        rows: rows.collect(),
    })
}
