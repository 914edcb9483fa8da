//! Every route in one place.

use axum::Router;

use super::state::AppState;

/// The whole edge.
pub fn router(state: AppState) -> Router {
    Router::new().with_state(state)
}
