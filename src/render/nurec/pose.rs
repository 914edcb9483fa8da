//! Poses on the wire: single precision, quaternions w first, with the sign that other clients give them.

use crate::geometry::Pose;
use crate::proto::nurec::common;
use crate::proto::nurec::sensorsim::PosePair;

/// To the wire.
#[must_use]
pub fn to_wire(pose: &Pose) -> common::Pose {
    let [x, y, z] = pose.translation_m.to_array().map(|value| value as f32);
    let [qx, qy, qz, qw] = pose.quaternion_xyzw().map(|value| value as f32);
    common::Pose {
        vec: Some(common::Vec3 { x, y, z }),
        quat: Some(common::Quat { w: qw, x: qx, y: qy, z: qz }),
    }
}

/// Both ends of a shutter to the wire.
#[must_use]
pub fn pair_to_wire(poses: &[Pose; 2]) -> PosePair {
    PosePair { start_pose: Some(to_wire(&poses[0])), end_pose: Some(to_wire(&poses[1])) }
}

/// From the wire; a quaternion of any length is made one.
///
/// # Errors
/// A sentence, when a part is missing, not finite, or the quaternion is zero.
pub fn from_wire(pose: Option<&common::Pose>, what: &str) -> Result<Pose, String> {
    let pose = pose.ok_or_else(|| format!("{what} is missing"))?;
    let vec = pose.vec.unwrap_or_default();
    let quat = pose.quat.ok_or_else(|| format!("{what} has no quaternion"))?;
    let position_m = [vec.x, vec.y, vec.z].map(f64::from);
    let quaternion_xyzw = [quat.x, quat.y, quat.z, quat.w].map(f64::from);
    Pose::from_xyz_quat(position_m, quaternion_xyzw).map_err(|error| format!("{what} {error}"))
}

/// Both ends from the wire; a missing end is as the start.
///
/// # Errors
/// As [`from_wire`].
pub fn pair_from_wire(pair: Option<&PosePair>, what: &str) -> Result<[Pose; 2], String> {
    let pair = pair.ok_or_else(|| format!("{what} is missing"))?;
    let start = from_wire(pair.start_pose.as_ref(), &format!("{what}.start_pose"))?;
    match &pair.end_pose {
        Some(end) => Ok([start, from_wire(Some(end), &format!("{what}.end_pose"))?]),
        None => Ok([start, start]),
    }
}

#[cfg(test)]
mod tests {
    use glam::{DQuat, DVec3};

    use super::*;

    #[test]
    fn a_pose_comes_back_from_the_wire_in_single_precision() {
        let rotation = DQuat::from_euler(glam::EulerRot::XYZ, 0.3, -1.1, 2.9);
        let pose = Pose { translation_m: DVec3::new(12.5, -3.25, 0.75), rotation };
        let back = from_wire(Some(&to_wire(&pose)), "pose").unwrap();
        assert_eq!(back.translation_m, pose.translation_m);
        assert!(back.rotation.angle_between(rotation) < 1e-6);
    }

    #[test]
    fn poses_that_mean_nothing_are_refused_with_their_name() {
        let zero = common::Pose { vec: None, quat: Some(common::Quat::default()) };
        assert!(from_wire(Some(&zero), "sensor_pose").unwrap_err().contains("sensor_pose"));
        assert!(from_wire(None, "sensor_pose").unwrap_err().contains("missing"));
        let mut wild = to_wire(&Pose::IDENTITY);
        wild.vec = Some(common::Vec3 { x: f32::NAN, y: 0.0, z: 0.0 });
        assert!(from_wire(Some(&wild), "sensor_pose").unwrap_err().contains("not finite"));
    }
}
