//! Rotations as unit quaternions, by the rules of `scipy.spatial.transform.Rotation`, whose numbers clients compare with.

use glam::{DMat3, DQuat, DVec3, DVec4};

use super::PoseError;

/// How far R R^T may be from the identity before the nearest rotation is taken instead: off the diagonal.
const ORTHOGONAL_WITHIN: f64 = 1e-12;
/// And on the diagonal: `numpy.isclose` adds its relative 1e-5 there, so a slightly scaled rotation is not touched.
const UNIT_WITHIN: f64 = 1e-5 + 1e-12;
/// Below this angle in radians series are more exact than quotients.
const SMALL_ANGLE_RAD: f64 = 1e-3;
/// Squared components this close are equal: rounding must not choose between the signs of one rotation.
const EQUAL_SQUARES: f64 = 1e-14;

/// The rotation a 3x3 matrix stands for: its orthogonal polar factor where its rows are not orthogonal to 1e-12 and of
/// unit length to 5e-6.
///
/// # Errors
/// On entries that are not finite, a determinant that is not positive, and a block too close to singular.
pub fn from_matrix(matrix: &DMat3) -> Result<DQuat, PoseError> {
    if !matrix.is_finite() {
        return Err(PoseError::NotFinite);
    }
    // Scaled, so that neither determinant nor inverse leaves the range of doubles.
    let largest = matrix.to_cols_array().into_iter().map(f64::abs).fold(0.0, f64::max);
    if largest == 0.0 {
        return Err(PoseError::Determinant { determinant: 0.0 });
    }
    let scaled = *matrix * largest.recip();
    let determinant = matrix.determinant();
    if !scaled.is_finite() || determinant <= 0.0 && scaled.determinant() <= 0.0 {
        return Err(PoseError::Determinant { determinant });
    }
    let rotation = if is_orthogonal(matrix, UNIT_WITHIN) { *matrix } else { polar_factor(scaled)? };
    normalized(quaternion_of(&rotation))
}

/// A unit quaternion of the same direction.
///
/// # Errors
/// On components that are not finite or all zero.
pub fn normalized(quaternion_xyzw: [f64; 4]) -> Result<DQuat, PoseError> {
    let components = DVec4::from_array(quaternion_xyzw);
    if !components.is_finite() {
        return Err(PoseError::NotFinite);
    }
    let mut length = components.length();
    let mut direction = components;
    if !(1e-100..1e100).contains(&length) {
        direction = components / components.abs().max_element();
        length = direction.length();
    }
    if length > 0.0 { Ok(DQuat::from_vec4(direction / length)) } else { Err(PoseError::ZeroQuaternion) }
}

/// `a * b`, kept at unit length.
#[must_use]
pub fn product(a: DQuat, b: DQuat) -> DQuat {
    let product = a * b;
    let length = product.length();
    if length > 0.0 { product * length.recip() } else { product }
}

/// `a * exp(fraction * log(a^-1 b))`, the angle of the logarithm in 0 to pi.
#[must_use]
pub fn slerp(a: DQuat, b: DQuat, fraction: f64) -> DQuat {
    product(a, exp(log(product(a.conjugate(), b)) * fraction))
}

/// The rotation vector: axis times angle, the angle in 0 to pi.
#[must_use]
pub fn log(rotation: DQuat) -> DVec3 {
    let rotation = if rotation.w < 0.0 { -rotation } else { rotation };
    let axis = DVec3::new(rotation.x, rotation.y, rotation.z);
    let angle_rad = 2.0 * axis.length().atan2(rotation.w);
    let squared = angle_rad * angle_rad;
    let scale = if angle_rad <= SMALL_ANGLE_RAD {
        2.0 + squared / 12.0 + 7.0 * squared * squared / 2880.0
    } else {
        angle_rad / (angle_rad / 2.0).sin()
    };
    axis * scale
}

/// The rotation by a rotation vector.
#[must_use]
pub fn exp(vector: DVec3) -> DQuat {
    let angle_rad = vector.length();
    let squared = angle_rad * angle_rad;
    let scale = if angle_rad <= SMALL_ANGLE_RAD {
        0.5 - squared / 48.0 + squared * squared / 3840.0
    } else {
        (angle_rad / 2.0).sin() / angle_rad
    };
    let axis = vector * scale;
    DQuat::from_xyzw(axis.x, axis.y, axis.z, (angle_rad / 2.0).cos())
}

/// Of the two quaternions of a rotation, the one whose largest component is positive; the first of equals in the order
/// x, y, z, w. This is what scipy answers after a matrix: its choice among m00, m11, m22 and the trace is the choice of
/// the largest square. The sign may change along a smooth path, and w may be negative.
#[must_use]
pub fn sign_by_largest(rotation: DQuat) -> DQuat {
    let components = rotation.to_array();
    let largest = components.iter().map(|value| value * value).fold(0.0, f64::max);
    let chosen = components.iter().find(|value| **value * **value >= largest - EQUAL_SQUARES);
    if chosen.is_some_and(|value| *value < 0.0) { -rotation } else { rotation }
}

fn is_orthogonal(matrix: &DMat3, unit_within: f64) -> bool {
    let off = *matrix * matrix.transpose() - DMat3::IDENTITY;
    let allowed = |index: usize| if index.is_multiple_of(4) { unit_within } else { ORTHOGONAL_WITHIN };
    off.to_cols_array().into_iter().enumerate().all(|(index, entry)| entry.abs() <= allowed(index))
}

/// U V^T of the singular value decomposition, by Higham's scaled Newton iteration: X <- (g X + (g X)^-T) / 2.
fn polar_factor(matrix: DMat3) -> Result<DMat3, PoseError> {
    let mut current = matrix;
    for _ in 0..100 {
        let determinant = current.determinant();
        let inverse = current.inverse();
        if determinant <= 0.0 || !inverse.is_finite() {
            return Err(PoseError::Singular);
        }
        let scale = (norm(&inverse) / norm(&current)).sqrt();
        let next = (current * scale + inverse.transpose() * scale.recip()) * 0.5;
        let step = norm(&(next - current));
        current = next;
        if step <= 1e-15 * norm(&current) {
            break;
        }
    }
    if is_orthogonal(&current, ORTHOGONAL_WITHIN) { Ok(current) } else { Err(PoseError::Singular) }
}

fn norm(matrix: &DMat3) -> f64 {
    matrix.to_cols_array().into_iter().map(|entry| entry * entry).sum::<f64>().sqrt()
}

fn quaternion_of(matrix: &DMat3) -> [f64; 4] {
    let m = |row: usize, column: usize| matrix.col(column)[row];
    let trace = m(0, 0) + m(1, 1) + m(2, 2);
    let choices = [m(0, 0), m(1, 1), m(2, 2), trace];
    let mut best = 0;
    for (index, value) in choices.iter().enumerate() {
        if *value > choices[best] {
            best = index;
        }
    }
    if best == 3 {
        return [m(2, 1) - m(1, 2), m(0, 2) - m(2, 0), m(1, 0) - m(0, 1), 1.0 + trace];
    }
    let (i, j, k) = (best, (best + 1) % 3, (best + 2) % 3);
    let mut quaternion = [0.0; 4];
    quaternion[i] = 1.0 - trace + 2.0 * m(i, i);
    quaternion[j] = m(j, i) + m(i, j);
    quaternion[k] = m(k, i) + m(i, k);
    quaternion[3] = m(k, j) - m(j, k);
    quaternion
}
