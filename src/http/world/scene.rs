//! All a viewer needs to know of the loaded scenario, once: cameras, tracks, the ego path, the map.

use axum::Json as JsonBody;
use axum::http::{StatusCode, Uri};
use glam::{DVec3, EulerRot};
use serde::Serialize;
use utoipa::ToSchema;

use super::query::Pairs;
use super::refusal::Refusal;
use super::session::{Chosen, Named};
use crate::geometry::Pose;
use crate::http::error::Detail;
use crate::http::validation::ValidationErrors;
use crate::playback::View;
use crate::scene::{Camera, Map, MapLineKind, Scenario, Track, Trajectory};

/// Points of a path at most: what a screen can show.
const PATH_POINTS: usize = 2000;

/// A position and an orientation.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct PoseInfo {
    /// x y z, metres.
    position: [f64; 3],
    /// x y z w.
    quaternion: [f64; 4],
}

impl From<&Pose> for PoseInfo {
    fn from(pose: &Pose) -> Self {
        Self { position: pose.translation_m.to_array(), quaternion: pose.quaternion_xyzw() }
    }
}

/// Who draws.
#[derive(Debug, Serialize, ToSchema)]
pub struct RendererInfo {
    name: &'static str,
    place: String,
}

/// A camera of the rig.
#[derive(Debug, Serialize, ToSchema)]
pub struct SceneCamera {
    name: String,
    /// Width and height, in pixels.
    resolution: [u32; 2],
    /// `ftheta`, `opencv-pinhole` or `opencv-fisheye`
    model: &'static str,
    /// Whether a windshield distorts it.
    windshield: bool,
    /// `ROLLING_TOP_TO_BOTTOM`, ...
    shutter: &'static str,
    /// Recorded frames.
    frames: usize,
    rig_from_sensor: PoseInfo,
}

/// A track over its whole life.
#[derive(Debug, Serialize, ToSchema)]
pub struct SceneTrack {
    id: String,
    class: String,
    dynamic: bool,
    controllable: bool,
    /// Length, width, height.
    dimensions_m: [f64; 3],
    start_us: i64,
    end_us: i64,
}

/// A box in rig coordinates.
#[derive(Debug, Serialize, ToSchema)]
pub struct BoxInfo {
    centroid_m: [f64; 3],
    /// Length, width, height.
    dimensions_m: [f64; 3],
}

/// A line of the map.
#[derive(Debug, Serialize, ToSchema)]
pub struct MapLineInfo {
    /// `road_edge`, `solid`, `broken` or `other`
    kind: &'static str,
    /// x y z, metres, world.
    points: Vec<[f64; 3]>,
}

/// All a viewer needs to know of the loaded scenario.
#[derive(Debug, Serialize, ToSchema)]
pub struct SceneInfo {
    sequence_id: String,
    /// The file's name.
    file: String,
    start_us: i64,
    end_us: i64,
    renderer: RendererInfo,
    /// What a person should know about the file.
    notes: Vec<String>,
    cameras: Vec<SceneCamera>,
    /// When the first camera's shutter opened, frame by frame.
    frame_timestamps_us: Vec<i64>,
    tracks: Vec<SceneTrack>,
    rig_box: Option<BoxInfo>,
    /// Instant, x, y, z, yaw: at most 2000 points.
    #[schema(value_type = Vec<Vec<f64>>)]
    ego: Vec<PathPoint>,
    map: Option<Vec<MapLineInfo>>,
}

/// Instant in microseconds, x, y, z in metres, yaw in radians.
type PathPoint = (i64, f64, f64, f64, f64);

/// Poses of the tracks that are alive.
#[derive(Debug, Serialize, ToSchema)]
pub struct AliveTracks {
    timestamp_us: i64,
    tracks: Vec<AliveTrack>,
}

/// A track at an instant.
#[derive(Debug, Serialize, ToSchema)]
pub struct AliveTrack {
    id: String,
    /// x y z of the cuboid's centre, metres.
    position: [f64; 3],
    /// x y z w.
    quaternion: [f64; 4],
}

/// A track and its path.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrackPath {
    id: String,
    class: String,
    dimensions_m: [f64; 3],
    /// Instant, x, y, z, yaw: at most 2000 points.
    #[schema(value_type = Vec<Vec<f64>>)]
    path: Vec<PathPoint>,
}

