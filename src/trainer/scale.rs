//! What a task shows, in units of how much it varies: metres of a target beside radians of a joint count alike.

use serde::{Deserialize, Serialize};

/// Deviations beyond that are cut: a number that hardly ever changed must not shout when it does.
const FARTHEST: f64 = 10.0;
const LEAST_DEVIATION: f64 = 1e-3;

/// Mean and variance of each number of the observations so far (Welford, 1962).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    count: f64,
    means: Vec<f64>,
    /// Sums of squared deviations.
    squares: Vec<f64>,
}

impl Scale {
    /// For observations of `size` numbers. Variances begin at 1 and soon are those of what was seen.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self { count: 0.0, means: vec![0.0; size], squares: vec![1.0; size] }
    }

    /// Whether it is for observations of `size` numbers, and of sound ones.
    #[must_use]
    pub fn fits(&self, size: usize) -> bool {
        self.count.is_finite()
            && [&self.means, &self.squares]
                .iter()
                .all(|numbers| numbers.len() == size && numbers.iter().all(|number| number.is_finite()))
    }

    /// Counts an observation in.
    pub fn see(&mut self, observation: &[f64]) {
        self.count += 1.0;
        for ((number, mean), square) in observation.iter().zip(&mut self.means).zip(&mut self.squares) {
            let off = number - *mean;
            *mean += off / self.count;
            *square += off * (number - *mean);
        }
    }

    /// Brings one observation into its units.
    pub fn apply(&self, observation: &mut [f64]) {
        for ((number, mean), square) in observation.iter_mut().zip(&self.means).zip(&self.squares) {
            let deviation = (square / self.count.max(1.0)).sqrt().max(LEAST_DEVIATION);
            *number = ((*number - mean) / deviation).clamp(-FARTHEST, FARTHEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::random::Random;

    #[test]
    fn what_was_seen_often_comes_out_with_mean_0_and_deviation_1() {
        let (mut scale, mut random) = (Scale::new(2), Random::new(4));
        let mut drawn = || [300.0 + 0.1 * random.normal(), -200.0 + 50.0 * random.normal()];
        (0..20_000).for_each(|_| scale.see(&drawn()));
        let (mut sums, mut squares) = ([0.0; 2], [0.0; 2]);
        for _ in 0..20_000 {
            let mut row = drawn();
            scale.apply(&mut row);
            for at in 0..2 {
                sums[at] += row[at] / 20_000.0;
                squares[at] += row[at] * row[at] / 20_000.0;
            }
        }
        for at in 0..2 {
            assert!(sums[at].abs() < 0.05 && (squares[at] - 1.0).abs() < 0.05, "{sums:?} {squares:?}");
        }
        let mut far = [1e9, -200.0];
        scale.apply(&mut far);
        assert_eq!(far[0], FARTHEST);
    }

    #[test]
    fn what_never_changes_stays_finite() {
        let mut scale = Scale::new(1);
        (0..1_000_000).for_each(|_| scale.see(&[7.0]));
        let mut row = [7.0];
        scale.apply(&mut row);
        assert!(row[0].abs() < 1.0 && scale.fits(1) && !scale.fits(2), "{row:?}");
    }
}
