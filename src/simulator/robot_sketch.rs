//! The arm as boxes.

use glam::{DMat3, DQuat, DVec3};

use super::arm::Arm;
use super::sketch::{Sketch, Thing};
use crate::geometry::Pose;

/// Balance.
pub fn balance(arm: &Arm, lean_rad: f64, _scale: f64) -> Sketch {
    let _ = lean_rad;
    Sketch { things: Vec::new(), camera: camera(arm), recording: None }
}

/// Reach.
pub fn reach(arm: &Arm, target_m: DVec3, radius_m: f64) -> Sketch {
    let pose = Pose { translation_m: target_m, rotation: DQuat::IDENTITY };
    let things = vec![Thing {
        id: "target".into(),
        class: "target",
        dimensions_m: DVec3::splat(2.0 * radius_m),
        pose,
    }];
    Sketch { things, camera: camera(arm), recording: None }
}

fn camera(arm: &Arm) -> Pose {
    look(arm.base.translation_m + DVec3::new(0.0, -2.0, 1.0), arm.base.translation_m)
}

fn look(from: DVec3, to: DVec3) -> Pose {
    let z = (to - from).normalize_or_zero();
    let x = z.cross(DVec3::Z).normalize_or_zero();
    let axes = DMat3::from_cols(x, z.cross(x), z);
    Pose { translation_m: from, rotation: DQuat::from_mat3(&axes) }
}
