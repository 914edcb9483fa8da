//! roboeval's wire (roboeval 0.1.1): JSON on `POST /predict`, `GET /info`, `POST /reset`; `GET /health` is shared.
//! Its preflight reads `ready` and the specs; its simulator wrapper compares `action_space` and the specs with
//! the simulator's and refuses a pair that does not fit, so they are stated exactly and promise nothing more.

use std::sync::Arc;
use std::time::Instant;

use axum::Json as JsonBody;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Notice, StatsRef, notices, stamped, widened};
use super::body;
use super::caller::Caller;
use super::error::{Rejection, Shape};
use super::fields::{base64_picture, text};
use super::json::Json;
use super::state::{AppState, HttpOptions};
use super::validation::{Problem, Problems, echo, json_body, loc};
use crate::policy::request::{PredictError, PredictRequest, Prediction, Warning};
use crate::policy::stats::ACTION_DIM;

/// Name of this wire in metrics and recordings.
const WIRE: &str = "roboeval";

/// roboeval's observation.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of a body that is read field by field")]
pub struct RoboevalRequest {
    obs: RoboevalObservation,
    /// A newer request of the same robot takes this one's place; also by header `x-robot-id`.
    robot_id: Option<String>,
    /// Milliseconds after arrival when the answer loses its use; also by header `x-deadline-ms`.
    deadline_ms: Option<f64>,
}

/// What the robot sees and is asked to do.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of a body that is read field by field")]
pub struct RoboevalObservation {
    instruction: String,
    /// Pictures in base64 by role: `primary` is the camera, `tactile` the touch picture; others are not used.
    images: std::collections::HashMap<String, String>,
    /// Proprioception; not used by the network.
    #[schema(value_type = Object)]
    state: std::collections::HashMap<String, String>,
}

/// Actions for roboeval.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoboevalAnswer {
    /// One action: dx dy dz in metres, droll dpitch dyaw in radians, gripper.
    actions: [[f64; ACTION_DIM]; 1],
    /// Actions in this answer.
    chunk_size: usize,
    /// Actions in every answer.
    action_chunk_size: usize,
    action_space: ActionSpace,
    /// Id of the model.
    model_id: String,
    /// The statistics used.
    stats: StatsRef,
    /// What the reader should know.
    warnings: Vec<Notice>,
}

/// What an action is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActionSpace {
    /// `eef_delta`: a step of the end effector and a gripper command.
    #[serde(rename = "type")]
    kind: &'static str,
    /// Numbers in an action.
    dim: usize,
    /// Their names and units.
    description: &'static str,
}

const ACTION_SPACE: ActionSpace = ActionSpace {
    kind: "eef_delta",
    dim: ACTION_DIM,
    description: "[dx, dy, dz] in metres, [droll, dpitch, dyaw] in radians, gripper 0 open to 1 closed",
};

/// One component of actions or observations.
#[derive(Debug, Serialize, ToSchema)]
pub struct Spec {
    name: &'static str,
    /// Numbers in it; 0 for pictures and text.
    dims: usize,
    /// roboeval's name for the convention.
    format: &'static str,
    description: &'static str,
}

const fn spec(name: &'static str, dims: usize, format: &'static str, description: &'static str) -> Spec {
    Spec { name, dims, format, description }
}

/// The components of an action.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActionSpec {
    position: Spec,
    rotation: Spec,
    gripper: Spec,
}

/// The observations this model needs.
#[derive(Debug, Serialize, ToSchema)]
pub struct ObservationSpec {
    primary: Spec,
    instruction: Spec,
}

/// What a client must provide.
#[derive(Debug, Serialize, ToSchema)]
pub struct ObsRequirements {
    cameras: [&'static str; 1],
    /// 0: proprioception is not used.
    state_dim: usize,
    /// Pictures are resized to this on arrival; any size will do.
    image_resolution: [usize; 2],
    /// `none`: pictures are taken as they come.
    image_transform: &'static str,
}

/// `GET /info`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Info {
    /// Id of the model.
    name: String,
    /// Id of the model.
    model_id: String,
    action_space: ActionSpace,
    /// 0: proprioception is not used.
    state_dim: usize,
    /// Actions in every answer.
    action_chunk_size: usize,
    obs_requirements: ObsRequirements,
    action_spec: ActionSpec,
    observation_spec: ObservationSpec,
    /// The statistics in use.
    stats: StatsRef,
}

/// roboeval's failures.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoboevalFailure {
    /// What went wrong.
    pub error: String,
    /// Stable name of what went wrong.
    pub code: String,
}

