//! Rigid transforms and how they are interpolated: f64, no input or output.
//!
//! A pose is named `target_from_source`: `world_from_rig` maps a point in rig coordinates to world coordinates.
//! World: local, metres, z up. Rig: x forward, y left, z up, origin on the ground below the rear axle. Sensor: x right,
//! y down, z forward.

use glam::{DMat3, DMat4, DQuat, DVec3};

/// A rigid transform: rotate, then translate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    /// Origin of the source in target coordinates, in metres.
    pub translation_m: DVec3,
    /// Rotation from source to target axes; unit length.
    pub rotation: DQuat,
}

impl Pose {
    /// Source and target are the same.
    pub const IDENTITY: Self = Self { translation_m: DVec3::ZERO, rotation: DQuat::IDENTITY };

    /// `target_from_source * source_from_inner = target_from_inner`.
    #[must_use]
    pub fn compose(&self, inner: &Self) -> Self {
        Self {
            translation_m: self.transform_point(inner.translation_m),
            rotation: self.rotation * inner.rotation,
        }
    }

    /// `source_from_target`.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let rotation = self.rotation.conjugate();
        Self { translation_m: -(rotation * self.translation_m), rotation }
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
}

// STAND-IN until the branch `motion` is merged: its `from_matrix` takes the polar factor.

/// Why a matrix is no pose.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PoseError {
    /// Mirrored or flat.
    #[error("has a determinant of {0}, expected a positive one")]
    Determinant(f64),
}

impl Pose {
    /// The pose of a 4x4 matrix.
    ///
    /// # Errors
    /// When the determinant is not positive.
    pub fn from_matrix(matrix: &DMat4) -> Result<Self, PoseError> {
        let determinant = DMat3::from_mat4(*matrix).determinant();
        if determinant.is_nan() || determinant <= 0.0 {
            return Err(PoseError::Determinant(determinant));
        }
        let rotation = DQuat::from_mat4(matrix);
        let length = rotation.length();
        Ok(Self { translation_m: matrix.w_axis.truncate(), rotation: rotation / length })
    }
}
