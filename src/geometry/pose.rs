//! A rigid transform, and what a file may say that is none.

use glam::{DMat3, DMat4, DQuat, DVec3};
use thiserror::Error;

use super::rotation;

/// A rigid transform: rotate, then translate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Origin of the source in target coordinates, in metres.
    pub translation_m: DVec3,
    /// Rotation from source to target axes; unit length.
    pub rotation: DQuat,
}

/// Why numbers are not a pose.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum PoseError {
    /// NaN or an infinity.
    #[error("holds a number that is not finite")]
    NotFinite,
    /// A mirror, or flat.
    #[error("its rotation block has the determinant {determinant}, which must be positive")]
    Determinant {
        /// That of the upper left 3x3 block.
        determinant: f64,
    },
    /// So close to flat that no rotation is nearest.
    #[error("its rotation block is too close to singular to have a nearest rotation")]
    Singular,
    /// A quaternion without direction.
    #[error("its quaternion has no length")]
    ZeroQuaternion,
}

impl Pose {
    /// Source and target are the same.
    pub const IDENTITY: Self = Self { translation_m: DVec3::ZERO, rotation: DQuat::IDENTITY };

    /// The pose a 4x4 matrix stands for; its last row is not looked at. A rotation block that is only nearly orthogonal
    /// (files hold single-precision entries) becomes the nearest rotation, as in `scipy.spatial.transform`.
    ///
    /// # Errors
    /// On numbers that are not finite, and on a block that mirrors or flattens.
    pub fn from_matrix(matrix: &DMat4) -> Result<Self, PoseError> {
        let translation_m = matrix.w_axis.truncate();
        if !translation_m.is_finite() {
            return Err(PoseError::NotFinite);
        }
        let rotation = rotation::from_matrix(&DMat3::from_mat4(*matrix))?;
        Ok(Self { translation_m, rotation })
    }

    /// From a position in metres and a quaternion x, y, z, w of any length but zero.
    ///
    /// # Errors
    /// On numbers that are not finite, and on a quaternion without length.
    pub fn from_xyz_quat(position_m: [f64; 3], quaternion_xyzw: [f64; 4]) -> Result<Self, PoseError> {
        let translation_m = DVec3::from_array(position_m);
        if !translation_m.is_finite() {
            return Err(PoseError::NotFinite);
        }
        Ok(Self { translation_m, rotation: rotation::normalized(quaternion_xyzw)? })
    }

    /// `target_from_source * source_from_inner = target_from_inner`.
    #[must_use]
    pub fn compose(&self, inner: &Self) -> Self {
        Self {
            translation_m: self.transform_point(inner.translation_m),
            rotation: rotation::product(self.rotation, inner.rotation),
        }
    }

    /// `source_from_target`.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let rotation = self.rotation.conjugate();
        Self { translation_m: -(rotation * self.translation_m), rotation }
    }

    /// Between this pose (`fraction` 0) and `other` (1): the position on the straight line, the rotation on the shortest
    /// arc at constant rate.
    #[must_use]
    pub fn interpolate(&self, other: &Self, fraction: f64) -> Self {
        Self {
            translation_m: self.translation_m + fraction * (other.translation_m - self.translation_m),
            rotation: rotation::slerp(self.rotation, other.rotation, fraction),
        }
    }

    /// A point in source coordinates, in target coordinates.
    #[must_use]
    pub fn transform_point(&self, point_m: DVec3) -> DVec3 {
        self.rotation * point_m + self.translation_m
    }

    /// The 4x4 matrix.
    #[must_use]
    pub fn matrix(&self) -> DMat4 {
        DMat4::from_rotation_translation(self.rotation, self.translation_m)
    }

    /// The rotation as a matrix.
    #[must_use]
    pub fn rotation_matrix(&self) -> DMat3 {
        DMat3::from_quat(self.rotation)
    }

    /// x, y, z, w with the sign clients of the original know: see [`rotation::sign_by_largest`].
    #[must_use]
    pub fn quaternion_xyzw(&self) -> [f64; 4] {
        rotation::sign_by_largest(self.rotation).to_array()
    }

    /// Heading in radians: the angle of the source's x axis in the target's x-y plane, left positive.
    #[must_use]
    pub fn yaw_rad(&self) -> f64 {
        let forward = self.rotation * DVec3::X;
        forward.y.atan2(forward.x)
    }

    /// As it arrives through a message of single-precision numbers: each rounded, the quaternion made unit again.
    #[must_use]
    pub fn rounded_to_f32(&self) -> Self {
        let single = |value: f64| f64::from(value as f32);
        let translation_m = self.translation_m.to_array().map(single);
        Self::from_xyz_quat(translation_m, self.quaternion_xyzw().map(single)).unwrap_or(*self)
    }
}
