//! Whether sessions can be made.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::state::FleetState;

/// How the whole fleet is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FleetHealth)]
pub struct Health {
    /// Whether sessions can be made.
    healthy: bool,
    /// Why not.
    reason: String,
    /// Sessions that have not ended.
    active_sessions: u32,
    /// Of this program.
    version: &'static str,
}

/// How the whole fleet is
#[utoipa::path(
    get, path = "/v1/health", tag = "fleet",
    responses((status = 200, body = Health), (status = 503, description = "Draining, or the store does not work", body = Health))
)]
pub async fn health(State(state): State<FleetState>) -> (StatusCode, Json<Health>) {
    let now = state.orchestrator.health();
    let status = if now.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = Health {
        healthy: now.healthy,
        reason: now.reason,
        active_sessions: now.active_sessions,
        version: env!("CARGO_PKG_VERSION"),
    };
    (status, Json(body))
}

/// The same, for probes: open to everybody
#[utoipa::path(
    get, path = "/health", tag = "fleet",
    responses((status = 200, body = Health), (status = 503, body = Health))
)]
pub async fn probe(state: State<FleetState>) -> (StatusCode, Json<Health>) {
    health(state).await
}
