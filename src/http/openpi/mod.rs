//! The openpi websocket, the wire most robot clients speak: metadata first, then one answer an observation.
//!
//! The stock client connects to `/`, where a browser gets a page: whoever owns `/` calls [`upgrade`]. `/openpi` is
//! the same wire under its own name.

pub mod observation;
pub mod reply;
pub mod session;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::HeaderMap;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::state::AppState;
pub use session::OpenpiOptions;

/// Header that names the robot, for clients whose observations cannot.
pub const ROBOT_ID_HEADER: &str = "x-robot-id";

/// `GET /openpi`.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(openpi))
}

/// The openpi websocket
///
/// Binary msgpack with numpy arrays, as `openpi-client` speaks it; also served on `/`. See docs/WIRES.md.
#[utoipa::path(
    get,
    path = "/openpi",
    tag = "robots",
    responses((status = 101, description = "Switched to a websocket"), (status = 426, description = "Not an upgrade request"))
)]
async fn openpi(ws: WebSocketUpgrade, State(state): State<AppState>, headers: HeaderMap) -> Response {
    upgrade(ws, state, &headers)
}

/// Accepts the websocket and serves it until it ends.
#[must_use]
pub fn upgrade(ws: WebSocketUpgrade, state: AppState, headers: &HeaderMap) -> Response {
    let options = state.options.openpi;
    let robot_id = headers.get(ROBOT_ID_HEADER).and_then(|id| id.to_str().ok()).map(str::to_owned);
    ws.max_message_size(options.max_message_bytes)
        .max_frame_size(options.max_message_bytes)
        .on_upgrade(move |socket| session::serve(socket, state.service, options, robot_id))
}
