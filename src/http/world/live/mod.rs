//! `/api/live`: a session's pictures over one websocket.
//!
//! The viewer says which cameras it wants and acknowledges what it has shown; the server sends sets of pictures of one
//! instant each, never more than two ahead of the acknowledgements, and always of the newest instant: those in between
//! are left out, not queued. See docs/WIRES.md.

mod message;
mod viewer;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::http::StatusCode;
use axum::response::Response;

use super::session::Chosen;
use crate::http::auth::WEBSOCKET_PROTOCOL;
use crate::http::error;
use crate::http::state::AppState;

/// Longest message of a viewer, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// Pictures as they are drawn
///
/// A websocket; docs/WIRES.md describes its messages.
#[utoipa::path(
    get, path = "/live", tag = "playback",
    responses((status = 101, description = "Switched to a websocket"), (status = 400, description = "Not an upgrade request"), (status = 503, description = "Too many viewers"))
)]
pub async fn live(
    upgrade: WebSocketUpgrade,
    State(state): State<AppState>,
    Chosen(session): Chosen,
) -> Response {
    let Ok(place) = Arc::clone(&state.live_places).try_acquire_owned() else {
        let message = format!("{} viewers are connected, which is the limit", state.options.max_viewers);
        let response = error::detail(StatusCode::SERVICE_UNAVAILABLE, &message);
        return error::with_retry_after(response, Some(Duration::from_secs(1)));
    };
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).protocols([WEBSOCKET_PROTOCOL]);
    upgrade.on_upgrade(async move |socket| {
        let _place = place;
        viewer::serve(socket, session).await;
    })
}
