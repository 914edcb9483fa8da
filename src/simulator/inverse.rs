//! Inverse kinematics by damped least squares: near a stretched arm, where the exact inverse asks for endless joint
//! speeds, the damped one asks for finite ones and is a little off instead.

use glam::DVec3;

use super::panda::{JOINTS, Jacobian, Joints, hand, jacobian, within_limits};
use crate::geometry::{Pose, rotation};

/// Metres and radians alike.
const DAMPING: f64 = 0.04;
/// The furthest that [`solve`] goes at once, in metres and in radians.
const STRIDE: f64 = 0.2;

/// The joint velocities that move the hand at a velocity: linear (m/s), then angular (rad/s), in the base's axes.
#[must_use]
pub fn joint_velocities(joints: &Joints, linear_m_s: DVec3, angular_rad_s: DVec3) -> Joints {
    let rows = jacobian(joints);
    let wanted: [f64; 6] = std::array::from_fn(|i| match i {
        0..3 => linear_m_s[i],
        _ => angular_rad_s[i - 3],
    });
    let mut square = [[0.0; 6]; 6];
    for (i, row) in square.iter_mut().enumerate() {
        for (j, cell) in row.iter_mut().enumerate() {
            *cell = rows[i].iter().zip(&rows[j]).map(|(a, b)| a * b).sum();
        }
        row[i] += DAMPING * DAMPING;
    }
    let weights = cholesky_solve(square, wanted);
    through_transpose(&rows, &weights)
}

/// From one hand pose to another: metres and a rotation vector, in the base's axes.
#[must_use]
pub fn difference(from: &Pose, to: &Pose) -> (DVec3, DVec3) {
    let turn = rotation::product(to.rotation, from.rotation.conjugate());
    (to.translation_m - from.translation_m, rotation::log(turn))
}

/// Joints, within their limits, that bring the hand to a pose, from where they are; as near as `rounds` get.
#[must_use]
pub fn solve(start: &Joints, target: &Pose, rounds: usize) -> Joints {
    let mut joints = *start;
    for _ in 0..rounds {
        let (linear, angular) = difference(&hand(&joints), target);
        if linear.length() < 1e-7 && angular.length() < 1e-7 {
            break;
        }
        let step =
            joint_velocities(&joints, linear.clamp_length_max(STRIDE), angular.clamp_length_max(STRIDE));
        let moved: Joints = std::array::from_fn(|i| joints[i] + step[i]);
        joints = within_limits(&moved);
    }
    joints
}

fn through_transpose(rows: &Jacobian, weights: &[f64; 6]) -> Joints {
    let mut sum = [0.0; JOINTS];
    for (row, weight) in rows.iter().zip(weights) {
        for (sum, value) in sum.iter_mut().zip(row) {
            *sum += value * weight;
        }
    }
    sum
}

/// Solves `a x = b` for a symmetric positive definite `a`.
fn cholesky_solve(a: [[f64; 6]; 6], b: [f64; 6]) -> [f64; 6] {
    let mut low = [[0.0; 6]; 6];
    for i in 0..6 {
        for j in 0..=i {
            let sum: f64 = (0..j).map(|k| low[i][k] * low[j][k]).sum();
            low[i][j] = if i == j { (a[i][i] - sum).max(1e-12).sqrt() } else { (a[i][j] - sum) / low[j][j] };
        }
    }
    let mut x = [0.0; 6];
    for i in 0..6 {
        let sum: f64 = (0..i).map(|k| low[i][k] * x[k]).sum();
        x[i] = (b[i] - sum) / low[i][i];
    }
    for i in (0..6).rev() {
        let sum: f64 = (i + 1..6).map(|k| low[k][i] * x[k]).sum();
        x[i] = (x[i] - sum) / low[i][i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::super::panda::{LIMITS_RAD, READY_RAD};
    use super::*;

    #[test]
    fn the_hand_reaches_poses_around_the_ready_one() {
        let ready = hand(&READY_RAD);
        for offset in [DVec3::new(0.1, 0.0, 0.0), DVec3::new(0.0, 0.2, -0.1), DVec3::new(0.15, -0.2, 0.1)] {
            let target = Pose { translation_m: ready.translation_m + offset, ..ready };
            let joints = solve(&READY_RAD, &target, 200);
            let (linear, angular) = difference(&hand(&joints), &target);
            assert!(linear.length() < 1e-4 && angular.length() < 1e-4, "{offset}: {linear} {angular}");
            for (joint, [low, high]) in joints.iter().zip(LIMITS_RAD) {
                assert!((low..=high).contains(joint), "{joints:?}");
            }
        }
    }

    #[test]
    fn joint_velocities_move_the_hand_as_asked() {
        let wanted = DVec3::new(0.1, -0.05, 0.02);
        let speeds = joint_velocities(&READY_RAD, wanted, DVec3::ZERO);
        let rows = jacobian(&READY_RAD);
        let got: Vec<f64> = rows.iter().map(|row| row.iter().zip(speeds).map(|(a, b)| a * b).sum()).collect();
        assert!((DVec3::new(got[0], got[1], got[2]) - wanted).length() < 0.01, "{got:?}");
    }

    #[test]
    fn a_target_out_of_reach_leaves_joints_finite_and_within_limits() {
        let target = Pose { translation_m: DVec3::new(4.0, 0.0, 1.0), ..hand(&READY_RAD) };
        let joints = solve(&READY_RAD, &target, 300);
        for (joint, [low, high]) in joints.iter().zip(LIMITS_RAD) {
            assert!((low..=high).contains(joint), "{joints:?}");
        }
    }
}
