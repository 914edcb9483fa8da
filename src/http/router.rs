//! Every route in one place.

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::middleware;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use super::state::AppState;
use super::{admin, auth, cors, metrics, openpi, openvla};

/// The whole edge.
pub fn router(state: AppState) -> Router {
    let root = |ws: WebSocketUpgrade, State(state): State<AppState>, headers: HeaderMap| async move {
        openpi::upgrade(ws, state, &headers)
    };
    let (router, _api) = OpenApiRouter::new()
        .merge(openpi::routes())
        .merge(openvla::routes())
        .merge(metrics::routes())
        .merge(admin::routes())
        .split_for_parts();
    let cors = cors::layer(&state.options.cors_origins);
    router
        .route("/", get(root))
        .layer(middleware::from_fn_with_state(state.clone(), auth::require_token))
        .layer(tower::util::option_layer(cors))
        .with_state(state)
}
