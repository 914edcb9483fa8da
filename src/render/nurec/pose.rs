//! Poses on the wire: single precision, quaternions w first, with the sign that other clients give them.

use glam::{DQuat, DVec3};

use crate::geometry::Pose;
use crate::proto::nurec::common;
use crate::proto::nurec::sensorsim::PosePair;

/// Components closer than this to the greatest one count as equal to it, so that noise does not flip signs.
const TIE: f64 = 1e-12;

/// A quaternion shorter than this has no direction.
const SHORTEST_QUATERNION: f64 = 1e-6;

/// To the wire.
#[must_use]
pub fn to_wire(pose: &Pose) -> common::Pose {
    let [x, y, z] = pose.translation_m.to_array().map(|value| value as f32);
    let [qx, qy, qz, qw] = signed(pose.rotation).to_array().map(|value| value as f32);
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
    let translation_m = DVec3::new(vec.x.into(), vec.y.into(), vec.z.into());
    let rotation = DQuat::from_xyzw(quat.x.into(), quat.y.into(), quat.z.into(), quat.w.into());
    let length = rotation.length();
    if !translation_m.is_finite() || !rotation.is_finite() {
        return Err(format!("{what} has a number that is not finite"));
    }
    if length < SHORTEST_QUATERNION {
        return Err(format!("{what} has a quaternion of length {length}, expected 1"));
    }
    Ok(Pose { translation_m, rotation: rotation / length })
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

/// The one of the two quaternions of a rotation whose greatest component is positive; of equals, x before y before z
/// before w. That is how SciPy, which most clients use, takes a quaternion out of a matrix.
fn signed(rotation: DQuat) -> DQuat {
    let [x, y, z, w] = rotation.to_array();
    let greatest = [x, y, z, w].into_iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let leading = [x, y, z, w].into_iter().find(|value| value.abs() >= greatest - TIE);
    if leading.is_some_and(|value| value < 0.0) { -rotation } else { rotation }
}

#[cfg(test)]
mod tests {
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
    fn the_greatest_component_is_positive_and_ties_go_to_x_first() {
        let tie = DQuat::from_xyzw(-0.5, 0.5, 0.5, 0.5 + 1e-15);
        assert!(signed(tie).x > 0.0);
        let plain = DQuat::from_xyzw(0.1, -0.9, 0.2, 0.3).normalize();
        assert!(signed(plain).y > 0.0);
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
