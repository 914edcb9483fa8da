//! The cart-pole of Barto, Sutton and Anderson, "Neuronlike adaptive elements that can solve difficult learning control
//! problems" (1983), with the numbers, the order of operations and the limits of gymnasium's CartPole-v1: trained policies
//! and their scores carry over.

use serde::{Deserialize, Serialize};

use super::random::Random;

/// One step, in seconds.
pub const STEP_S: f64 = 0.02;
/// An episode ends when the cart is this far out, in metres.
pub const REACH_M: f64 = 2.4;
/// An episode ends when the pole leans this far, in radians: 12 degrees.
pub const LEAN_RAD: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;
/// An episode is cut off after so many steps.
pub const MAX_STEPS: u32 = 500;

const GRAVITY_M_S2: f64 = 9.8;
const POLE_KG: f64 = 0.1;
const TOTAL_KG: f64 = 1.0 + POLE_KG;
const HALF_LENGTH_M: f64 = 0.5;
const POLE_KG_M: f64 = POLE_KG * HALF_LENGTH_M;
const FORCE_N: f64 = 10.0;
const START: f64 = 0.05;

/// Cart and pole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CartPole {
    /// Of the cart, in metres.
    pub x_m: f64,
    /// m/s.
    pub x_dot: f64,
    /// Of the pole from upright, in radians; positive leans to positive x.
    pub theta_rad: f64,
    /// rad/s.
    pub theta_dot: f64,
}

impl CartPole {
    /// Near upright, each number within 0.05.
    pub fn start(random: &mut Random) -> Self {
        let mut draw = || random.between(-START, START);
        Self { x_m: draw(), x_dot: draw(), theta_rad: draw(), theta_dot: draw() }
    }

    /// x, x', theta, theta'.
    #[must_use]
    pub fn observation(&self) -> Vec<f64> {
        vec![self.x_m, self.x_dot, self.theta_rad, self.theta_dot]
    }

    /// Pushes the cart to positive x or to negative for one step.
    #[must_use]
    pub fn pushed(&self, to_positive_x: bool) -> Self {
        let force = if to_positive_x { FORCE_N } else { -FORCE_N };
        let (sine, cosine) = self.theta_rad.sin_cos();
        let push = (force + POLE_KG_M * (self.theta_dot * self.theta_dot) * sine) / TOTAL_KG;
        let theta_acc = (GRAVITY_M_S2 * sine - cosine * push)
            / (HALF_LENGTH_M * (4.0 / 3.0 - POLE_KG * (cosine * cosine) / TOTAL_KG));
        let x_acc = push - POLE_KG_M * theta_acc * cosine / TOTAL_KG;
        Self {
            x_m: self.x_m + STEP_S * self.x_dot,
            x_dot: self.x_dot + STEP_S * x_acc,
            theta_rad: self.theta_rad + STEP_S * self.theta_dot,
            theta_dot: self.theta_dot + STEP_S * theta_acc,
        }
    }

    /// Whether the cart is too far out or the pole leans too far.
    #[must_use]
    pub fn fallen(&self) -> bool {
        self.x_m < -REACH_M || self.x_m > REACH_M || self.theta_rad < -LEAN_RAD || self.theta_rad > LEAN_RAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        episodes: Vec<Episode>,
    }

    #[derive(Deserialize)]
    struct Episode {
        start: [f64; 4],
        actions: Vec<u8>,
        states: Vec<[f64; 4]>,
        terminated: Vec<bool>,
    }

    #[test]
    fn every_step_is_that_of_gymnasium() {
        let text = include_str!("../../tests/fixtures/simulator/cartpole_v1.json");
        let golden: Golden = serde_json::from_str(text).unwrap();
        let mut steps = 0;
        for episode in &golden.episodes {
            let [x_m, x_dot, theta_rad, theta_dot] = episode.start;
            let mut state = CartPole { x_m, x_dot, theta_rad, theta_dot };
            for ((action, expected), terminated) in
                episode.actions.iter().zip(&episode.states).zip(&episode.terminated)
            {
                state = state.pushed(*action == 1);
                for (got, expected) in state.observation().iter().zip(expected) {
                    assert!(
                        (got - expected).abs() <= 1e-12,
                        "{state:?} after step {steps}, not {expected:?}"
                    );
                }
                assert_eq!(state.fallen(), *terminated, "{state:?}");
                steps += 1;
            }
        }
        assert!(steps > 150, "only {steps} steps in the fixture");
    }

    #[test]
    fn episodes_start_near_upright_and_depend_on_the_seed() {
        let start = |seed| CartPole::start(&mut Random::new(seed));
        assert_eq!(start(7), start(7));
        assert_ne!(start(7), start(8));
        assert!(start(9).observation().iter().all(|value| value.abs() <= START));
    }
}
