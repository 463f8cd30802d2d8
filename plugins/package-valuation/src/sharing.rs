/// Step 3: shares what a customer used of one product in one measure among the components that could claim it, in their order: each takes up to its entitlement,
/// one without an entitlement (0) takes all that is left, and what nobody has an entitlement for goes to the last.
pub fn share(used: u64, entitlements: &[u64]) -> Vec<u64> {
    let mut left = used;
    let mut shares: Vec<u64> = entitlements
        .iter()
        .map(|entitlement| {
            let taken = if *entitlement == 0 { left } else { left.min(*entitlement) };
            left -= taken;
            taken
        })
        .collect();
    if let Some(last) = shares.last_mut() {
        *last += left;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn use_fills_the_claims_in_their_order() {
        assert_eq!(share(100, &[30, 50]), [30, 70], "the rest goes to the last");
        assert_eq!(share(40, &[30, 50]), [30, 10]);
        assert_eq!(share(100, &[30, 0, 50]), [30, 70, 0], "one without an entitlement takes all");
        assert_eq!(share(0, &[30, 0]), [0, 0]);
        assert_eq!(share(5, &[]), []);
    }

    proptest! {
        #[test]
        fn all_of_the_use_is_shared(used in any::<u64>(), entitlements in prop::collection::vec(0_u64..1_000, 1..6)) {
            prop_assert_eq!(share(used, &entitlements).iter().map(|taken| u128::from(*taken)).sum::<u128>(), u128::from(used));
        }
    }
}
