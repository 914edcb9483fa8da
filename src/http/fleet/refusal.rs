//! The one place where a failure of the fleet becomes a status code.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::fleet::FleetError;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// A sentence for a person.
    pub detail: String,
    /// Stable, for programs: `invalid`, `not_found`, `already_exists`, `precondition`, `stale_fence`, `exhausted`,
    /// `denied`, `unauthenticated`, `unavailable`, `deadline`, `internal`, `too_large`, `too_slow`, `cross_origin`.
    pub code: &'static str,
    /// When asking again makes sense, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<f64>,
    /// The field that holds what it may not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// A status and what was wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// What was wrong.
    pub problem: Problem,
}

impl Refusal {
    /// A refusal that names no field and that asking again does not cure.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let problem = Problem { detail: detail.into(), code, retry_after_s: None, field: None };
        Self { status, problem }
    }

    /// All places are taken; one may come free soon.
    #[must_use]
    pub fn full(what: &str, limit: usize) -> Self {
        let retry_after = Duration::from_secs(1);
        FleetError::Unavailable {
            message: format!("{limit} {what} are open, which is the limit"),
            retry_after,
        }
        .into()
    }
}

impl From<FleetError> for Refusal {
    fn from(error: FleetError) -> Self {
        let (status, code) = match &error {
            FleetError::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid"),
            FleetError::NotFound { .. } => (StatusCode::NOT_FOUND, "not_found"),
            FleetError::AlreadyExists(_) => (StatusCode::CONFLICT, "already_exists"),
            FleetError::Precondition(_) => (StatusCode::CONFLICT, "precondition"),
            FleetError::Stale { .. } => (StatusCode::CONFLICT, "stale_fence"),
            FleetError::Exhausted { .. } => (StatusCode::TOO_MANY_REQUESTS, "exhausted"),
            FleetError::Denied(_) => (StatusCode::FORBIDDEN, "denied"),
            FleetError::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            FleetError::Unavailable { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            FleetError::Deadline(_) => (StatusCode::GATEWAY_TIMEOUT, "deadline"),
            FleetError::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let mut refusal = Self::new(status, code, error.to_string());
        refusal.problem.retry_after_s = error.retry_after().map(|wait| wait.as_secs_f64());
        if let FleetError::Invalid { field, .. } = error {
            refusal.problem.field = Some(field);
        }
        refusal
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let seconds = self.problem.retry_after_s.map(f64::ceil);
        let mut response = (self.status, Json(self.problem)).into_response();
        if let Some(seconds) = seconds {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole and not negative"
            )]
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from((seconds as u64).max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"neuro\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Fence;

    #[test]
    fn every_kind_of_failure_has_its_status_and_code() {
        let wait = Duration::from_millis(1500);
        let stale = FleetError::Stale { what: "control".into(), given: Fence(1), current: Fence(2) };
        let exhausted = FleetError::Exhausted { message: "no simulator".into(), retry_after: wait };
        let cases = [
            (FleetError::invalid("mode", "is empty"), 400, "invalid"),
            (FleetError::not_found("session", "a"), 404, "not_found"),
            (FleetError::AlreadyExists("a".into()), 409, "already_exists"),
            (FleetError::Precondition("a".into()), 409, "precondition"),
            (stale, 409, "stale_fence"),
            (exhausted, 429, "exhausted"),
            (FleetError::Denied("a".into()), 403, "denied"),
            (FleetError::Unauthenticated("a".into()), 401, "unauthenticated"),
            (FleetError::Unavailable { message: "a".into(), retry_after: wait }, 503, "unavailable"),
            (FleetError::Deadline("a".into()), 504, "deadline"),
            (FleetError::internal("a"), 500, "internal"),
        ];
        for (error, status, code) in cases {
            let waits = error.retry_after().is_some();
            let refusal = Refusal::from(error);
            assert_eq!((refusal.status.as_u16(), refusal.problem.code), (status, code));
            let response = refusal.into_response();
            let header = response.headers().get(header::RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!(header, waits.then_some("2"), "{code}");
        }
        let named = Refusal::from(FleetError::invalid("mode", "is empty"));
        assert_eq!(named.problem.field.as_deref(), Some("mode"));
        assert_eq!(named.problem.detail, "mode is empty");
    }
}
