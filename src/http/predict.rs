//! `POST /predict`: a multipart form with a picture, as the original's clients send it. The same path with a JSON
//! body is roboeval's wire, so the content type decides.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::answer::{Metadata, Notice, notices, stamped, widened};
use super::caller::Caller;
use super::error::{PredictFailure, Rejection, Shape};
use super::form::{Entry, Form};
use super::json::Json;
use super::state::{AppState, HttpOptions};
use super::validation::{Problem, Problems, ValidationErrors, is_json, loc};
use super::{body, coercion, roboeval};
use crate::policy::request::{Picture, PredictRequest, Prediction, Warning};

/// Name of this wire in metrics and recordings.
const WIRE: &str = "predict";

/// A form for `POST /predict`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of a form that is read part by part")]
pub struct PredictForm {
    /// Camera picture: JPEG, PNG, BMP, GIF, WEBP or TIFF, any size.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    image: String,
    /// What to do; empty means the model's default.
    #[schema(default = "What action should the robot take?")]
    instruction: Option<String>,
    /// Use a black tactile picture even when one is sent. Default: true unless `tactile` is sent.
    use_dummy_tactile: Option<bool>,
    /// Tactile picture, same formats.
    #[schema(format = Binary, content_media_type = "application/octet-stream")]
    tactile: Option<String>,
    /// A newer request of the same robot takes this one's place; also by header `x-robot-id`.
    robot_id: Option<String>,
    /// Milliseconds after arrival when the answer loses its use; also by header `x-deadline-ms`.
    deadline_ms: Option<f64>,
}

const FIELDS: &[&str] = &["image", "instruction", "use_dummy_tactile", "tactile", "robot_id", "deadline_ms"];

/// One action.
#[derive(Debug, Serialize, ToSchema)]
pub struct PredictAnswer {
    /// Always true.
    success: bool,
    /// dx dy dz in metres, droll dpitch dyaw in radians, gripper.
    action: [f64; 7],
    /// The same numbers by name.
    action_breakdown: Breakdown,
    /// What the action was made from.
    metadata: Metadata,
    /// What the reader should know.
    warnings: Vec<Notice>,
}

/// What `/predict` answers: to a form the first, to JSON the second.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "the schema of an endpoint with two wires")]
pub enum PredictAnswers {
    /// To a form.
    Form(PredictAnswer),
    /// To roboeval's JSON.
    Roboeval(roboeval::RoboevalAnswer),
}

/// An action by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Breakdown {
    translation: Translation,
    rotation: Rotation,
    gripper: Gripper,
}

/// A step of the end effector.
#[derive(Debug, Serialize, ToSchema)]
pub struct Translation {
    dx: f64,
    dy: f64,
    dz: f64,
    /// `meters`
    unit: &'static str,
}

/// A turn of the end effector.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rotation {
    droll: f64,
    dpitch: f64,
    dyaw: f64,
    /// `radians`
    unit: &'static str,
}

/// The gripper command.
#[derive(Debug, Serialize, ToSchema)]
pub struct Gripper {
    value: f64,
    /// What the numbers mean.
    range: &'static str,
}

impl Breakdown {
    fn of([dx, dy, dz, droll, dpitch, dyaw, value]: [f64; 7]) -> Self {
        Self {
            translation: Translation { dx, dy, dz, unit: "meters" },
            rotation: Rotation { droll, dpitch, dyaw, unit: "radians" },
            gripper: Gripper { value, range: "0 (open) to 1 (closed)" },
        }
    }
}