/// What the model takes and gives, in roboeval's words.
#[utoipa::path(
    get, path = "/info", tag = "roboeval",
    responses((status = 200, body = Info), (status = 503, description = "No model yet", body = RoboevalFailure))
)]
pub async fn info(State(state): State<AppState>) -> Response {
    let Some(model) = state.service.model() else { return not_ready() };
    JsonBody(Info {
        name: model.id.clone(),
        model_id: model.id.clone(),
        action_space: ACTION_SPACE,
        state_dim: 0,
        action_chunk_size: 1,
        obs_requirements: ObsRequirements {
            cameras: ["primary"],
            state_dim: 0,
            image_resolution: [model.image_size; 2],
            image_transform: "none",
        },
        action_spec: ActionSpec {
            position: spec("position", 3, "delta_xyz", "metres per step"),
            rotation: spec("rotation", 3, "euler_xyz", "radians per step: roll, pitch, yaw"),
            gripper: spec("gripper", 1, "continuous_01", "0 open to 1 closed, as trained"),
        },
        observation_spec: ObservationSpec {
            primary: spec("image", 0, "rgb_hwc_uint8", "the camera the model was trained on"),
            instruction: spec("language", 0, "language", "see GET / for whether it counts"),
        },
        stats: (&model.stats).into(),
    })
    .into_response()
}

/// `POST /reset`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Reset {
    /// Always true.
    success: bool,
}

/// Begins an episode. Nothing is kept between requests, so there is nothing to forget.
#[utoipa::path(
    post, path = "/reset", tag = "roboeval",
    responses((status = 200, body = Reset), (status = 503, description = "No model yet", body = RoboevalFailure))
)]
pub async fn reset(State(state): State<AppState>) -> Response {
    match state.service.model() {
        Some(_) => JsonBody(Reset { success: true }).into_response(),
        None => not_ready(),
    }
}

fn not_ready() -> Response {
    Rejection::from(PredictError::Loading).answer(Shape::Roboeval)
}

/// One action for roboeval's JSON.
pub async fn predict(state: &AppState, headers: HeaderMap, body: Body, arrival: Instant) -> Response {
    let request = async {
        let body = body::read(body, &headers, &state.options).await?;
        let options = Arc::clone(&state.options);
        body::parsed(body.len(), move || typed(&body, &headers, arrival, &options)).await
    };
    let request = match request.await {
        Ok(request) => request,
        Err(rejection) => return rejection.refuse(WIRE, Shape::Roboeval, arrival),
    };
    match state.service.predict(request).await {
        Ok(prediction) => stamped(answer(&prediction), &prediction.timings),
        Err(error) => Rejection::from(error).answer(Shape::Roboeval),
    }
}

fn answer(prediction: &Prediction) -> RoboevalAnswer {
    RoboevalAnswer {
        actions: [widened(prediction)],
        chunk_size: 1,
        action_chunk_size: 1,
        action_space: ACTION_SPACE,
        model_id: prediction.model.id.clone(),
        stats: (&prediction.model.stats).into(),
        warnings: notices(prediction),
    }
}

fn typed(
    body: &[u8],
    headers: &HeaderMap,
    arrival: Instant,
    options: &HttpOptions,
) -> Result<PredictRequest, Rejection> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let document = json_body(content_type, body)?;
    let obs = match document.get("obs") {
        Some(obs @ Json::Object(_)) => obs,
        Some(other) => {
            return Err(vec![Problem::model_attributes_type(loc(["body", "obs"]), echo(other))].into());
        }
        None => return Err(vec![Problem::missing(loc(["body", "obs"]), echo(&document))].into()),
    };
    let mut problems = Problems::default();
    let instruction = problems.keep(text(obs, &["obs", "instruction"], obs));
    let images = problems.keep(dictionary(obs, "images"));
    let _state = problems.keep(dictionary(obs, "state"));
    let picture = |role: &str| match images {
        Some(images) if images.get(role).is_some() => {
            text(images, &["obs", "images", role], images).map(Some)
        }
        _ => Ok(None),
    };
    let primary = problems.keep(match images {
        Some(images) => text(images, &["obs", "images", "primary"], images).map(Some),
        None => Ok(None),
    });
    let tactile = problems.keep(picture("tactile")).flatten();
    let caller =
        Caller::read(headers, document.get("robot_id"), document.get("deadline_ms"), arrival, options);
    let caller = problems.keep_all(caller).unwrap_or_default();
    let (instruction, primary) = problems.settle(instruction.zip(primary.flatten()))?;

    let image = base64_picture(primary, "image")?;
    let mut request = PredictRequest::new(image, instruction.to_owned(), WIRE);
    request.tactile = tactile.map(|text| base64_picture(text, "tactile image")).transpose()?;
    request.warnings.extend(images.and_then(unused_cameras));
    request.robot_id = caller.robot_id;
    request.deadline = caller.deadline;
    Ok(request)
}

fn dictionary<'a>(obs: &'a Json, name: &str) -> Result<&'a Json, Problem> {
    match obs.get(name) {
        Some(value @ Json::Object(_)) => Ok(value),
        Some(other) => Err(Problem::dict_type(loc(["body", "obs", name]), echo(other))),
        None => Err(Problem::missing(loc(["body", "obs", name]), echo(obs))),
    }
}

fn unused_cameras(images: &Json) -> Option<Warning> {
    let Json::Object(entries) = images else { return None };
    let known = ["primary", "tactile"];
    let unused: Vec<&str> =
        entries.iter().map(|(role, _)| role.as_str()).filter(|role| !known.contains(role)).collect();
    let message = format!("cameras that this model does not look at: {}", unused.join(", "));
    (!unused.is_empty()).then(|| Warning::new("camera_ignored", message))
}
