//! The rolling shutter: which instant of the exposure an image point belongs to, and where a still point is seen by a
//! camera that moves meanwhile.
//!
//! Rows (or columns) are counted in the native resolution whatever the size drawn, as NVIDIA's renderers do.

use glam::{DVec2, DVec3};

use super::{CameraModel, Shutter};
use crate::geometry::Pose;

/// A point is looked up again at the instant found, at most so often.
const ITERATIONS: usize = 24;

impl CameraModel {
    /// When an image point (native pixels) is exposed: 0 at the start of the shutter, 1 at its end.
    #[must_use]
    pub fn shutter_fraction(&self, pixel: DVec2) -> f64 {
        let [width, height] = self.resolution.map(f64::from);
        let (line, lines) = match self.shutter {
            Shutter::Unknown | Shutter::Global => return 0.0,
            Shutter::RollingTopToBottom => (pixel.y.floor(), height),
            Shutter::RollingBottomToTop => (height - pixel.y.ceil(), height),
            Shutter::RollingLeftToRight => (pixel.x.floor(), width),
            Shutter::RollingRightToLeft => (width - pixel.x.ceil(), width),
        };
        if lines > 1.0 { (line / (lines - 1.0)).clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Whether the lines of a picture are exposed one after another.
    #[must_use]
    pub fn is_rolling(&self) -> bool {
        !matches!(self.shutter, Shutter::Unknown | Shutter::Global)
    }

    /// Where a still point of the world is seen, in native pixels, by a camera that moves from one pose to the other
    /// during the shutter; and when, as [`CameraModel::shutter_fraction`]. `None` when it is not seen.
    #[must_use]
    pub fn project_moving(&self, world_point: DVec3, world_from_sensor: &[Pose; 2]) -> Option<(DVec2, f64)> {
        self.project_over(world_from_sensor, |_, pose| pose.inverse().transform_point(world_point))
    }

    /// As [`CameraModel::project_moving`], for a point of an object that moves too.
    #[must_use]
    pub fn project_moving_object(
        &self,
        point_in_object: DVec3,
        world_from_object: &[Pose; 2],
        world_from_sensor: &[Pose; 2],
    ) -> Option<(DVec2, f64)> {
        self.project_over(world_from_sensor, |fraction, pose| {
            let object = pose_during_shutter(world_from_object, fraction);
            pose.inverse().transform_point(object.transform_point(point_in_object))
        })
    }

    /// Iterates instant and image point until they agree.
    fn project_over(
        &self,
        world_from_sensor: &[Pose; 2],
        in_sensor: impl Fn(f64, &Pose) -> DVec3,
    ) -> Option<(DVec2, f64)> {
        let at = |fraction: f64| {
            let pose = pose_during_shutter(world_from_sensor, fraction);
            self.project(in_sensor(fraction, &pose))
        };
        let mut pixel = at(0.0);
        if !self.is_rolling() {
            return pixel.map(|pixel| (pixel, 0.0));
        }
        if pixel.is_none() {
            pixel = at(1.0);
        }
        let mut pixel = pixel?;
        let mut fraction = f64::NAN;
        for _ in 0..ITERATIONS {
            let next = self.shutter_fraction(pixel);
            if next == fraction {
                break;
            }
            fraction = next;
            pixel = at(fraction)?;
        }
        Some((pixel, fraction))
    }
}

/// The pose at a fraction of the shutter: positions in a straight line, rotations along the shortest arc.
#[must_use]
pub fn pose_during_shutter(pair: &[Pose; 2], fraction: f64) -> Pose {
    let [start, end] = pair;
    Pose {
        translation_m: start.translation_m.lerp(end.translation_m, fraction),
        rotation: start.rotation.slerp(end.rotation, fraction),
    }
}