/// All a viewer needs to know of the loaded scenario
#[utoipa::path(
    get, path = "/scene", tag = "playback",
    responses((status = 200, body = SceneInfo), (status = 400, description = "Nothing is loaded", body = Detail))
)]
pub async fn scene(Chosen(session): Chosen) -> Result<JsonBody<SceneInfo>, Refusal> {
    let scenario = session.scenario()?;
    let View { planner, .. } = session.view();
    let renderer = planner.renderer();
    let renderer = RendererInfo { name: renderer.name(), place: renderer.place() };
    tokio::task::spawn_blocking(move || JsonBody(describe(&scenario, renderer)))
        .await
        .map_err(|error| Refusal::said(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

fn describe(scenario: &Scenario, renderer: RendererInfo) -> SceneInfo {
    let file = scenario.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let first = scenario.cameras.first();
    SceneInfo {
        sequence_id: scenario.sequence_id.clone(),
        file,
        start_us: scenario.start_us,
        end_us: scenario.end_us,
        renderer,
        notes: scenario.notes.clone(),
        cameras: scenario.cameras.iter().map(camera).collect(),
        frame_timestamps_us: first.map_or_else(Vec::new, frames),
        tracks: scenario.tracks.iter().map(track).collect(),
        rig_box: scenario.rig_box.map(|rig| BoxInfo {
            centroid_m: rig.centroid_m.to_array(),
            dimensions_m: rig.dimensions_m.to_array(),
        }),
        ego: path(&scenario.ego),
        map: scenario.map.as_ref().map(lines),
    }
}

fn frames(camera: &Camera) -> Vec<i64> {
    camera.shutters_us.iter().map(|[start_us, _]| *start_us).collect()
}

fn camera(camera: &Camera) -> SceneCamera {
    SceneCamera {
        name: camera.logical_name.clone(),
        resolution: camera.model.resolution,
        model: camera.model.projection.name(),
        windshield: camera.model.windshield.is_some(),
        shutter: camera.model.shutter.name(),
        frames: camera.shutters_us.len(),
        rig_from_sensor: (&camera.rig_from_sensor).into(),
    }
}

fn track(track: &Track) -> SceneTrack {
    let stamps = &track.trajectory.timestamps_us;
    SceneTrack {
        id: track.id.clone(),
        class: track.class.clone(),
        dynamic: track.dynamic,
        controllable: track.controllable,
        dimensions_m: track.dimensions_m.to_array(),
        start_us: stamps.first().copied().unwrap_or_default(),
        end_us: stamps.last().copied().unwrap_or_default(),
    }
}

fn path(trajectory: &Trajectory) -> Vec<PathPoint> {
    let count = trajectory.poses.len();
    let step = count.div_ceil(PATH_POINTS).max(1);
    let last = count.checked_sub(1).filter(|last| last % step != 0);
    let point = |index: usize| {
        let (time_us, pose) = (trajectory.timestamps_us.get(index)?, trajectory.poses.get(index)?);
        let DVec3 { x, y, z } = pose.translation_m;
        let (yaw, _, _) = pose.rotation.to_euler(EulerRot::ZYX);
        Some((*time_us, x, y, z, yaw))
    };
    (0..count).step_by(step).chain(last).filter_map(point).collect()
}

fn lines(map: &Map) -> Vec<MapLineInfo> {
    let kind = |kind| match kind {
        MapLineKind::RoadEdge => "road_edge",
        MapLineKind::Solid => "solid",
        MapLineKind::Broken => "broken",
        MapLineKind::Other => "other",
    };
    let line = |line: &crate::scene::MapLine| MapLineInfo {
        kind: kind(line.kind),
        points: line.points_m.iter().map(|point| rounded(*point)).collect(),
    };
    map.lines.iter().map(line).collect()
}

/// To a millimetre: a map is the longest part of the answer.
fn rounded(point: DVec3) -> [f64; 3] {
    point.to_array().map(|value| (value * 1000.0).round() / 1000.0)
}

/// The tracks alive at an instant
#[utoipa::path(
    get, path = "/tracks", tag = "playback",
    params(("timestamp_us" = i64, Query, description = "Microseconds")),
    responses(
        (status = 200, body = AliveTracks),
        (status = 400, description = "Nothing is loaded", body = Detail),
        (status = 422, body = ValidationErrors)
    )
)]
pub async fn tracks(Chosen(session): Chosen, uri: Uri) -> Result<JsonBody<AliveTracks>, Refusal> {
    let timestamp_us = Pairs::of(&uri).required_integer("timestamp_us")?;
    let scenario = session.scenario()?;
    Ok(JsonBody(AliveTracks { timestamp_us, tracks: alive(&scenario, timestamp_us) }))
}

/// The tracks alive at an instant.
#[must_use]
pub fn alive(scenario: &Scenario, timestamp_us: i64) -> Vec<AliveTrack> {
    let alive = scenario.tracks.alive_at(timestamp_us);
    alive
        .map(|(_, track, pose)| AliveTrack {
            id: track.id.clone(),
            position: pose.translation_m.to_array(),
            quaternion: pose.quaternion_xyzw(),
        })
        .collect()
}

/// One track's path
#[utoipa::path(
    get, path = "/track/{id}", tag = "playback",
    params(("id" = String, Path, description = "Id of the track")),
    responses(
        (status = 200, body = TrackPath),
        (status = 400, description = "Nothing is loaded", body = Detail),
        (status = 404, description = "No such track", body = Detail)
    )
)]
pub async fn track_path(Chosen(session): Chosen, Named(id): Named) -> Result<JsonBody<TrackPath>, Refusal> {
    let scenario = session.scenario()?;
    let track = scenario
        .tracks
        .by_id(&id)
        .ok_or_else(|| Refusal::said(StatusCode::NOT_FOUND, format!("there is no track {id:?}")))?;
    Ok(JsonBody(TrackPath {
        id,
        class: track.class.clone(),
        dimensions_m: track.dimensions_m.to_array(),
        path: path(&track.trajectory),
    }))
}
