//! `POST /predict_isaac`: JSON with a base64 picture, as the original's simulator scripts send it.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{Metadata, Notice, notices, stamped, widened};
use super::caller::Caller;
use super::error::{Failure, IsaacFailure, Rejection, Shape};
use super::fields::{base64_picture, text, text_or};
use super::json::Json;
use super::state::{AppState, HttpOptions};
use super::validation::{Problem, Problems, ValidationErrors, json_body, loc};
use super::{body, coercion};
use crate::policy::request::{PredictError, PredictRequest, Prediction, Warning};

/// Name of this wire in metrics and recordings.
const WIRE: &str = "predict_isaac";

/// An observation for `POST /predict_isaac`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of a body that is read field by field")]
pub struct IsaacRequest {
    /// Camera picture in base64 (a `data:` URI will do): JPEG, PNG, BMP, GIF, WEBP or TIFF, any size.
    #[schema(content_encoding = "base64")]
    image: String,
    /// Pose of the end effector: x y z in metres, quaternion x y z w. Checked; the network does not use it.
    #[schema(example = json!([0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 1.0]), min_items = 7, max_items = 7)]
    current_pose: Vec<f64>,
    /// What to do; empty means the model's default.
    #[schema(default = "What action should the robot take?")]
    text_prompt: Option<String>,
    /// Tactile picture in base64; black when absent.
    #[schema(content_encoding = "base64")]
    tactile: Option<String>,
    /// A newer request of the same robot takes this one's place; also by header `x-robot-id`.
    robot_id: Option<String>,
    /// Milliseconds after arrival when the answer loses its use; also by header `x-deadline-ms`.
    deadline_ms: Option<f64>,
}

/// One step of the end effector.
#[derive(Debug, Serialize, ToSchema)]
pub struct IsaacAnswer {
    /// Always true.
    success: bool,
    /// dx dy dz in metres, droll dpitch dyaw in radians.
    delta_pose: [f64; 6],
    /// Always null.
    #[schema(value_type = Option<String>)]
    error: (),
    /// Gripper command, 0 open to 1 closed.
    gripper: f64,
    /// What the action was made from.
    metadata: Metadata,
    /// What the reader should know.
    warnings: Vec<Notice>,
}

/// One step of the end effector for one observation.
#[utoipa::path(
    post,
    path = "/predict_isaac",
    tag = "policy",
    params(
        ("x-robot-id" = Option<String>, Header, description = "A newer request of the same robot takes this one's place"),
        ("x-deadline-ms" = Option<f64>, Header, description = "Milliseconds after arrival when the answer loses its use"),
    ),
    request_body = IsaacRequest,
    responses(
        (status = 200, description = "The step", body = IsaacAnswer, headers(
            ("x-queue-ms" = f64, description = "Milliseconds spent waiting for the model"),
            ("x-inference-ms" = f64, description = "Milliseconds in the network"),
            ("x-total-ms" = f64, description = "Milliseconds from complete request to answer"),
        )),
        (status = 400, description = "Bad base64, a picture that cannot be used, or a body that is no text", body = IsaacFailure),
        (status = 408, description = "The body came too slowly", body = IsaacFailure),
        (status = 409, description = "A newer request of the same robot took this one's place", body = IsaacFailure),
        (status = 413, description = "The body is too long", body = IsaacFailure),
        (status = 422, description = "Fields that are missing or wrong", body = ValidationErrors),
        (status = 429, description = "Overloaded; try again after `Retry-After` seconds", body = IsaacFailure),
        (status = 500, description = "The network failed", body = IsaacFailure),
        (status = 503, description = "Loading or shutting down; try again after `Retry-After` seconds", body = IsaacFailure),
        (status = 504, description = "The deadline passed", body = IsaacFailure),
    )
)]
pub async fn predict_isaac(State(state): State<AppState>, request: Request) -> Response {
    let arrival = Instant::now();
    let (parts, body) = request.into_parts();
    let request = async {
        let body = body::read(body, &parts.headers, &state.options).await?;
        let options = Arc::clone(&state.options);
        body::parsed(body.len(), move || typed(&body, &parts.headers, arrival, &options)).await
    };
    let request = match request.await {
        Ok(request) => request,
        Err(rejection) => return rejection.refuse(WIRE, Shape::Isaac, arrival),
    };
    match state.service.predict(request).await {
        Ok(prediction) => stamped(answer(&prediction), &prediction.timings),
        Err(error) => Rejection::Failed(worded(error)).answer(Shape::Isaac),
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
    let observation = Observation::read(&document, headers, arrival, options)?;
    let image = base64_picture(observation.image, "image")?;
    let mut request = PredictRequest::new(image, observation.text_prompt.to_owned(), WIRE);
    let tactile = observation.tactile.filter(|text| !text.is_empty());
    request.tactile = tactile.map(|text| base64_picture(text, "tactile image")).transpose()?;
    request.warnings.extend(pose_warning(&observation.current_pose));
    request.robot_id = observation.caller.robot_id;
    request.deadline = observation.caller.deadline;
    Ok(request)
}

/// The fields, checked for type and shape.
struct Observation<'a> {
    image: &'a str,
    current_pose: [f64; coercion::POSE_LEN],
    text_prompt: &'a str,
    tactile: Option<&'a str>,
    caller: Caller,
}

impl<'a> Observation<'a> {
    fn read(
        document: &'a Json,
        headers: &HeaderMap,
        arrival: Instant,
        options: &HttpOptions,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let image = problems.keep(text(document, &["image"], document));
        let pose = document.get("current_pose");
        let missing =
            || vec![Problem::missing(loc(["body", "current_pose"]), super::validation::echo(document))];
        let pose = pose.ok_or_else(missing).and_then(|pose| coercion::pose(pose, "current_pose"));
        let current_pose = problems.keep_all(pose);
        let text_prompt = problems.keep(text_or(document, "text_prompt", Some("")));
        let tactile = problems.keep(text_or(document, "tactile", None));
        let caller =
            Caller::read(headers, document.get("robot_id"), document.get("deadline_ms"), arrival, options);
        let caller = problems.keep_all(caller);
        let observation = || {
            Some(Self {
                image: image?,
                current_pose: current_pose?,
                text_prompt: text_prompt?.unwrap_or_default(),
                tactile: tactile?,
                caller: caller?,
            })
        };
        problems.settle(observation())
    }
}

fn pose_warning(pose: &[f64; coercion::POSE_LEN]) -> Option<Warning> {
    let length = coercion::quaternion_off_unit(pose)?;
    let message = format!("the quaternion of current_pose has length {length:.4}, expected 1");
    Some(Warning::new("pose_not_unit", message))
}

/// A picture that cannot be decoded is reported as the original reports it, with the field it came in.
fn worded(error: PredictError) -> Failure {
    let field = match &error {
        PredictError::Image(reason) => Some(("image", reason.to_string())),
        PredictError::Tactile(reason) => Some(("tactile image", reason.to_string())),
        _ => None,
    };
    let mut failure = Failure::from(error);
    if let Some((field, reason)) = field {
        failure.message = format!("Invalid base64 {field}: {reason}");
    }
    failure
}

fn answer(prediction: &Prediction) -> IsaacAnswer {
    let [dx, dy, dz, droll, dpitch, dyaw, gripper] = widened(prediction);
    IsaacAnswer {
        success: true,
        delta_pose: [dx, dy, dz, droll, dpitch, dyaw],
        error: (),
        gripper,
        metadata: Metadata::of(prediction, prediction.used_dummy_tactile),
        warnings: notices(prediction),
    }
}
