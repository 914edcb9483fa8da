//! The one place where a failure becomes a status code, and the shapes the wires answer failures in.

use std::time::{Duration, Instant};

use axum::Json as JsonBody;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::validation::{BodyProblem, Problem, ValidationErrors, loc};
use crate::policy::backend::BackendError;
use crate::policy::request::PredictError;
use crate::telemetry::metrics;

/// A request that got no action, ready to be worded for any wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure, for machines that know HTTP.
    pub status: StatusCode,
    /// What kind of failure, for machines that know this server; stable.
    pub code: &'static str,
    /// A sentence for a person.
    pub message: String,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that trying again will not cure.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }
}

impl From<PredictError> for Failure {
    fn from(error: PredictError) -> Self {
        let status = match &error {
            PredictError::Image(_) | PredictError::Tactile(_) => StatusCode::BAD_REQUEST,
            PredictError::Instruction(_) | PredictError::RobotId(_) => StatusCode::UNPROCESSABLE_ENTITY,
            PredictError::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
            PredictError::Loading | PredictError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            PredictError::Superseded(_) => StatusCode::CONFLICT,
            PredictError::DeadlineExceeded { .. } => StatusCode::GATEWAY_TIMEOUT,
            // Work is cancelled only when nobody waits for it, so nobody sees this; 499 is nginx's word for it.
            PredictError::Backend(BackendError::Cancelled) => {
                StatusCode::from_u16(499).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
            PredictError::Backend(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, code: error.code(), message: error.to_string(), retry_after: error.retry_after() }
    }
}

/// What a failure looks like on a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `POST /predict`, multipart: `{success, error, action, code}`.
    Predict,
    /// `POST /predict_isaac`: `{success, delta_pose, error, code}`.
    Isaac,
    /// roboeval: `{error, code}`.
    Roboeval,
}

impl Shape {
    fn body(self, failure: &Failure) -> Value {
        let (error, code) = (&failure.message, failure.code);
        match self {
            Self::Predict => json!({"success": false, "error": error, "action": null, "code": code}),
            Self::Isaac => json!({"success": false, "delta_pose": null, "error": error, "code": code}),
            Self::Roboeval => json!({"error": error, "code": code}),
        }
    }

    /// Where this wire keeps the instruction.
    fn instruction(self) -> Vec<super::validation::Step> {
        match self {
            Self::Predict => loc(["body", "instruction"]),
            Self::Isaac => loc(["body", "text_prompt"]),
            Self::Roboeval => loc(["body", "obs", "instruction"]),
        }
    }
}

/// Why a handler did not do what it was asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Rejection {
    /// The request is not well formed: 422 with a list of what is wrong.
    Invalid(ValidationErrors),
    /// The body is no form or no document at all: 400 with FastAPI's `{detail}`.
    Unreadable(String),
    /// Anything else.
    Failed(Failure),
}

impl From<ValidationErrors> for Rejection {
    fn from(errors: ValidationErrors) -> Self {
        Self::Invalid(errors)
    }
}

impl From<Vec<Problem>> for Rejection {
    fn from(detail: Vec<Problem>) -> Self {
        Self::Invalid(ValidationErrors { detail })
    }
}

impl From<BodyProblem> for Rejection {
    fn from(problem: BodyProblem) -> Self {
        match problem {
            BodyProblem::Invalid(errors) => Self::Invalid(errors),
            BodyProblem::Unreadable => Self::Unreadable("There was an error parsing the body".to_owned()),
        }
    }
}

impl From<Failure> for Rejection {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<PredictError> for Rejection {
    fn from(error: PredictError) -> Self {
        Self::Failed(error.into())
    }
}

impl Rejection {
    /// Stable name for metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_request",
            Self::Unreadable(_) => "unreadable_body",
            Self::Failed(failure) => failure.code,
        }
    }

    /// Counts a request that never reached the policy, and gives its answer.
    #[must_use]
    pub fn refuse(self, wire: &'static str, shape: Shape, arrival: Instant) -> Response {
        metrics::observe_request(wire, self.code(), arrival.elapsed());
        self.answer(shape)
    }

    /// The answer on one wire.
    #[must_use]
    pub fn answer(self, shape: Shape) -> Response {
        match self {
            Self::Invalid(errors) => errors.into_response(),
            Self::Unreadable(message) => detail(StatusCode::BAD_REQUEST, &message),
            Self::Failed(failure) if failure.status == StatusCode::UNPROCESSABLE_ENTITY => {
                let at = match failure.code {
                    "invalid_robot_id" => loc(["body", "robot_id"]),
                    _ => shape.instruction(),
                };
                ValidationErrors::from(Problem::value_error(at, &failure.message, Value::Null))
                    .into_response()
            }
            Self::Failed(failure) => {
                let body = JsonBody(shape.body(&failure));
                with_retry_after((failure.status, body).into_response(), failure.retry_after)
            }
        }
    }
}

/// FastAPI's shape for what goes wrong outside a handler.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Detail {
    /// What went wrong.
    pub detail: String,
}

/// An answer in FastAPI's `{detail}` shape.
#[must_use]
pub fn detail(status: StatusCode, message: &str) -> Response {
    (status, JsonBody(Detail { detail: message.to_owned() })).into_response()
}

/// Adds `Retry-After` in whole seconds, at least one, as HTTP wants it.
#[must_use]
pub fn with_retry_after(mut response: Response, retry_after: Option<Duration>) -> Response {
    if let Some(wait) = retry_after {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// `POST /predict` without an action.
#[derive(Debug, Serialize, ToSchema)]
pub struct PredictFailure {
    /// Always false.
    pub success: bool,
    /// What went wrong.
    pub error: String,
    /// Always null.
    #[schema(value_type = Option<Vec<f64>>)]
    pub action: (),
    /// Stable name of what went wrong: `invalid_image`, `overloaded`, `loading`, `deadline_exceeded`, ...
    pub code: String,
}

/// `POST /predict_isaac` without an action.
#[derive(Debug, Serialize, ToSchema)]
pub struct IsaacFailure {
    /// Always false.
    pub success: bool,
    /// Always null.
    #[schema(value_type = Option<Vec<f64>>)]
    pub delta_pose: (),
    /// What went wrong.
    pub error: String,
    /// Stable name of what went wrong.
    pub code: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_whole_seconds_and_never_zero() {
        let header = |millis| {
            let response =
                with_retry_after(StatusCode::OK.into_response(), Some(Duration::from_millis(millis)));
            response.headers().get(header::RETRY_AFTER).unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!([header(0), header(50), header(1000), header(1001)], ["1", "1", "1", "2"]);
    }

    #[test]
    fn every_failure_has_its_status() {
        let status = |error: PredictError| Failure::from(error).status.as_u16();
        assert_eq!(status(PredictError::Loading), 503);
        assert_eq!(status(PredictError::ShuttingDown), 503);
        assert_eq!(status(PredictError::Superseded("r".into())), 409);
        assert_eq!(status(PredictError::DeadlineExceeded { waited_ms: 5 }), 504);
        assert_eq!(status(PredictError::Overloaded { waiting: 1, retry_after: Duration::ZERO }), 429);
        assert_eq!(status(PredictError::Instruction("too long".into())), 422);
        assert_eq!(status(PredictError::Backend(BackendError::Cancelled)), 499);
        assert_eq!(status(PredictError::Backend(BackendError::Shape("3".into()))), 500);
    }
}