/// One action for one observation.
///
/// As a multipart form: the original server's contract. As JSON with an `obs` object: roboeval's, which is
/// answered with `actions`.
#[utoipa::path(
    post,
    path = "/predict",
    tag = "policy",
    params(
        ("x-robot-id" = Option<String>, Header, description = "A newer request of the same robot takes this one's place"),
        ("x-deadline-ms" = Option<f64>, Header, description = "Milliseconds after arrival when the answer loses its use"),
    ),
    request_body(content(
        (PredictForm = "multipart/form-data"),
        (roboeval::RoboevalRequest = "application/json"),
    )),
    responses(
        (status = 200, description = "The action", body = PredictAnswers, headers(
            ("x-queue-ms" = f64, description = "Milliseconds spent waiting for the model"),
            ("x-inference-ms" = f64, description = "Milliseconds in the network"),
            ("x-total-ms" = f64, description = "Milliseconds from complete request to answer"),
        )),
        (status = 400, description = "A picture that cannot be used, or a body that is no form", body = PredictFailure),
        (status = 408, description = "The body came too slowly", body = PredictFailure),
        (status = 409, description = "A newer request of the same robot took this one's place", body = PredictFailure),
        (status = 413, description = "The body is too long", body = PredictFailure),
        (status = 422, description = "Fields that are missing or wrong", body = ValidationErrors),
        (status = 429, description = "Overloaded; try again after `Retry-After` seconds", body = PredictFailure),
        (status = 500, description = "The network failed", body = PredictFailure),
        (status = 503, description = "Loading or shutting down; try again after `Retry-After` seconds", body = PredictFailure),
        (status = 504, description = "The deadline passed", body = PredictFailure),
    )
)]
pub async fn predict(State(state): State<AppState>, request: Request) -> Response {
    let arrival = Instant::now();
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if is_json(content_type) {
        return roboeval::predict(&state, parts.headers, body, arrival).await;
    }
    let request = async {
        let body = body::read(body, &parts.headers, &state.options).await?;
        let form = Form::read(&parts, body, FIELDS, &state.options).await?;
        typed(&form, &parts.headers, arrival, &state.options).map_err(Rejection::from)
    };
    let (request, used_dummy_tactile) = match request.await {
        Ok(request) => request,
        Err(rejection) => return rejection.refuse(WIRE, Shape::Predict, arrival),
    };
    match state.service.predict(request).await {
        Ok(prediction) => stamped(answer(&prediction, used_dummy_tactile), &prediction.timings),
        Err(error) => Rejection::from(error).answer(Shape::Predict),
    }
}

fn answer(prediction: &Prediction, used_dummy_tactile: bool) -> PredictAnswer {
    let action = widened(prediction);
    PredictAnswer {
        success: true,
        action,
        action_breakdown: Breakdown::of(action),
        metadata: Metadata::of(prediction, used_dummy_tactile),
        warnings: notices(prediction),
    }
}

/// The typed request, and `use_dummy_tactile` as it was understood.
fn typed(
    form: &Form,
    headers: &HeaderMap,
    arrival: Instant,
    options: &HttpOptions,
) -> Result<(PredictRequest, bool), Vec<Problem>> {
    let mut problems = Problems::default();
    let required =
        |file: Option<Bytes>| file.ok_or_else(|| Problem::missing(loc(["body", "image"]), Value::Null));
    let image = problems.keep(file(form, "image").and_then(required));
    let instruction = problems.keep(text(form, "instruction")).flatten();
    let dummy = problems.keep(boolean(form, "use_dummy_tactile")).flatten();
    let tactile = problems.keep(file(form, "tactile")).flatten().filter(|bytes| !bytes.is_empty());
    let robot_id = problems.keep(text(form, "robot_id")).flatten().map(Json::String);
    let deadline = problems.keep(text(form, "deadline_ms")).flatten().map(Json::String);
    let caller = Caller::read(headers, robot_id.as_ref(), deadline.as_ref(), arrival, options);
    let caller = problems.keep_all(caller).unwrap_or_default();
    let image = problems.settle(image)?;

    let used_dummy_tactile = dummy.unwrap_or(tactile.is_none());
    let mut request = PredictRequest::new(Picture::Encoded(image), instruction.unwrap_or_default(), WIRE);
    if tactile.is_none() && !used_dummy_tactile {
        let message = "use_dummy_tactile is false but no tactile image came; a black one was used";
        request.warnings.push(Warning::new("tactile_missing", message));
    }
    request.tactile = tactile.filter(|_| !used_dummy_tactile).map(Picture::Encoded);
    request.force_black_tactile = used_dummy_tactile;
    request.robot_id = caller.robot_id;
    request.deadline = caller.deadline;
    Ok((request, used_dummy_tactile))
}

fn file(form: &Form, name: &str) -> Result<Option<Bytes>, Problem> {
    match form.filled(name) {
        None => Ok(None),
        Some(Entry::File(bytes)) => Ok(Some(bytes.clone())),
        Some(Entry::Text(text)) => Err(Problem::not_a_file(loc(["body", name]), text)),
    }
}

fn text(form: &Form, name: &str) -> Result<Option<String>, Problem> {
    match form.filled(name) {
        None => Ok(None),
        Some(Entry::Text(text)) => Ok(Some(text.clone())),
        Some(Entry::File(_)) => Err(Problem::string_type(loc(["body", name]), Value::Null)),
    }
}

fn boolean(form: &Form, name: &str) -> Result<Option<bool>, Problem> {
    let not_text = |_| Problem::bool_type(loc(["body", name]), Value::Null);
    let Some(text) = text(form, name).map_err(not_text)? else { return Ok(None) };
    let problem = || Problem::bool_parsing(loc(["body", name]), Value::String(text.clone()));
    coercion::boolean(&text).map(Some).ok_or_else(problem)
}
