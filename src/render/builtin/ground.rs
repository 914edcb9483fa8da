//! The ground near the ego vehicle, as a plane. One plane for a whole scenario would leave a hilly road; the path that
//! was driven says how the road slopes here.

use glam::DVec3;

use crate::geometry::Pose;
use crate::scene::Trajectory;

/// The slope is that of the path from so far behind to so far ahead, in metres.
const BASE_M: [f64; 2] = [8.0, 25.0];
/// A base shorter than this says nothing of the slope, in metres.
const SHORTEST_BASE_M: f64 = 5.0;

/// A plane in world coordinates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ground {
    /// Any point of it, in metres.
    pub point_m: DVec3,
    /// Upwards, of unit length.
    pub normal: DVec3,
}

impl Ground {
    /// Level, at a height.
    #[must_use]
    pub fn level(height_m: f64) -> Self {
        Self { point_m: DVec3::Z * height_m, normal: DVec3::Z }
    }

    /// Below the ego vehicle at a time, along its path and as its wheels lean to the side. Times outside the recording
    /// take its first or last pose.
    #[must_use]
    pub fn below(ego: &Trajectory, timestamp_us: i64) -> Option<Self> {
        let here = pose_near(ego, timestamp_us)?;
        let index = ego.timestamps_us.partition_point(|stamp| *stamp < timestamp_us);
        let far = |pose: &&Pose, reach_m: f64| pose.translation_m.distance(here.translation_m) >= reach_m;
        let position = |pose: Option<&Pose>| pose.map_or(here.translation_m, |pose| pose.translation_m);
        let behind = ego.poses.get(..index).unwrap_or_default();
        let ahead = ego.poses.get(index..).unwrap_or_default();
        let start = position(behind.iter().rev().find(|p| far(p, BASE_M[0])).or(behind.first()));
        let end = position(ahead.iter().find(|p| far(p, BASE_M[1])).or(ahead.last()));
        let along = end - start;
        let forward = if along.length() >= SHORTEST_BASE_M { along } else { here.rotation * DVec3::X };
        let left = here.rotation * DVec3::Y;
        let normal = forward.cross(left).try_normalize().filter(|normal| normal.z > 0.5);
        Some(Self { point_m: here.translation_m, normal: normal.unwrap_or(DVec3::Z) })
    }

    /// How far above the plane a point is, in metres.
    #[must_use]
    pub fn height_m(&self, point_m: DVec3) -> f64 {
        (point_m - self.point_m).dot(self.normal)
    }
}

/// The pose at a time, or the first or last one.
pub(super) fn pose_near(ego: &Trajectory, timestamp_us: i64) -> Option<Pose> {
    ego.pose_at(timestamp_us).or_else(|| {
        let first = *ego.timestamps_us.first()?;
        if timestamp_us < first { ego.poses.first() } else { ego.poses.last() }.copied()
    })
}
