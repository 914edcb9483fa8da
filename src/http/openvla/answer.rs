//! What a `/act` client gets, in the form it asked in.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::payload::Form;
use crate::http::error::{Failure, with_retry_after};
use crate::http::json_numpy;
use crate::policy::request::Prediction;

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

/// A request without an action. OpenVLA's own server answers the text `error` with status 200, which a client takes
/// for an action; a status that says what happened stops its `raise_for_status`.
pub(super) fn failure(failure: Failure) -> Response {
    let body = json!({ "success": false, "code": failure.code, "error": failure.message, "action": null });
    with_retry_after(json_response(failure.status, &body), failure.retry_after)
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    let json = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, json)], body.to_string()).into_response()
}
