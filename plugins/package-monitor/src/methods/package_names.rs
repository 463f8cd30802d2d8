/// The packages with their names, as a subquery: of a package's names the one that was valid on the day `$1`, else the newest; a city's own before that of the province.
pub(super) const NAMES: &str = "
SELECT package_id, name_zh
FROM (SELECT package_id, name_zh,
             row_number() OVER (PARTITION BY package_id ORDER BY city DESC, (valid_from <= $1 AND (valid_to IS NULL OR valid_to > $1)) DESC, valid_from DESC) AS place
      FROM package) AS named
WHERE place = 1";
