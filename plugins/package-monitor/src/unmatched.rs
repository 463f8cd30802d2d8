//! The bill lines of packages that no figure has: they name no enrolment, or one that is not known in their city.

/// These lines, `charge c`, of the month `$1`, as the end of a SELECT.
pub(crate) const LINES: &str = "
FROM charge c LEFT JOIN enrolment e ON e.enrolment_id = c.enrolment_id AND e.city = c.city
WHERE c.month = $1 AND c.kind IN ('package', 'fee', 'refund', 'adjustment') AND e.enrolment_id IS NULL AND (c.enrolment_id IS NOT NULL OR c.kind = 'package')";
