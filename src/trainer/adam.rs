//! Adam with bias correction (Kingma and Ba, 2014), after the gradient was cut to a norm.

const FIRST: f64 = 0.9;
const SECOND: f64 = 0.999;
const EPSILON: f64 = 1e-5;

/// The running moments of every parameter's gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct Adam {
    /// Of the gradient.
    pub first: Vec<f64>,
    /// Of its square.
    pub second: Vec<f64>,
    /// Steps done.
    pub steps: u64,
}

impl Adam {
    /// For so many parameters.
    #[must_use]
    pub fn new(parameters: usize) -> Self {
        Self { first: vec![0.0; parameters], second: vec![0.0; parameters], steps: 0 }
    }

    /// One step against `gradient`, cut to `longest`.
    pub fn step(&mut self, parameters: &mut [f64], gradient: &[f64], learning_rate: f64, longest: f64) {
        self.steps += 1;
        let norm = gradient.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
        let scale = (longest / (norm + 1e-8)).min(1.0);
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let (unbias_first, unbias_second) = (1.0 - FIRST.powi(steps), 1.0 - SECOND.powi(steps));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, slope), (first, second)) in parameters.iter_mut().zip(gradient).zip(moments) {
            let slope = slope * scale;
            *first = FIRST * *first + (1.0 - FIRST) * slope;
            *second = SECOND * *second + (1.0 - SECOND) * slope * slope;
            *parameter -=
                learning_rate * (*first / unbias_first) / ((*second / unbias_second).sqrt() + EPSILON);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_the_bottom_of_a_bowl() {
        let mut at = vec![3.0, -2.0];
        let mut adam = Adam::new(2);
        for _ in 0..2_000 {
            let slope: Vec<f64> = at.iter().map(|x| 2.0 * x).collect();
            adam.step(&mut at, &slope, 0.01, 0.5);
        }
        assert!(at.iter().all(|x| x.abs() < 1e-2), "{at:?}");
    }
}
