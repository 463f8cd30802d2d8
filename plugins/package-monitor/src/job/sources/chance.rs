// Below it a term adds nothing to the sum of those before it.
const NEGLIGIBLE: f64 = 1e-12;

/// The probability of at least `count` when a count follows the negative binomial of this mean and shape: a Poisson count whose mean varies after a Gamma of this shape.
///
/// `mean` and `shape` are above zero.
pub(super) fn at_least(count: i64, mean: f64, shape: f64) -> f64 {
    let again = mean / (mean + shape);
    let factor = |k: i64| (k as f64 + shape) / (k as f64 + 1.0) * again;
    // The term of `count`, by way of logarithms: the product itself may be too small for a double.
    let first = shape * (1.0 - again).ln() + (0..count).map(|k| factor(k).ln()).sum::<f64>();
    let (mut term, mut sum, mut k) = (first.exp(), 0.0, count);
    while term > sum * NEGLIGIBLE || factor(k) >= 1.0 {
        sum += term;
        term *= factor(k);
        k += 1;
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= expected * 1e-9
    }

    #[test]
    fn a_shape_of_one_is_the_geometric_distribution() {
        for (count, mean) in [(0, 3.0_f64), (1, 3.0), (7, 0.5), (40, 2.0)] {
            let expected = (mean / (1.0 + mean)).powi(i32::try_from(count).unwrap_or(0));
            assert!(is_near(at_least(count, mean, 1.0), expected), "{count} of {mean}");
        }
    }

    #[test]
    fn a_large_shape_is_the_poisson_distribution() {
        let poisson = |count: i32, mean: f64| {
            let mut term = (-mean).exp();
            let mut below = 0.0;
            for k in 0..count {
                below += term;
                term *= mean / f64::from(k + 1);
            }
            1.0 - below
        };
        for (count, mean) in [(3, 1.0), (9, 5.0), (1, 0.01)] {
            let found = at_least(i64::from(count), mean, 1e9);
            assert!((found - poisson(count, mean)).abs() < 1e-6, "{count} of {mean}: {found}");
        }
    }

    #[test]
    fn more_is_less_likely_and_everything_is_certain() {
        assert!(is_near(at_least(0, 20.0, 4.0), 1.0));
        let chances: Vec<f64> = (0..200).map(|count| at_least(count, 20.0, 4.0)).collect();
        assert!(chances.is_sorted_by(|one, other| one > other), "{chances:?}");
        assert_eq!(at_least(1_000_000, 1.0, 10.0), 0.0, "too small for a double, and an end");
    }
}
