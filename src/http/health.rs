//! `GET /health`: whether a request would be answered now. Inference runs elsewhere, so this never waits for one.

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

use super::error::with_retry_after;
use super::state::AppState;
use crate::policy::description::ModelDescription;
use crate::policy::service::ServiceState;

/// The state of the server.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `healthy`, `loading`, `failed` or `draining`.
    status: &'static str,
    /// Whether a model is loaded.
    model_loaded: bool,
    /// Whether the model runs on an NVIDIA card.
    cuda_available: bool,
    /// Memory the weights take there, `8.23 GB`, or `N/A`.
    gpu_memory: String,
    /// Whether a request would be answered: the same as status 200.
    ready: bool,
    /// `ready`, `loading`, `failed` or `draining`.
    state: &'static str,
    /// Why the model did not load.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Id of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// Requests in the house.
    waiting: usize,
}

/// Whether a request would be answered now.
#[utoipa::path(
    get, path = "/health", tag = "server",
    responses(
        (status = 200, description = "A warm model answers", body = Health),
        (status = 503, description = "Loading, failed or shutting down", body = Health),
    )
)]
pub async fn health(State(state): State<AppState>) -> Response {
    let model = state.service.model();
    let (status, name, error) = match state.service.state() {
        ServiceState::Ready => ("healthy", "ready", None),
        ServiceState::Loading => ("loading", "loading", None),
        ServiceState::Failed(reason) => ("failed", "failed", Some(reason)),
        ServiceState::Draining => ("draining", "draining", None),
    };
    let ready = name == "ready";
    let body = Health {
        status,
        model_loaded: model.is_some(),
        cuda_available: model.as_deref().is_some_and(on_gpu),
        gpu_memory: model.as_deref().filter(|model| on_gpu(model)).map_or("N/A".to_owned(), gigabytes),
        ready,
        state: name,
        error,
        model: model.as_ref().map(|model| model.id.clone()),
        waiting: state.service.waiting(),
    };
    if ready {
        return JsonBody(body).into_response();
    }
    let response = (StatusCode::SERVICE_UNAVAILABLE, JsonBody(body)).into_response();
    with_retry_after(response, Some(Duration::from_secs(1)))
}

fn on_gpu(model: &ModelDescription) -> bool {
    model.backend.device.starts_with("cuda")
}

#[allow(clippy::cast_precision_loss, reason = "shown with two decimals")]
fn gigabytes(model: &ModelDescription) -> String {
    format!("{:.2} GB", model.backend.weight_bytes as f64 / 1e9)
}
