//! The world as data: a NuRec scenario in memory, its poses, tracks, cameras and map, and the playback clock.
//! Knows nothing of HTTP.

pub mod camera;
pub mod error;
pub mod load;
pub mod usdz;

use std::path::PathBuf;

use glam::{DMat4, DVec3};

use crate::geometry::Pose;
use camera::CameraModel;
pub use error::SceneError;
pub use load::LoadLimits;

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

/// Poses over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Trajectory {
    /// Strictly increasing, in microseconds.
    pub timestamps_us: Vec<i64>,
    /// As many as timestamps.
    pub poses: Vec<Pose>,
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

/// All tracks, sorted by start (stable), with an index over time.
#[derive(Debug, Clone, Default)]
pub struct Tracks {
    list: Vec<Track>,
}

// STAND-IN until the branch `motion` is merged.
impl Tracks {
    /// Sorts them by start, keeping the order of those that start together.
    #[must_use]
    pub fn new(mut list: Vec<Track>) -> Self {
        list.sort_by_key(|track| track.trajectory.timestamps_us.first().copied());
        Self { list }
    }

    /// By start.
    pub fn iter(&self) -> std::slice::Iter<'_, Track> {
        self.list.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// One object over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// As in the file.
    pub id: String,
    /// `automobile`, `person`, ...
    pub class: String,
    /// Whether it moves.
    pub dynamic: bool,
    /// Whether a simulator may drive it.
    pub controllable: bool,
    /// Length, width, height, in metres.
    pub dimensions_m: DVec3,
    /// `world_from_cuboid` over time; the cuboid's origin is its centre.
    pub trajectory: Trajectory,
}

/// The ego vehicle's box.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RigBox {
    /// Centre in rig coordinates, in metres.
    pub centroid_m: DVec3,
    /// Length, width, height, in metres.
    pub dimensions_m: DVec3,
}

/// Lanes as polylines in world coordinates.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    /// Lane borders and road marks.
    pub lines: Vec<MapLine>,
}

/// One polyline of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct MapLine {
    /// What it marks.
    pub kind: MapLineKind,
    /// In metres, world coordinates.
    pub points_m: Vec<DVec3>,
}

/// What a map line marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapLineKind {
    /// The outer edge of a driving surface.
    RoadEdge,
    /// A border between lanes, drawn solid.
    Solid,
    /// A border between lanes, drawn broken.
    Broken,
    /// Kerb, sidewalk or any other border.
    Other,
}
