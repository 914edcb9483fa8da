//! What a `/act` client gets, in the form it asked in.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::payload::Form;
use crate::http::json_numpy;
use crate::policy::request::{PredictError, Prediction};

const MODEL: HeaderName = HeaderName::from_static("x-neuro-model");
const STATS: HeaderName = HeaderName::from_static("x-neuro-stats");
const WARNINGS: HeaderName = HeaderName::from_static("x-neuro-warnings");

/// The action, with the model, its statistics and the warnings in headers.
pub(super) fn action(prediction: &Prediction, form: Form) -> Response {
    let array = || json_numpy::encode_f64(&prediction.action.map(f64::from));
    let body = match form {
        Form::Array => array(),
        Form::Encoded => Value::String(array().to_string()),
        Form::Object => json!({
            "actions": [prediction.action],
            "num_actions": 1,
            "action_dim": prediction.action.len(),
            "latency_ms": prediction.timings.total.as_secs_f64() * 1e3,
            "model": prediction.model.id,
            "stats": { "id": prediction.model.stats.id, "sha256": prediction.model.stats.sha256 },
            "warnings": prediction.warnings,
        }),
    };
    let mut response = json_response(StatusCode::OK, &body);
    let warnings: Vec<String> =
        prediction.warnings.iter().map(|warning| format!("{}: {}", warning.code, warning.message)).collect();
    let stats = &prediction.model.stats;
    for (name, text) in [
        (MODEL, prediction.model.id.clone()),
        (STATS, format!("{} {}", stats.id, stats.sha256)),
        (WARNINGS, warnings.join("; ")),
    ] {
        let printable: String = text.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).collect();
        if let (false, Ok(value)) = (printable.is_empty(), HeaderValue::from_str(&printable)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A request the policy did not answer.
pub(super) fn refused(why: &PredictError) -> Response {
    let status = match why {
        PredictError::Image(_) | PredictError::Tactile(_) => StatusCode::BAD_REQUEST,
        PredictError::Instruction(_) | PredictError::RobotId(_) => StatusCode::UNPROCESSABLE_ENTITY,
        PredictError::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
        PredictError::Superseded(_) => StatusCode::CONFLICT,
        PredictError::DeadlineExceeded { .. } => StatusCode::GATEWAY_TIMEOUT,
        PredictError::Loading | PredictError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        PredictError::Backend(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let seconds = why.retry_after().map(|wait| wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
    error(status, why.code(), &why.to_string(), seconds)
}

/// An error with a stable code.
pub(super) fn error(status: StatusCode, code: &str, message: &str, retry_after_s: Option<u64>) -> Response {
    let body = json!({ "success": false, "code": code, "error": message, "action": null });
    let mut response = json_response(status, &body);
    if let Some(seconds) = retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body.to_string()).into_response()
}
