//! `GET /metrics`: the series of `telemetry::series`, for Prometheus.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::AppState;
use crate::telemetry::metrics;

/// `GET /metrics`.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(page))
}

/// Prometheus metrics
///
/// Text format 0.0.4: requests, stages, queue, batches, cache, model and process.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "server",
    responses(
        (status = 200, description = "The series", body = String, content_type = "text/plain"),
        (status = 404, description = "This process does not collect metrics")
    )
)]
async fn page() -> Response {
    // Rendering walks every series; small, but not the async threads' work under a scrape storm.
    let text = tokio::task::spawn_blocking(metrics::render).await.ok().flatten();
    match text {
        Some(text) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE))], text).into_response()
        }
        None => {
            let body = serde_json::json!({ "detail": "this process does not collect metrics" });
            (StatusCode::NOT_FOUND, axum::Json(body)).into_response()
        }
    }
}
