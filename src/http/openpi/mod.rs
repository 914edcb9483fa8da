//! The openpi websocket, the wire most robot clients speak: metadata first, then one answer an observation.
//!
//! The stock client connects to `/`, where a browser gets a page: whoever owns `/` calls [`upgrade`]. `/openpi` is
//! the same wire under its own name.

pub mod observation;
pub mod reply;
pub mod session;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::ROBOT_ID_HEADER;
use super::error;
use super::state::AppState;
use crate::policy::service::ServiceState;
pub use session::OpenpiOptions;

/// `GET /openpi` and `GET /healthz`.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(openpi)).routes(routes!(healthz))
}

/// openpi's health check
///
/// Only whether an observation would be answered now; `/health` says more.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "server",
    responses(
        (status = 200, description = "OK", body = String, content_type = "text/plain"),
        (status = 503, description = "Loading, failed or stopping", body = String, content_type = "text/plain")
    )
)]
async fn healthz(State(state): State<AppState>) -> (StatusCode, &'static str) {
    match state.service.state() {
        ServiceState::Ready => (StatusCode::OK, "OK\n"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

/// The openpi websocket
///
/// Binary msgpack with numpy arrays, as `openpi-client` speaks it; also served on `/`. See docs/WIRES.md.
#[utoipa::path(
    get,
    path = "/openpi",
    tag = "robots",
    responses((status = 101, description = "Switched to a websocket"), (status = 400, description = "Not an upgrade request"), (status = 503, description = "Too many connections"))
)]
async fn openpi(ws: WebSocketUpgrade, State(state): State<AppState>, headers: HeaderMap) -> Response {
    upgrade(ws, state, &headers)
}

/// Accepts the websocket and serves it until it ends.
#[must_use]
pub fn upgrade(ws: WebSocketUpgrade, state: AppState, headers: &HeaderMap) -> Response {
    let options = state.options.openpi;
    let Ok(place) = Arc::clone(&state.openpi_places).try_acquire_owned() else {
        let message = format!("{} openpi connections are open, which is the limit", options.max_connections);
        let response = error::detail(StatusCode::SERVICE_UNAVAILABLE, &message);
        return error::with_retry_after(response, Some(Duration::from_secs(1)));
    };
    let robot_id = headers.get(ROBOT_ID_HEADER).and_then(|id| id.to_str().ok()).map(str::to_owned);
    ws.max_message_size(options.max_message_bytes).max_frame_size(options.max_message_bytes).on_upgrade(
        async move |socket| {
            let _place = place;
            session::serve(socket, state.service, options, robot_id).await;
        },
    )
}
