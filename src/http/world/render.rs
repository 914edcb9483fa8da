//! Pictures of an instant: several cameras as base64 in JSON, or one as a file.

use std::sync::Arc;

use axum::Json as JsonBody;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::body::Fields;
use super::query::Pairs;
use super::refusal::Refusal;
use super::scenario::out_of_range;
use super::session::{Chosen, Named};
use crate::http::error::Detail;
use crate::http::state::AppState;
use crate::http::validation::{Problem, ValidationErrors, loc};
use crate::playback::{Session, View};
use crate::render::plan::FrameSet;
use crate::render::{MAX_SCALE, ShotOptions};
use crate::scene::Scenario;

/// Cameras in one request at most, duplicates counted once.
const MAX_CAMERAS: usize = 64;
/// Quality of JPEG pictures, 1 to 100.
const QUALITY: f32 = 90.0;

/// Which pictures.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of a body that is read field by field")]
pub struct RenderRequest {
    /// The instant, in microseconds.
    timestamp_us: i64,
    /// Names of cameras; unknown ones have no picture in the answer.
    camera_ids: Vec<String>,
    /// Size of the pictures by that of the cameras, 4 at most.
    #[schema(default = 0.25)]
    resolution_scale: Option<f64>,
}

/// Pictures of an instant.
#[derive(Debug, Serialize, ToSchema)]
pub struct RenderAnswer {
    /// The instant, in microseconds.
    timestamp_us: i64,
    /// JPEG in base64, by camera. A camera that could not be drawn is missing.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    images: Map<String, Value>,
    /// Why cameras are missing, by camera; only if some are.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = std::collections::HashMap<String, String>)]
    errors: Map<String, Value>,
}

/// Pictures of an instant
#[utoipa::path(
    post, path = "/render", tag = "playback", request_body = RenderRequest,
    responses(
        (status = 200, body = RenderAnswer),
        (status = 400, description = "Nothing is loaded, or out of range", body = Detail),
        (status = 422, body = ValidationErrors)
    )
)]
pub async fn render(
    State(state): State<AppState>,
    Chosen(session): Chosen,
    request: Request,
) -> Result<JsonBody<RenderAnswer>, Refusal> {
    let mut fields = Fields::read(request, &state.options).await?;
    let timestamp_us = fields.integer("timestamp_us");
    let cameras = fields.texts("camera_ids");
    let scale = fields.optional_number("resolution_scale", false).unwrap_or(0.25);
    if scale > MAX_SCALE {
        let at = loc(["body", "resolution_scale"]);
        fields.refuse(Problem::less_than_equal(at, json!(scale), &MAX_SCALE.to_string(), json!(MAX_SCALE)));
    }
    if let Some(cameras) = &cameras
        && cameras.len() > MAX_CAMERAS
    {
        let at = loc(["body", "camera_ids"]);
        fields.refuse(Problem::too_long(at, Value::Null, MAX_CAMERAS, cameras.len()));
    }
    let (timestamp_us, cameras) = fields.settle(timestamp_us.zip(cameras))?;
    let set = frames(&session, timestamp_us, cameras, scale).await?;
    let (mut images, mut errors) = (Map::new(), Map::new());
    for (camera, result) in set.images {
        match result {
            Ok(frame) => images.insert(camera, BASE64_STANDARD.encode(&frame.bytes).into()),
            Err(error) => {
                tracing::warn!(camera, %error, "no picture");
                errors.insert(camera, error.to_string().into())
            }
        };
    }
    Ok(JsonBody(RenderAnswer { timestamp_us, images, errors }))
}

/// One camera's picture
#[utoipa::path(
    get, path = "/render/{id}", tag = "playback",
    params(
        ("id" = String, Path, description = "Name of the camera"),
        ("timestamp_us" = i64, Query, description = "Microseconds"),
        ("scale" = Option<f64>, Query, description = "Size by that of the camera, 0.1 to 1; 0.25 when not given")
    ),
    responses(
        (status = 200, description = "The picture", content_type = "image/jpeg", body = Vec<u8>),
        (status = 400, description = "Nothing is loaded, or out of range", body = Detail),
        (status = 404, description = "No such camera, or it could not be drawn", body = Detail),
        (status = 422, body = ValidationErrors)
    )
)]
pub async fn render_one(
    Chosen(session): Chosen,
    Named(camera): Named,
    uri: Uri,
) -> Result<Response, Refusal> {
    // An encoded slash is part of no camera's name: the original has no such path.
    if camera.contains('/') {
        return Err(Refusal::said(StatusCode::NOT_FOUND, "Not Found"));
    }
    let pairs = Pairs::of(&uri);
    let (timestamp_us, scale) =
        (pairs.required_integer("timestamp_us"), pairs.number("scale", 0.25, [0.1, 1.0]));
    let mut problems = Vec::new();
    problems.extend(timestamp_us.as_ref().err().cloned());
    problems.extend(scale.as_ref().err().cloned());
    let (Ok(timestamp_us), Ok(scale)) = (timestamp_us, scale) else { return Err(problems.into()) };
    let set = frames(&session, timestamp_us, vec![camera.clone()], scale).await?;
    match set.images.into_iter().next().map(|(_, result)| result) {
        Some(Ok(frame)) => Ok(([(header::CONTENT_TYPE, "image/jpeg")], frame.bytes).into_response()),
        failed => {
            if let Some(Err(error)) = failed {
                tracing::warn!(camera, %error, "no picture");
            }
            Err(Refusal::said(StatusCode::NOT_FOUND, format!("Camera {camera} not found or render failed")))
        }
    }
}

async fn frames(
    session: &Session,
    timestamp_us: i64,
    cameras: Vec<String>,
    scale: f64,
) -> Result<FrameSet, Refusal> {
    let View { scenario, planner, .. } = session.view();
    let scenario: Arc<Scenario> = scenario
        .ok_or_else(|| Refusal::said(StatusCode::BAD_REQUEST, "No scenario loaded or NuRec not connected"))?;
    scenario.ego.pose_at(timestamp_us).ok_or_else(out_of_range)?;
    let options = ShotOptions {
        scale: scale.max(0.0),
        encoding: crate::render::Encoding::Jpeg(QUALITY),
        ..ShotOptions::default()
    };
    Ok(planner.frames(None, &scenario, timestamp_us, &cameras, &options).await)
}
