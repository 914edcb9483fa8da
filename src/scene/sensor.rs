//! Cameras in the world.

use super::Scenario;
use crate::geometry::Pose;

impl Scenario {
    /// `world_from_sensor` of a camera (by its index) at a time; none outside the ego's trajectory.
    #[must_use]
    pub fn world_from_sensor(&self, camera: usize, timestamp_us: i64) -> Option<Pose> {
        let camera = self.cameras.get(camera)?;
        Some(self.ego.pose_at(timestamp_us)?.compose(&camera.rig_from_sensor))
    }

    /// The same as the original viewer sent it: the camera's place on the rig had passed through a message of
    /// single-precision numbers, and the ego's last matrix was used as stored.
    #[must_use]
    pub fn world_from_sensor_rounded(&self, camera: usize, timestamp_us: i64) -> Option<Pose> {
        let camera = self.cameras.get(camera)?;
        let rig_from_sensor = camera.rig_from_sensor.rounded_to_f32().matrix();
        Pose::from_matrix(&(self.ego.matrix_at(timestamp_us)? * rig_from_sensor)).ok()
    }
}
