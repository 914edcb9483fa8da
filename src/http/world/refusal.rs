//! The one place where a failure of the world becomes a status code.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::http::error::{Failure, Rejection, detail, with_retry_after};
use crate::http::validation::{BodyProblem, Problem, ValidationErrors};
use crate::playback::WorldError;

/// Why a playback request was not met, in FastAPI's `{detail}` shape.
#[derive(Debug)]
pub enum Refusal {
    /// Fields that are missing or wrong.
    Invalid(ValidationErrors),
    /// A status and a sentence.
    Said(StatusCode, String),
}

impl Refusal {
    /// A status and a sentence.
    #[must_use]
    pub fn said(status: StatusCode, sentence: impl Into<String>) -> Self {
        Self::Said(status, sentence.into())
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Invalid(problem.into())
    }
}

impl From<Vec<Problem>> for Refusal {
    fn from(detail: Vec<Problem>) -> Self {
        Self::Invalid(ValidationErrors { detail })
    }
}

impl From<BodyProblem> for Refusal {
    fn from(problem: BodyProblem) -> Self {
        match Rejection::from(problem) {
            Rejection::Invalid(errors) => Self::Invalid(errors),
            Rejection::Unreadable(sentence) => Self::Said(StatusCode::BAD_REQUEST, sentence),
            Rejection::Failed(failure) => failure.into(),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Said(failure.status, failure.message)
    }
}

impl From<WorldError> for Refusal {
    fn from(error: WorldError) -> Self {
        let status = match &error {
            WorldError::NotOnShelf(_) | WorldError::NoSession(_) => StatusCode::NOT_FOUND,
            WorldError::Unusable(_)
            | WorldError::NotLoaded
            | WorldError::SessionName(_)
            | WorldError::ForeignRenderer { .. }
            | WorldError::Invalid(_) => StatusCode::BAD_REQUEST,
            WorldError::SessionExists(_) => StatusCode::CONFLICT,
            WorldError::TooManySessions(_) => StatusCode::TOO_MANY_REQUESTS,
            WorldError::RendererAway(_) | WorldError::Ended => StatusCode::SERVICE_UNAVAILABLE,
            WorldError::Container(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::Said(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Invalid(errors) => errors.into_response(),
            Self::Said(status, sentence) => {
                let wait =
                    (status == StatusCode::SERVICE_UNAVAILABLE).then_some(std::time::Duration::from_secs(1));
                with_retry_after(detail(status, &sentence), wait)
            }
        }
    }
}
