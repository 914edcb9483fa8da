//! What the loaded scenario is: its range and cameras, the ego vehicle's poses.

use axum::Json as JsonBody;
use axum::http::{StatusCode, Uri};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::query::{Pairs, at};
use super::refusal::Refusal;
use super::session::Chosen;
use crate::geometry::Pose;
use crate::http::error::Detail;
use crate::http::validation::{Problem, ValidationErrors};

/// Shortest step of a sampled trajectory, in microseconds.
const LEAST_STEP_US: i64 = 10_000;
/// Step when none is given, in microseconds.
const DEFAULT_STEP_US: i64 = 100_000;

/// First and last instant.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimeRange {
    /// In microseconds.
    start_us: i64,
    /// In microseconds; inclusive.
    end_us: i64,
    /// Between them, in seconds.
    duration_seconds: f64,
}

/// A camera of the rig.
#[derive(Debug, Serialize, ToSchema)]
#[allow(non_snake_case, reason = "the wire's name")]
pub struct CameraInfo {
    /// `camera_front_wide_120fov`
    logical_name: String,
    /// Width and height, in pixels.
    resolution: [u32; 2],
    /// Sensor to rig, row by row, metres.
    T_sensor_rig: [[f64; 4]; 4],
}

/// The loaded scenario.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScenarioInfo {
    /// Id of the recording.
    sequence_id: String,
    /// First and last instant.
    time_range: TimeRange,
    /// In the file's order.
    cameras: Vec<CameraInfo>,
}

/// A pose of the ego vehicle: rig to world.
#[derive(Debug, Serialize, ToSchema)]
pub struct PoseAtTime {
    /// In microseconds.
    timestamp_us: i64,
    /// x y z, metres.
    position: [f64; 3],
    /// x y z w.
    quaternion: [f64; 4],
}

impl PoseAtTime {
    fn new(timestamp_us: i64, pose: &Pose) -> Self {
        Self { timestamp_us, position: pose.translation_m.to_array(), quaternion: pose.quaternion_xyzw() }
    }
}

/// Poses of the ego vehicle.
#[derive(Debug, Serialize, ToSchema)]
pub struct Trajectory {
    /// From the first instant on; the last one only if it falls on the grid.
    trajectory: Vec<PoseAtTime>,
}

/// The cameras' names.
#[derive(Debug, Serialize, ToSchema)]
pub struct CameraNames {
    /// In the file's order.
    cameras: Vec<String>,
}

/// The loaded scenario
#[utoipa::path(
    get, path = "/scenario", tag = "playback",
    responses((status = 200, body = ScenarioInfo), (status = 400, description = "Nothing is loaded", body = Detail))
)]
pub async fn scenario(Chosen(session): Chosen) -> Result<JsonBody<ScenarioInfo>, Refusal> {
    let scenario = session.scenario()?;
    let length_us = scenario.end_us.saturating_sub(scenario.start_us).max(0);
    #[allow(clippy::cast_precision_loss, reason = "microseconds of one recording")]
    let duration_seconds = length_us as f64 / 1e6;
    let cameras = scenario.cameras.iter().map(|camera| CameraInfo {
        logical_name: camera.logical_name.clone(),
        resolution: camera.model.resolution,
        T_sensor_rig: camera.rig_from_sensor_rows,
    });
    Ok(JsonBody(ScenarioInfo {
        sequence_id: scenario.sequence_id.clone(),
        time_range: TimeRange { start_us: scenario.start_us, end_us: scenario.end_us, duration_seconds },
        cameras: cameras.collect(),
    }))
}

/// Names of the cameras
#[utoipa::path(
    get, path = "/cameras", tag = "playback",
    responses((status = 200, body = CameraNames), (status = 400, description = "Nothing is loaded", body = Detail))
)]
pub async fn cameras(Chosen(session): Chosen) -> Result<JsonBody<CameraNames>, Refusal> {
    let scenario =
        session.scenario().map_err(|_| Refusal::said(StatusCode::BAD_REQUEST, "No scenario loaded"))?;
    let cameras = scenario.cameras.iter().map(|camera| camera.logical_name.clone()).collect();
    Ok(JsonBody(CameraNames { cameras }))
}

/// The ego vehicle at an instant
#[utoipa::path(
    get, path = "/pose", tag = "playback",
    params(("timestamp_us" = i64, Query, description = "Microseconds")),
    responses(
        (status = 200, body = PoseAtTime),
        (status = 400, description = "Nothing is loaded, or out of range", body = Detail),
        (status = 422, body = ValidationErrors)
    )
)]
pub async fn pose(Chosen(session): Chosen, uri: Uri) -> Result<JsonBody<PoseAtTime>, Refusal> {
    let timestamp_us = Pairs::of(&uri).required_integer("timestamp_us")?;
    let scenario = session.scenario()?;
    let pose = scenario.ego.pose_at(timestamp_us).ok_or_else(out_of_range)?;
    Ok(JsonBody(PoseAtTime::new(timestamp_us, &pose)))
}

/// The refusal of an instant the ego vehicle has no pose at.
pub fn out_of_range() -> Refusal {
    Refusal::said(StatusCode::BAD_REQUEST, "Timestamp out of range")
}

/// The ego vehicle's path, sampled
#[utoipa::path(
    get, path = "/trajectory", tag = "playback",
    params(("sample_interval_us" = Option<i64>, Query, description = "Microseconds, 10000 or more; 100000 when not given")),
    responses(
        (status = 200, body = Trajectory),
        (status = 400, description = "Nothing is loaded, or more samples than may be asked for", body = Detail),
        (status = 422, body = ValidationErrors)
    )
)]
pub async fn trajectory(Chosen(session): Chosen, uri: Uri) -> Result<JsonBody<Trajectory>, Refusal> {
    let step_us = Pairs::of(&uri).integer("sample_interval_us")?.unwrap_or(DEFAULT_STEP_US);
    if step_us < LEAST_STEP_US {
        let input = Pairs::of(&uri).get("sample_interval_us").map_or(json!(step_us), |text| json!(text));
        let problem = Problem::greater_than_equal(
            at("sample_interval_us"),
            input,
            &LEAST_STEP_US.to_string(),
            json!(LEAST_STEP_US),
        );
        return Err(problem.into());
    }
    let scenario = session.scenario()?;
    let sampled = move || {
        let samples = scenario.ego.sample(scenario.start_us, scenario.end_us, step_us);
        samples.map(|(timestamp_us, pose)| PoseAtTime::new(timestamp_us, &pose)).collect()
    };
    let trajectory = tokio::task::spawn_blocking(sampled)
        .await
        .map_err(|error| Refusal::said(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(JsonBody(Trajectory { trajectory }))
}
