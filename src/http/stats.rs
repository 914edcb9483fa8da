//! `GET /stats`: the numbers between the network's output and the robot, and what they mean.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;
use utoipa::ToSchema;

use super::error::with_retry_after;
use super::state::AppState;
use crate::policy::stats::ACTION_DIM;

/// The statistics in use.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// Mean action: metres, radians, gripper units.
    mean: [f64; ACTION_DIM],
    /// Standard deviation, same units.
    std: [f64; ACTION_DIM],
    description: Components,
    /// Name of the set.
    id: String,
    /// First 16 hex digits of the SHA-256 over mean then std as little-endian f32.
    sha256: String,
}

/// What the components of an action are.
#[derive(Debug, Serialize, ToSchema)]
pub struct Components {
    #[serde(rename = "0-2")]
    translation: &'static str,
    #[serde(rename = "3-5")]
    rotation: &'static str,
    #[serde(rename = "6")]
    gripper: &'static str,
}

/// `GET /stats` without a model.
#[derive(Debug, Serialize, ToSchema)]
pub struct NoStats {
    /// `Stats not loaded`
    error: &'static str,
}

/// The statistics that turn the network's output into metres and radians.
#[utoipa::path(
    get, path = "/stats", tag = "policy",
    responses((status = 200, body = Stats), (status = 503, description = "No model yet", body = NoStats))
)]
pub async fn stats(State(state): State<AppState>) -> Response {
    let Some(model) = state.service.model() else {
        let body = JsonBody(json!({"error": "Stats not loaded"}));
        let response = (StatusCode::SERVICE_UNAVAILABLE, body).into_response();
        return with_retry_after(response, Some(Duration::from_secs(1)));
    };
    JsonBody(Stats {
        mean: model.stats.mean.map(f64::from),
        std: model.stats.std.map(f64::from),
        description: Components {
            translation: "translation (dx, dy, dz) in meters",
            rotation: "rotation (droll, dpitch, dyaw) in radians",
            gripper: "gripper (0=open, 1=closed)",
        },
        id: model.stats.id.clone(),
        sha256: model.stats.sha256.clone(),
    })
    .into_response()
}
