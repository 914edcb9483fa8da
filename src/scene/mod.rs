//! The world as data: a NuRec scenario in memory, its poses, tracks, cameras and map, and the playback clock.
//! Knows nothing of HTTP.

pub mod activation;
pub mod camera;
pub mod clock;
pub mod error;
mod grade_filter;
pub mod load;
pub mod map;
pub mod sample;
mod sensor;
pub mod shelf;
pub mod spectator;
mod track_index;
pub mod tracks;
pub mod trajectory;
pub mod usdz;
pub mod vertical_filter;

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod trajectory_tests;

use std::path::PathBuf;

use glam::{DMat4, DVec3};

use crate::geometry::Pose;
use camera::CameraModel;

pub use error::SceneError;
pub use load::LoadLimits;
pub use map::{Map, MapLine, MapLineKind};
pub use tracks::{Track, Tracks};
pub use trajectory::Trajectory;
pub use vertical_filter::VerticalFilter;

/// A scenario, whole and checked. Immutable: share it with `Arc`.
#[derive(Debug)]
pub struct Scenario {
    /// The file it came from.
    pub path: PathBuf,
    /// `data_info.json`'s sequence, else the scene of `metadata.yaml`, else the file's stem. Renderers know the scene by
    /// it.
    pub sequence_id: String,
    /// First instant, in microseconds.
    pub start_us: i64,
    /// Last instant, in microseconds; inclusive.
    pub end_us: i64,
    /// `world_from_rig` over time.
    pub ego: Trajectory,
    /// In the file's order.
    pub cameras: Vec<Camera>,
    /// Everything that moves or may move.
    pub tracks: Tracks,
    /// Lanes, in world coordinates, when there is a `map.xodr` that could be placed.
    pub map: Option<Map>,
    /// The ego vehicle's box in rig coordinates.
    pub rig_box: Option<RigBox>,
    /// World to the reconstruction's frame: what a volume renderer needs.
    pub nre_from_world: Option<DMat4>,
    /// World to earth-centred, earth-fixed metres.
    pub ecef_from_world: Option<DMat4>,
    /// What a person should know about the file: what is missing, what was assumed.
    pub notes: Vec<String>,
}

/// A calibrated camera on the rig.
#[derive(Debug, Clone, PartialEq)]
pub struct Camera {
    /// Key in the file: `camera_front_wide_120fov@clipgt-...`.
    pub key: String,
    /// `camera_front_wide_120fov`.
    pub logical_name: String,
    /// As stored, row by row: what `/api/scenario` shows.
    pub rig_from_sensor_rows: [[f64; 4]; 4],
    /// As a pose.
    pub rig_from_sensor: Pose,
    /// Lens and shutter.
    pub model: CameraModel,
    /// Shutter start and end of the recorded frames, in microseconds, increasing.
    pub shutters_us: Vec<[i64; 2]>,
    /// `world_from_rig` at shutter start and end of each recorded frame, when the file has them.
    pub shutter_poses: Option<Vec<[Pose; 2]>>,
}

/// The ego vehicle's box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RigBox {
    /// Centre in rig coordinates, in metres.
    pub centroid_m: DVec3,
    /// Length, width, height, in metres.
    pub dimensions_m: DVec3,
}
