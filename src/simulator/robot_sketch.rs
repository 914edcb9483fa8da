//! The arm, and what its tasks are about, as boxes and round things.

use glam::{DMat3, DQuat, DVec3};

use super::arm::Arm;
use super::cartpole::REACH_M;
use super::panda::{JOINTS, frames};
use super::rail::SCALE;
use super::sketch::{Sketch, Thing};
use crate::geometry::Pose;

/// Thickness of the tubes from the base to the hand, in metres.
const TUBES_M: [f64; 5] = [0.13, 0.115, 0.10, 0.085, 0.075];
/// Length and width of the hand, and how far it reaches from the flange.
const HAND_M: [f64; 3] = [0.05, 0.19, 0.06];
/// A finger, and how far each opens.
const FINGER_M: [f64; 3] = [0.02, 0.018, 0.05];
const FINGER_TRAVEL_M: f64 = 0.04;
/// The pole as drawn.
const POLE_M: [f64; 2] = [0.022, 0.55];
const WEIGHT_M: f64 = 0.06;
/// From the base's frame to where the camera stands, and to what it looks at, in metres.
const EYE_M: DVec3 = DVec3::new(1.85, 0.45, 1.00);
const AIM_M: DVec3 = DVec3::new(0.25, 0.0, 0.52);

/// The arm with a pole that leans.
#[must_use]
pub fn balance(arm: &Arm, lean_rad: f64) -> Sketch {
    let mut things = robot(arm);
    let hand = arm.hand().translation_m;
    let left = arm.base.rotation * DVec3::Y;
    let along = DVec3::Z * lean_rad.cos() + left * lean_rad.sin();
    let [thick, length] = POLE_M;
    things.push(tube("pole", hand - along * 0.03, hand + along * length, thick));
    things.push(ball("pole_weight", hand + along * length, WEIGHT_M));
    let forward = (arm.base.rotation * DVec3::X).with_z(0.0).normalize_or_zero();
    let middle = arm.base.transform_point(DVec3::new(0.5, 0.0, 0.55));
    let reach = SCALE * REACH_M;
    let beam = middle + forward * 0.03 - DVec3::Z * 0.05;
    things.push(thing("rail", DVec3::new(0.016, 2.0 * reach + 0.12, 0.016), beam, arm.base.rotation));
    for side in [-1.0, 1.0] {
        let end = beam + left * (side * (reach + 0.05));
        things.push(thing("rail_end", DVec3::new(0.03, 0.02, 0.09), end, arm.base.rotation));
    }
    seen(arm, things)
}

/// The arm and where its hand is to go.
#[must_use]
pub fn reach(arm: &Arm, target_m: DVec3, radius_m: f64) -> Sketch {
    let mut things = robot(arm);
    things.push(ball("target", target_m, 2.0 * radius_m));
    let foot = target_m.with_z(arm.base.translation_m.z);
    things.push(tube("target_stem", foot, target_m - DVec3::Z * radius_m, 0.006));
    seen(arm, things)
}

