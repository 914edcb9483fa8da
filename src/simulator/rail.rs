//! The straight line along which the hand carries the pole, and the joints for each place on it: solved once, at places
//! close together, and taken between them. So joints are a function of the place alone, whatever the way there.

use std::f64::consts::PI;

use glam::{DMat3, DQuat, DVec3};

use super::cartpole::REACH_M;
use super::error::SimulatorError;
use super::inverse::{difference, solve};
use super::panda::{JOINTS, Joints, READY_RAD, hand};
use crate::geometry::Pose;

/// Metres of the hand for a metre of the cart.
pub const SCALE: f64 = 0.15;
/// How far in front of the base and how high the hand is, in metres.
const FORWARD_M: f64 = 0.5;
const HEIGHT_M: f64 = 0.55;
/// How far below level the hand points, in radians: level, the wrist would be at its limit.
const PITCH_RAD: f64 = 30.0 * PI / 180.0;
/// The cart may be a little beyond where an episode ends, in metres.
const MARGIN_M: f64 = 0.1;
/// Places on either side of the middle.
const PLACES: usize = 60;
/// Rounds of solving at each.
const ROUNDS: usize = 200;
/// The hand is at its place to this: metres and radians.
const EXACT: f64 = 1e-3;

/// Joints along the line.
#[derive(Debug, Clone)]
pub struct Rail {
    joints: Vec<Joints>,
}

impl Rail {
    /// Solves all places.
    ///
    /// # Errors
    /// When the arm cannot reach one.
    pub fn new() -> Result<Self, SimulatorError> {
        let mut start = READY_RAD;
        start[5] = PI - PITCH_RAD;
        let middle = solve(&start, &place(0.0), 4 * ROUNDS);
        let half = |sign: f64| -> Result<Vec<Joints>, SimulatorError> {
            let mut joints = middle;
            (0..=PLACES)
                .map(|index| {
                    let target = place(sign * index as f64 * STRIDE_M);
                    joints = solve(&joints, &target, ROUNDS);
                    let (linear, angular) = difference(&hand(&joints), &target);
                    if linear.length().max(angular.length()) > EXACT {
                        let at = target.translation_m;
                        return Err(SimulatorError::Invalid(format!(
                            "the arm cannot hold the pole at {at} m"
                        )));
                    }
                    Ok(joints)
                })
                .collect()
        };
        let mut joints = half(-1.0)?;
        joints.reverse();
        joints.extend(half(1.0)?.into_iter().skip(1));
        Ok(Self { joints })
    }

    /// The joints where the cart is at `x_m`.
    #[must_use]
    pub fn joints(&self, x_m: f64) -> Joints {
        let (before, after, part) = self.around(x_m);
        std::array::from_fn(|i| before[i] + (after[i] - before[i]) * part)
    }

    /// The joint velocities where the cart is at `x_m` and moves at `x_dot`.
    #[must_use]
    pub fn velocities(&self, x_m: f64, x_dot: f64) -> Joints {
        let (before, after, _) = self.around(x_m);
        std::array::from_fn(|i| (after[i] - before[i]) / (STRIDE_M / SCALE) * x_dot)
    }

    fn around(&self, x_m: f64) -> (Joints, Joints, f64) {
        let along = (x_m * SCALE / STRIDE_M + PLACES as f64).clamp(0.0, 2.0 * PLACES as f64 - 1e-9);
        let index = along as usize;
        let at = |index: usize| self.joints.get(index).copied().unwrap_or([0.0; JOINTS]);
        (at(index), at(index + 1), along - index as f64)
    }
}

const STRIDE_M: f64 = (REACH_M + MARGIN_M) * SCALE / PLACES as f64;

/// `base_from_hand`: the hand pointing forward and a little down, so many metres to the left.
fn place(left_m: f64) -> Pose {
    let (sine, cosine) = PITCH_RAD.sin_cos();
    let up = DVec3::new(sine, 0.0, cosine);
    let axes = DMat3::from_cols(up, DVec3::NEG_Y, DVec3::new(cosine, 0.0, -sine));
    Pose { translation_m: DVec3::new(FORWARD_M, left_m, HEIGHT_M), rotation: DQuat::from_mat3(&axes) }
}

#[cfg(test)]
mod tests {
    use super::super::panda::{LIMITS_RAD, SPEEDS_RAD_S};
    use super::*;

    #[test]
    fn the_hand_is_on_the_line_and_keeps_its_direction_wherever_the_cart_is() {
        let rail = Rail::new().unwrap();
        for step in -240..=240 {
            let x_m = f64::from(step) / 100.0;
            let joints = rail.joints(x_m);
            let (linear, angular) = difference(&hand(&joints), &place(x_m * SCALE));
            assert!(linear.length() < 2e-3 && angular.length() < 2e-3, "at {x_m}: {linear} {angular}");
            for (joint, [low, high]) in joints.iter().zip(LIMITS_RAD) {
                assert!((low..=high).contains(joint), "at {x_m}: {joints:?}");
            }
        }
    }

    #[test]
    fn joint_velocities_are_the_derivative_of_the_joints_and_within_their_limits() {
        let rail = Rail::new().unwrap();
        for x_m in [-2.31, -0.7, 0.013, 1.9] {
            let (a, b) = (rail.joints(x_m - 1e-4), rail.joints(x_m + 1e-4));
            let velocities = rail.velocities(x_m, 2.0);
            for i in 0..JOINTS {
                let slope = (b[i] - a[i]) / 2e-4 * 2.0;
                assert!(
                    (velocities[i] - slope).abs() < 0.05,
                    "joint {i} at {x_m}: {} and {slope}",
                    velocities[i]
                );
                assert!(velocities[i].abs() < SPEEDS_RAD_S[i], "joint {i} at {x_m}: {}", velocities[i]);
            }
        }
    }
}
