use std::path::Path;

use super::{
    bills, read_back,
    table::{Table, cells, yuan},
};
use crate::{GenerateError, feeds};

/// Lines of bills whose month is over when their file comes.
pub(super) fn table(out: &Path) -> Result<Table, GenerateError> {
    let mut rows = Vec::new();
    for text in read_back::texts(out, &feeds::BOSS_CHARGE, None)? {
        let text = text?;
        for line in bills::lines(&text.text).filter(|line| line.sent_in > line.month) {
            let city = read_back::city_name(&text.city);
            rows.push(cells([&city, &line.bill, &line.number, &line.month, &line.sent_in, &line.enrolment.unwrap_or(""), &yuan(line.fen)]));
        }
    }
    Ok(Table {
        title: "Late adjustments",
        caption: "Lines of bills that come with the file of a later month than the one that they count for.".to_owned(),
        columns: &["city", "bill", "line", "counts for", "came with", "enrolment", "yuan"],
        rows,
    })
}
