use std::path::Path;

use super::{
    bills,
    table::{Table, cells, yuan},
};
use crate::{GenerateError, public};

/// Enrolments and months of which less than nothing is booked.
pub(super) fn table(out: &Path) -> Result<Table, GenerateError> {
    let mut rows = Vec::new();
    for city in public::cities() {
        let negative = bills::booked(out, city.code)?.into_iter().filter(|(_, fen)| *fen < 0);
        rows.extend(negative.map(|((enrolment, month), fen)| cells([&city.name_en, &enrolment, &month, &yuan(fen)])));
    }
    Ok(Table {
        title: "Months refunded with more than their amount",
        caption: "Enrolments of which less than nothing is booked in a month, late lines included: what is missing is carried to the next.".to_owned(),
        columns: &["city", "enrolment", "month", "booked in yuan"],
        rows,
    })
}
