//! The camera to look through when none is chosen, and its path.

use glam::DMat4;

use super::trajectory::TrajectoryError;
use super::{Camera, Scenario, Trajectory};
use crate::geometry::Pose;

/// In order of preference: what a front camera's name holds.
const PATTERNS: [&str; 5] = ["front_wide_120fov", "front_wide", "front", "wide", "120"];

/// The index of the first camera of the best name, else of the first camera; none where there are no cameras.
#[must_use]
pub fn best_camera(cameras: &[Camera]) -> Option<usize> {
    let named = |pattern: &&str| cameras.iter().position(|camera| camera.logical_name.contains(*pattern));
    PATTERNS.iter().find_map(named).or_else(|| (!cameras.is_empty()).then_some(0))
}

/// `world_from_sensor` over time, from `world_from_rig` matrices. Matrices, not poses: the product is made of what the
/// file says, and only then becomes a rotation, which differs by some 1e-8 m from the product of rotations.
///
/// # Errors
/// On a product that is no pose.
pub fn path(
    timestamps_us: Vec<i64>,
    world_from_rig: impl Iterator<Item = DMat4>,
    rig_from_sensor: &DMat4,
) -> Result<Trajectory, TrajectoryError> {
    let matrices: Vec<_> = world_from_rig.map(|rig| rig * *rig_from_sensor).collect();
    Trajectory::from_matrices(timestamps_us, &matrices)
}

impl Scenario {
    /// The path of the best camera, at the ego's times.
    ///
    /// # Errors
    /// Never for a checked scenario with a camera.
    pub fn spectator(&self) -> Result<Trajectory, TrajectoryError> {
        let camera = best_camera(&self.cameras).and_then(|index| self.cameras.get(index));
        let rig_from_sensor = camera.map_or(DMat4::IDENTITY, |camera| camera.rig_from_sensor.matrix());
        path(self.ego.timestamps_us.clone(), self.ego.poses.iter().map(Pose::matrix), &rig_from_sensor)
    }
}