fn robot(arm: &Arm) -> Vec<Thing> {
    let frames = frames(&arm.positions).map(|frame| arm.base.compose(&frame));
    let at = |index: usize| frames.get(index).copied().unwrap_or(arm.base);
    let place = |index: usize| at(index).translation_m;
    let flange = at(JOINTS - 1).transform_point(DVec3::Z * 0.107);
    let mut things = vec![thing(
        "robot_base",
        DVec3::new(0.26, 0.20, 0.10),
        arm.base.transform_point(DVec3::new(-0.03, 0.0, 0.05)),
        arm.base.rotation,
    )];
    let ends = [
        (arm.base.translation_m, place(0)),
        (place(1), place(2)),
        (place(3), place(4)),
        (place(5), place(6)),
        (place(6), flange),
    ];
    for ((from, to), thick) in ends.into_iter().zip(TUBES_M) {
        things.push(tube("robot_link", from, to, thick));
    }
    things.push(tube("robot_link", place(2), place(3), TUBES_M[1] * 0.8));
    for (joint, thick) in [(1, 0.135), (3, 0.12), (5, 0.105)] {
        let axis = at(joint).rotation * DVec3::Z * 0.078;
        things.push(tube("robot_joint", place(joint) - axis, place(joint) + axis, thick));
    }
    let hand = at(JOINTS);
    let from_tip = |ahead: f64, left: f64| hand.transform_point(DVec3::new(0.0, left, ahead));
    let [length, width, height] = HAND_M;
    let palm = DVec3::new(length, width, height);
    things.push(thing("robot_hand", palm, from_tip(-0.1034 + 0.5 * height, 0.0), hand.rotation));
    for side in [-1.0, 1.0] {
        let left = side * (0.011 + FINGER_TRAVEL_M * arm.gripper);
        let finger = from_tip(-0.5 * FINGER_M[2] + 0.005, left);
        things.push(thing("robot_finger", DVec3::from_array(FINGER_M), finger, hand.rotation));
    }
    things
}

fn seen(arm: &Arm, things: Vec<Thing>) -> Sketch {
    let eye = arm.base.transform_point(EYE_M);
    let camera = looking(eye, arm.base.transform_point(AIM_M));
    Sketch { things, camera, ground_m: arm.base.translation_m.z, recording: None }
}

fn thing(class: &'static str, dimensions_m: DVec3, centre_m: DVec3, rotation: DQuat) -> Thing {
    Thing { id: class.to_owned(), class, dimensions_m, pose: Pose { translation_m: centre_m, rotation } }
}

fn ball(class: &'static str, centre_m: DVec3, diameter_m: f64) -> Thing {
    thing(class, DVec3::splat(diameter_m), centre_m, DQuat::IDENTITY)
}

/// A round thing from one place to another, along its z axis.
fn tube(class: &'static str, from_m: DVec3, to_m: DVec3, thick_m: f64) -> Thing {
    let along = to_m - from_m;
    let rotation = match along.try_normalize() {
        Some(direction) => DQuat::from_rotation_arc(DVec3::Z, direction),
        None => DQuat::IDENTITY,
    };
    let dimensions_m = DVec3::new(thick_m, thick_m, along.length().max(1e-3));
    thing(class, dimensions_m, 0.5 * (from_m + to_m), rotation)
}

/// `world_from_sensor` of a camera somewhere that looks at something, upright.
#[must_use]
pub fn looking(from_m: DVec3, at_m: DVec3) -> Pose {
    let ahead = (at_m - from_m).try_normalize().unwrap_or(DVec3::NEG_Y);
    let right = ahead.cross(DVec3::Z).try_normalize().unwrap_or(DVec3::X);
    let axes = DMat3::from_cols(right, ahead.cross(right), ahead);
    Pose { translation_m: from_m, rotation: DQuat::from_mat3(&axes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_camera_looks_where_it_is_told_with_the_sky_above() {
        let pose = looking(DVec3::new(2.0, 1.0, 1.5), DVec3::ZERO);
        let ahead = pose.rotation * DVec3::Z;
        assert!((ahead - DVec3::new(-2.0, -1.0, -1.5).normalize_or_zero()).length() < 1e-12);
        assert!((pose.rotation * DVec3::Y).z < 0.0, "down in the picture is down in the world");
    }

    #[test]
    fn everything_drawn_has_a_size_and_a_place() {
        let arm = Arm::new(Pose::IDENTITY);
        for sketch in [balance(&arm, 0.1), reach(&arm, DVec3::splat(0.4), 0.03)] {
            assert!(sketch.things.len() > 12);
            for thing in &sketch.things {
                assert!(
                    thing.dimensions_m.min_element() > 0.0 && thing.pose.translation_m.is_finite(),
                    "{thing:?}"
                );
            }
        }
    }
}
