use arrow_array::{
    Array,
    cast::AsArray,
    types::{Date32Type, Int64Type},
};

use crate::{
    error::WarehouseError,
    lake::{Lake, TableName},
};

/// The dataset that says who had which service number when.
pub(crate) const DATASET: &str = "number_assignment";

/// Who had a service number on a day. Numbers are given to someone else after a while, so that without the day the question has no answer.
///
/// 24 bytes an assignment: a province of 10 million customers takes 240 MB, sorted once per import after assignments changed.
#[derive(Debug, Default)]
pub(crate) struct NumberIndex {
    /// By number, then by first day.
    assignments: Vec<Assignment>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Assignment {
    number: u64,
    /// Days since 1970.
    from: i32,
    /// Exclusive.
    to: i32,
    customer_id: i64,
}

impl NumberIndex {
    /// Reads the assignments of the whole province at the newest snapshot.
    pub(crate) async fn load(lake: &Lake) -> Result<NumberIndex, WarehouseError> {
        let columns = ["msisdn", "valid_from", "valid_to", "customer_id"];
        let mut assignments = Vec::new();
        for batch in lake.rows(lake.newest(), &TableName::dataset(DATASET), None, &columns).await? {
            let (numbers, customers) = (batch.column(0).as_string::<i32>(), batch.column(3).as_primitive::<Int64Type>());
            let (from, to) = (batch.column(1).as_primitive::<Date32Type>(), batch.column(2).as_primitive::<Date32Type>());
            for row in 0..batch.num_rows() {
                let to = if to.is_null(row) { i32::MAX } else { to.value(row) };
                if let Some(number) = service_number(numbers.value(row)) {
                    assignments.push(Assignment { number, from: from.value(row), to, customer_id: customers.value(row) });
                }
            }
        }
        Ok(NumberIndex::of(assignments))
    }

    fn of(mut assignments: Vec<Assignment>) -> NumberIndex {
        assignments.sort_unstable();
        NumberIndex { assignments }
    }

    /// The customer who had the number on that day. Of assignments that overlap the one that began later counts.
    pub(crate) fn customer(&self, number: u64, day: i32) -> Option<i64> {
        let end = self.assignments.partition_point(|assignment| (assignment.number, assignment.from) <= (number, day));
        let earlier = self.assignments[..end].iter().rev().take_while(|assignment| assignment.number == number);
        earlier.into_iter().find(|assignment| day < assignment.to).map(|assignment| assignment.customer_id)
    }
}

/// The eleven digits of a mainland service number, perhaps after the country code.
pub(crate) fn service_number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("+86").or_else(|| text.strip_prefix("86").filter(|rest| rest.len() == 11)).unwrap_or(text);
    (digits.len() == 11 && digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.starts_with('1')).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(number: u64, from: i32, to: i32, customer_id: i64) -> Assignment {
        Assignment { number, from, to, customer_id }
    }

    #[test]
    fn a_number_belongs_to_who_had_it_that_day() {
        let index = NumberIndex::of(vec![
            assignment(13_900_000_001, 200, i32::MAX, 2),
            assignment(13_900_000_001, 10, 100, 1),
            assignment(13_900_000_002, 0, 50, 3),
            assignment(13_900_000_002, 40, 60, 4),
        ]);
        let days = [9, 10, 99, 100, 199, 200, 9_999];
        assert_eq!(days.map(|day| index.customer(13_900_000_001, day)), [None, Some(1), Some(1), None, None, Some(2), Some(2)]);
        assert_eq!([39, 45, 59, 60].map(|day| index.customer(13_900_000_002, day)), [Some(3), Some(4), Some(4), None]);
        assert_eq!(index.customer(13_900_000_003, 10), None);
    }

    #[test]
    fn a_service_number_has_eleven_digits() {
        for text in ["13900000001", "+8613900000001", "8613900000001"] {
            assert_eq!(service_number(text), Some(13_900_000_001), "{text}");
        }
        for text in ["", "1390000000", "139000000012", "23900000001", "1390000000a", "0013900000001"] {
            assert_eq!(service_number(text), None, "{text}");
        }
    }
}
