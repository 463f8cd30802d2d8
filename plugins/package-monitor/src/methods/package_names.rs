use backplane_sdk::Context;

use crate::month::PROVINCE;

/// The packages with their names, as a subquery: of a package's names the one that was valid on the day `$1`, else the newest; a city's own before that of the province, and
/// the province's own before those of its cities.
pub(super) fn names(context: &Context) -> String {
    let own_first = if context.city() == PROVINCE { "ASC" } else { "DESC" };
    format!(
        "SELECT package_id, name_zh
         FROM (SELECT package_id, name_zh,
                      row_number() OVER (PARTITION BY package_id
                                         ORDER BY city {own_first}, (valid_from <= $1 AND (valid_to IS NULL OR valid_to > $1)) DESC, valid_from DESC) AS place
               FROM package) AS named
         WHERE place = 1"
    )
}
