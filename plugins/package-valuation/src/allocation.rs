use std::cmp::Reverse;

/// Step 2: splits `amount` in the proportion of the weights, to the fen, by largest remainder. Equal remainders go to the earlier weight; without any weight the
/// parts are equal. The parts sum to `amount`.
pub fn allocate(amount: u64, weights: &[u64]) -> Vec<u64> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let equal = vec![1; weights.len()];
    let (weights, total) = if total == 0 { (equal.as_slice(), weights.len() as u128) } else { (weights, total) };
    if weights.is_empty() {
        return Vec::new();
    }
    let exact = |weight: &u64| u128::from(amount) * u128::from(*weight);
    // A part is at most the amount, which has 64 bits.
    let mut parts: Vec<u64> = weights.iter().map(|weight| u64::try_from(exact(weight) / total).unwrap_or(amount)).collect();
    let left = amount - parts.iter().sum::<u64>();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|index| (Reverse(exact(&weights[*index]) % total), *index));
    // Fewer are left than there are parts: each remainder is less than one.
    by_remainder.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)).for_each(|index| parts[index] += 1);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The worked case of an accounting handbook (IFRS 15): a phone line, internet and television for 20, 30 and 40, sold together for 10 less.
    #[test]
    fn the_worked_case_comes_out() {
        assert_eq!(allocate(80, &[20, 30, 40]), [18, 27, 35]);
        assert_eq!(allocate(8_000, &[2_000, 3_000, 4_000]), [1_778, 2_667, 3_555]);
    }

    #[test]
    fn equal_remainders_go_to_the_earlier_part() {
        assert_eq!(allocate(2, &[1, 1, 1]), [1, 1, 0]);
        assert_eq!(allocate(5, &[0, 0]), [3, 2], "without a price the parts are equal");
        assert_eq!(allocate(7, &[0, 5]), [0, 7]);
        assert_eq!(allocate(7, &[]), []);
    }

    proptest! {
        #[test]
        fn the_parts_sum_to_the_amount_and_none_is_a_fen_from_its_share(amount in any::<u64>(), weights in prop::collection::vec(0_u64..1 << 40, 1..9)) {
            let parts = allocate(amount, &weights);
            prop_assert_eq!(parts.iter().map(|part| u128::from(*part)).sum::<u128>(), u128::from(amount));
            let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            prop_assume!(total > 0);
            for (part, weight) in parts.iter().zip(&weights) {
                let exact = u128::from(amount) * u128::from(*weight);
                prop_assert!(u128::from(*part) >= exact / total && u128::from(*part) <= exact / total + 1);
                prop_assert!(*weight > 0 || *part == 0);
            }
        }
    }
}
