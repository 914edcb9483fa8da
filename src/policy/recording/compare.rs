//! How far the actions of a second run are from the recorded ones.

use crate::policy::stats::ACTION_DIM;

/// One component over all steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct ComponentDifference {
    /// Steps where it is the same to the last bit.
    pub bit_equal: usize,
    /// Largest difference.
    pub max_abs: f64,
    /// Sum of differences, for the mean.
    #[serde(skip)]
    sum_abs: f64,
}

/// All steps compared so far.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Comparison {
    /// Steps compared.
    pub steps: usize,
    /// Steps where every component is the same to the last bit.
    pub bit_equal: usize,
    /// By component.
    pub components: [ComponentDifference; ACTION_DIM],
}

impl Comparison {
    /// Adds one step and answers with its largest difference; a number that is not finite is infinitely far.
    pub fn add(&mut self, recorded: &[f32; ACTION_DIM], now: &[f32; ACTION_DIM]) -> f64 {
        let mut largest = 0.0_f64;
        let mut equal = 0;
        for (component, (before, after)) in self.components.iter_mut().zip(recorded.iter().zip(now)) {
            let same = before.to_bits() == after.to_bits();
            let difference = (f64::from(*before) - f64::from(*after)).abs();
            let difference = if difference.is_nan() && !same { f64::INFINITY } else { difference.max(0.0) };
            component.bit_equal += usize::from(same);
            component.max_abs = component.max_abs.max(difference);
            component.sum_abs += difference;
            largest = largest.max(difference);
            equal += usize::from(same);
        }
        self.steps += 1;
        self.bit_equal += usize::from(equal == ACTION_DIM);
        largest
    }

    /// Mean difference of a component; 0 before the first step.
    #[must_use]
    pub fn mean_abs(&self, component: &ComponentDifference) -> f64 {
        if self.steps == 0 { 0.0 } else { component.sum_abs / self.steps as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_found_in_its_component_and_a_nan_is_never_close() {
        let mut comparison = Comparison::default();
        let recorded = [0.5; ACTION_DIM];
        assert_eq!(comparison.add(&recorded, &recorded), 0.0);
        let mut now = recorded;
        now[3] = 0.75;
        assert_eq!(comparison.add(&recorded, &now), 0.25);
        assert_eq!((comparison.steps, comparison.bit_equal), (2, 1));
        assert_eq!(comparison.components[3].max_abs, 0.25);
        assert_eq!(comparison.mean_abs(&comparison.components[3]), 0.125);
        assert_eq!(comparison.components[2].bit_equal, 2);
        now[0] = f32::NAN;
        assert_eq!(comparison.add(&recorded, &now), f64::INFINITY);
    }
}
