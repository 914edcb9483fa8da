//! `POST /act`, the wire of OpenVLA's `deploy.py`: json-numpy without a Content-Type, optionally wrapped once more
//! as `{"encoded": "<json>"}`, and Tether's form, told apart by `image` being a base64 text.
//!
//! `unnorm_key` picks a set of statistics in OpenVLA. A model here has exactly one, and stock clients cannot leave
//! the key out (the WidowX one sends `bridge_orig` unless told otherwise), so a foreign key is answered with the
//! model's own statistics and a warning. The array has no room for it: it goes into the `x-neuro-warnings` header.

mod answer;
mod payload;

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body;
use super::caller::Caller;
use super::error::Failure;
use super::state::AppState;
use crate::policy::description::ModelDescription;
use crate::policy::request::Warning;
use crate::telemetry::metrics;
use payload::{Act, ActError};

/// Bodies above this many bytes are parsed on a blocking thread.
const PARSE_INLINE_BYTES: usize = 2 << 20;

/// `POST /act`.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(act))
}

/// One action, OpenVLA's way
///
/// `{"image": json-numpy array, "instruction": text, "unnorm_key": text or null}` gives a json-numpy array of seven
/// float64; wrapped as `{"encoded": "<json>"}` it gives that array as a JSON text. With `image` as a base64 image
/// file it is Tether's form and gives `{"actions": [[..]], ..}`. The Content-Type is not looked at.
#[utoipa::path(
    post,
    path = "/act",
    tag = "robots",
    request_body(content = serde_json::Value, description = "json-numpy observation", content_type = "application/json"),
    responses(
        (status = 200, description = "The action", body = serde_json::Value),
        (status = 400, description = "Unreadable image"),
        (status = 422, description = "Unreadable or incomplete body"),
        (status = 503, description = "Loading, overloaded or stopping")
    )
)]
async fn act(State(state): State<AppState>, request: Request) -> Response {
    let arrival = Instant::now();
    match answer(&state, request, arrival).await {
        Ok(response) => response,
        Err(failure) => answer::failure(failure),
    }
}

async fn answer(state: &AppState, request: Request, arrival: Instant) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let caller = Caller::read(&head.headers, None, None, arrival, &state.options).map_err(|problems| {
        let messages: Vec<_> = problems.iter().map(|problem| problem.msg.clone()).collect();
        Failure::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_header", messages.join("; "))
    })?;
    let body = body::read(body, &head.headers, &state.options).await?;
    let limits = state.service.limits();
    let parsed = if body.len() <= PARSE_INLINE_BYTES {
        payload::parse(&body, &limits)
    } else {
        let parsed = tokio::task::spawn_blocking(move || payload::parse(&body, &limits)).await;
        parsed.unwrap_or_else(|error| Err(ActError::Json(error.to_string())))
    };
    let Act { mut request, form, unnorm_key } = parsed.map_err(|error| {
        metrics::observe_request("act", error.code(), arrival.elapsed());
        Failure::new(error.status(), error.code(), error.to_string())
    })?;
    request.robot_id = request.robot_id.or(caller.robot_id);
    let latest = arrival.checked_add(state.options.max_deadline);
    request.deadline =
        request.deadline.map(|own| latest.map_or(own, |latest| own.min(latest))).or(caller.deadline);
    if let (Some(key), Some(model)) = (unnorm_key, state.service.model()) {
        request.warnings.extend(foreign_key(&key, &model));
    }
    let prediction = state.service.predict(request).await?;
    Ok(answer::action(&prediction, form))
}

fn foreign_key(key: &str, model: &ModelDescription) -> Option<Warning> {
    let known = [model.stats.id.as_str(), model.stats.sha256.as_str(), model.id.as_str()];
    let message = format!(
        "unnorm_key `{}` was not applied: this model has one statistics set, `{}`",
        key.chars().take(64).collect::<String>(),
        model.stats.id
    );
    (!known.contains(&key)).then(|| Warning::new("unnorm_key_ignored", message))
}

impl ActError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Image(_) => StatusCode::BAD_REQUEST,
            Self::Json(_) | Self::Field { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Image(_) => "invalid_image",
            Self::Json(_) | Self::Field { .. } => "invalid_body",
        }
    }
}
