//! Polynomials of one variable, lowest order first, and the inverse of a rising one.

/// The value at `x`.
pub(super) fn value(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// The derivative at `x`.
pub(super) fn slope(coefficients: &[f64], x: f64) -> f64 {
    let mut sum = 0.0;
    for (order, coefficient) in coefficients.iter().enumerate().skip(1).rev() {
        sum = sum * x + order as f64 * coefficient;
    }
    sum
}

/// The `x >= 0` on the rising branch where the polynomial is `target`: Newton's method from `guess`, to convergence.
/// `None` when there is none nearby.
pub(super) fn inverse(coefficients: &[f64], target: f64, guess: f64) -> Option<f64> {
    let first = coefficients.get(1).copied().unwrap_or(0.0);
    let mut x = if guess.is_finite() && guess > 0.0 { guess } else { target / first };
    for _ in 0..32 {
        let step = (value(coefficients, x) - target) / slope(coefficients, x);
        x -= step;
        if !x.is_finite() {
            return None;
        }
        if step.abs() <= 1e-12 * (1.0 + x.abs()) {
            return (x >= -1e-9 && slope(coefficients, x) > 0.0).then_some(x);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_undoes_the_value_on_the_rising_branch() {
        let coefficients = [0.0, 929.0, 4.2, -31.0, 12.5, -9.8];
        for step in 0..=130 {
            let x = f64::from(step) / 100.0;
            let found = inverse(&coefficients, value(&coefficients, x), x * 1.1).unwrap();
            assert!((found - x).abs() < 1e-12, "{found} for {x}");
        }
    }

    #[test]
    fn there_is_no_inverse_above_the_highest_value() {
        assert_eq!(inverse(&[0.0, 1.0, -0.25], 1.5, 1.0), None);
    }

    #[test]
    fn a_missing_guess_is_replaced_by_the_linear_term() {
        assert!((inverse(&[0.0, 2.0, 0.1], 4.4, 0.0).unwrap() - 2.0).abs() < 1e-12);
    }
}
