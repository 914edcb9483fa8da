//! A seven-joint arm with the published kinematics of the Franka Emika Panda: Denavit-Hartenberg parameters in Craig's
//! convention, joint and velocity limits.
//!
//! The base's axes: x forward, y left, z up, origin on the ground. The hand's: z out of the hand between the fingers,
//! y along the fingers' travel; its origin lies between the fingertips.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};

use glam::{DMat3, DQuat, DVec3};

use crate::geometry::Pose;

/// Joints.
pub const JOINTS: usize = 7;
/// One number a joint.
pub type Joints = [f64; JOINTS];
/// Hand velocity by joint velocity: linear rows x, y, z (m/s), then angular (rad/s), in the base's axes.
pub type Jacobian = [Joints; 6];

/// Their names.
pub const NAMES: [&str; JOINTS] = [
    "panda_joint1",
    "panda_joint2",
    "panda_joint3",
    "panda_joint4",
    "panda_joint5",
    "panda_joint6",
    "panda_joint7",
];
/// Lowest and highest position, in radians.
pub const LIMITS_RAD: [[f64; 2]; JOINTS] = [
    [-2.8973, 2.8973],
    [-1.7628, 1.7628],
    [-2.8973, 2.8973],
    [-3.0718, -0.0698],
    [-2.8973, 2.8973],
    [-0.0175, 3.7525],
    [-2.8973, 2.8973],
];
/// Fastest, in rad/s.
pub const SPEEDS_RAD_S: Joints = [2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61];
/// Where the arm is ready to work: the elbow bent, the hand in front, pointing down.
pub const READY_RAD: Joints = [0.0, -FRAC_PI_4, 0.0, -3.0 * FRAC_PI_4, 0.0, FRAC_PI_2, FRAC_PI_4];

/// a (m), alpha (rad), d (m) of each joint.
const LINKS: [[f64; 3]; JOINTS] = [
    [0.0, 0.0, 0.333],
    [0.0, -FRAC_PI_2, 0.0],
    [0.0, FRAC_PI_2, 0.316],
    [0.0825, FRAC_PI_2, 0.0],
    [-0.0825, -FRAC_PI_2, 0.384],
    [0.0, FRAC_PI_2, 0.0],
    [0.088, FRAC_PI_2, 0.0],
];
/// From the last joint to the flange, and from there to the point between the fingertips.
const FLANGE_M: f64 = 0.107;
const FINGERS_M: f64 = 0.1034;

/// `base_from_link` of the seven links, and `base_from_hand` last.
#[must_use]
pub fn frames(joints: &Joints) -> [Pose; JOINTS + 1] {
    let mut frames = [Pose::IDENTITY; JOINTS + 1];
    let mut reached = Pose::IDENTITY;
    for ((frame, [a, alpha, d]), joint) in frames.iter_mut().zip(LINKS).zip(joints) {
        let bend = DQuat::from_rotation_x(alpha);
        let along = Pose { translation_m: DVec3::X * a + bend * (DVec3::Z * d), rotation: bend };
        let turn = Pose { translation_m: DVec3::ZERO, rotation: DQuat::from_rotation_z(*joint) };
        reached = reached.compose(&along).compose(&turn);
        *frame = reached;
    }
    let hand = Pose {
        translation_m: DVec3::Z * (FLANGE_M + FINGERS_M),
        rotation: DQuat::from_rotation_z(-FRAC_PI_4),
    };
    frames[JOINTS] = reached.compose(&hand);
    frames
}

/// `base_from_hand`.
#[must_use]
pub fn hand(joints: &Joints) -> Pose {
    frames(joints)[JOINTS]
}

/// The hand's geometric Jacobian.
#[must_use]
pub fn jacobian(joints: &Joints) -> Jacobian {
    let frames = frames(joints);
    let tip = frames[JOINTS].translation_m;
    let mut rows = [[0.0; JOINTS]; 6];
    for (column, frame) in frames.iter().take(JOINTS).enumerate() {
        let axis = DMat3::from_quat(frame.rotation).z_axis;
        let linear = axis.cross(tip - frame.translation_m).to_array();
        for (row, value) in linear.into_iter().chain(axis.to_array()).enumerate() {
            rows[row][column] = value;
        }
    }
    rows
}

/// Positions within their limits.
#[must_use]
pub fn within_limits(joints: &Joints) -> Joints {
    std::array::from_fn(|i| joints[i].clamp(LIMITS_RAD[i][0], LIMITS_RAD[i][1]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::geometry::rotation;

    fn any_joints() -> impl Strategy<Value = Joints> {
        prop::array::uniform7(0.0..1.0f64).prop_map(|part| {
            std::array::from_fn(|i| LIMITS_RAD[i][0] + part[i] * (LIMITS_RAD[i][1] - LIMITS_RAD[i][0]))
        })
    }

    #[test]
    fn the_hand_is_where_the_published_arm_has_it() {
        let stretched = hand(&[0.0; JOINTS]);
        assert!(
            (stretched.translation_m - DVec3::new(0.088, 0.0, 0.926 - 0.1034)).length() < 1e-9,
            "{stretched:?}"
        );
        let ready = hand(&READY_RAD);
        assert!((ready.translation_m - DVec3::new(0.30689, 0.0, 0.48688)).length() < 2e-4, "{ready:?}");
        assert!((ready.rotation * DVec3::Z - DVec3::NEG_Z).length() < 1e-9, "it points down: {ready:?}");
        assert!((ready.rotation * DVec3::X - DVec3::X).length() < 1e-9, "{ready:?}");
    }

    proptest! {
        #[test]
        fn the_jacobian_is_the_derivative_of_the_hand_pose(joints in any_joints(), joint in 0..JOINTS) {
            const H: f64 = 1e-6;
            let (mut low, mut high) = (joints, joints);
            low[joint] -= H;
            high[joint] += H;
            let (low, high) = (hand(&low), hand(&high));
            let linear = (high.translation_m - low.translation_m) / (2.0 * H);
            let turned = rotation::product(high.rotation, low.rotation.conjugate());
            let angular = rotation::log(turned) / (2.0 * H);
            let rows = jacobian(&joints);
            for (row, expected) in linear.to_array().into_iter().chain(angular.to_array()).enumerate() {
                prop_assert!((rows[row][joint] - expected).abs() < 1e-6, "row {} is {}, not {}", row, rows[row][joint], expected);
            }
        }

        #[test]
        fn the_hand_stays_within_reach_of_the_shoulder(joints in any_joints()) {
            let shoulder = DVec3::Z * 0.333;
            prop_assert!(hand(&joints).translation_m.distance(shoulder) < 0.855 + FINGERS_M + 1e-9);
        }
    }
}
