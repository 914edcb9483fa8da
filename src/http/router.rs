//! Every route in one place.

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use super::state::AppState;
use super::{openpi, openvla};

/// The whole edge.
pub fn router(state: AppState) -> Router {
    let root = |ws: WebSocketUpgrade, State(state): State<AppState>, headers: HeaderMap| async move {
        openpi::upgrade(ws, state, &headers)
    };
    let (router, _api) =
        OpenApiRouter::new().merge(openpi::routes()).merge(openvla::routes()).split_for_parts();
    router.route("/", get(root)).with_state(state)
}
