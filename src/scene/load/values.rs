//! Values that several members share: poses as matrices and as seven numbers, lists of timestamps.

use glam::{DMat3, DMat4, DQuat, DVec3};

use super::json::{Json, Result};
use crate::geometry::Pose;

/// Worlds are local: a coordinate beyond this is damage, or degrees, or millimetres.
const FARTHEST_M: f64 = 1e8;
/// How far R R^T may be from the identity. Real files are off by 1e-7, which is float32; the polar factor takes that
/// away. A rig that is scaled or sheared is no rig.
const LARGEST_DEVIATION: f64 = 1e-3;
/// Shorter quaternions have no direction left.
const SHORTEST_QUATERNION: f64 = 1e-6;

/// Rows as written.
pub type Rows = [[f64; 4]; 4];

/// The matrix of rows.
#[must_use]
pub fn matrix(rows: &Rows) -> DMat4 {
    DMat4::from_cols_array_2d(rows).transpose()
}

/// A rigid transform as 4x4 rows.
///
/// # Errors
/// When it is none.
pub fn rigid(json: &mut Json) -> Result<(Rows, Pose)> {
    let rows = json.matrix()?;
    let [.., last] = rows;
    let expected = [0.0, 0.0, 0.0, 1.0];
    if last.iter().zip(expected).any(|(is, should)| (is - should).abs() > 1e-6) {
        return Err(json.fault_in("[3]", format!("is {last:?}, expected [0, 0, 0, 1]")));
    }
    let matrix = matrix(&rows);
    check_position(json, matrix.w_axis.truncate())?;
    let rotation = DMat3::from_mat4(matrix);
    let off = rotation * rotation.transpose() - DMat3::IDENTITY;
    let deviation = off.to_cols_array().iter().fold(0.0_f64, |most, entry| most.max(entry.abs()));
    if deviation.is_nan() || deviation > LARGEST_DEVIATION {
        return Err(json.fault(format!(
            "is no rigid transform: its axes deviate from unit length and right angles by {deviation:.3}, \
             expected at most {LARGEST_DEVIATION}"
        )));
    }
    let pose = Pose::from_matrix(&matrix).map_err(|error| json.fault(error.to_string()))?;
    Ok((rows, pose))
}

/// Any finite 4x4 matrix; bare, or as `{"matrix": ...}`.
///
/// # Errors
/// When it is none.
pub fn wrapped_matrix(json: &mut Json) -> Result<DMat4> {
    if json.kind()? != super::json::Kind::Object {
        return json.matrix().map(|rows| matrix(&rows));
    }
    let mut found = None;
    json.object(|json, key| {
        if key == "matrix" {
            found = Some(json.matrix()?);
            return Ok(());
        }
        json.skip()
    })?;
    found.map(|rows| matrix(&rows)).ok_or_else(|| json.fault_in(".matrix", "is missing"))
}

/// x, y, z, qx, qy, qz, qw.
///
/// # Errors
/// When it is no pose.
pub fn seven(json: &mut Json) -> Result<Pose> {
    let [x, y, z, qx, qy, qz, qw] = json.numbers()?;
    let translation_m = DVec3::new(x, y, z);
    check_position(json, translation_m)?;
    let quaternion = DQuat::from_xyzw(qx, qy, qz, qw);
    let length = quaternion.length();
    if !length.is_finite() || length < SHORTEST_QUATERNION {
        return Err(json.fault(format!("has a quaternion of length {length}, expected 1")));
    }
    Ok(Pose { translation_m, rotation: quaternion / length })
}

/// Strictly increasing microseconds.
///
/// # Errors
/// At the first that is not.
pub fn increasing_us(json: &mut Json) -> Result<Vec<i64>> {
    let mut all: Vec<i64> = Vec::new();
    json.list(|json, _| {
        let now = json.timestamp_us()?;
        match all.last() {
            Some(before) if now == *before => {
                return Err(json.fault(format!("is {now}, the same as the one before it")));
            }
            Some(before) if now < *before => {
                return Err(json.fault(format!("is {now}, earlier than {before} before it")));
            }
            _ => all.push(now),
        }
        Ok(())
    })?;
    all.shrink_to_fit();
    Ok(all)
}

fn check_position(json: &Json, position_m: DVec3) -> Result<()> {
    let farthest = position_m.abs().max_element();
    if farthest <= FARTHEST_M {
        return Ok(());
    }
    Err(json.fault(format!("is {farthest:e} m from the origin, expected at most {FARTHEST_M:e} m")))
}
