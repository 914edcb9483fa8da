//! Bodies read and answers written: errors as the contract's `Problem`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use crate::instance::contract::Problem;
use crate::simulator::SimulatorError;

/// An error with its status.
#[derive(Debug)]
pub struct Refusal(StatusCode, Problem);

impl Refusal {
    /// A value that makes no sense.
    pub fn invalid(detail: String) -> Self {
        SimulatorError::Invalid(detail).into()
    }
}

impl From<SimulatorError> for Refusal {
    fn from(error: SimulatorError) -> Self {
        let status = match &error {
            SimulatorError::Stale { .. } | SimulatorError::WrongPhase(_) => StatusCode::CONFLICT,
            SimulatorError::NotFound(_) => StatusCode::NOT_FOUND,
            SimulatorError::Invalid(_) | SimulatorError::File(_) => StatusCode::UNPROCESSABLE_ENTITY,
            SimulatorError::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let problem =
            Problem { detail: error.to_string(), code: error.code().to_owned(), fence: error.fence() };
        Self(status, problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

/// Reads a JSON body; an empty one is `{}`, whatever its content type.
pub fn read<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, Refusal> {
    let bytes = body.map_err(|error| Refusal::invalid(format!("the body cannot be read: {error}")))?;
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    let reader = &mut serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().to_string();
        Refusal::invalid(format!("{path}: {}", error.into_inner()))
    })
}

/// What no route answers.
pub async fn no_route(uri: Uri) -> Refusal {
    let detail = format!("there is nothing at {}", uri.path());
    let problem = Problem { detail, code: "not_found".to_owned(), fence: None };
    std::future::ready(Refusal(StatusCode::NOT_FOUND, problem)).await
}
