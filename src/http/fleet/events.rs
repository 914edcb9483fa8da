//! `GET /v1/sessions/{id}/events`: the log of a session, as a list or as a websocket that goes on.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};
use utoipa::{IntoParams, ToSchema};

use super::body::{Asked, Named};
use super::event_json::Event;
use super::refusal::{Problem, Refusal};
use super::sessions::reach;
use super::state::FleetState;
use crate::fleet::FleetError;
use crate::fleet::access::Identity;
use crate::fleet::orchestrator::EventStream;
use crate::http::credential::WEBSOCKET_PROTOCOL;

/// A watcher that does not take a message within this time is dropped.
pub const SEND_TIME: Duration = Duration::from_secs(20);
/// A ping goes out after this much silence.
pub const PING_AFTER: Duration = Duration::from_secs(20);
/// A watcher silent for this long, pongs included, is dropped.
pub const SILENCE: Duration = Duration::from_secs(60);
/// Longest message of a watcher, in bytes: it has nothing to say.
pub const MAX_MESSAGE_BYTES: usize = 4 << 10;
/// How long a list waits for what is already in the log.
const LIST_TIME: Duration = Duration::from_secs(5);

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub struct From {
    /// Those after this sequence number; from the beginning of what is kept when 0.
    after: i64,
    /// At most so many in a list, 1 to 10000; 1000 when 0.
    limit: usize,
}

/// A part of a session's log.
#[derive(Debug, Serialize, ToSchema)]
pub struct Events {
    /// In order.
    events: Vec<Event>,
    /// Sequence number of the newest entry of the whole log.
    last_seq: i64,
}

/// A session's log
///
/// A plain request answers what is there after `after`. A websocket sends the same as one JSON text message an event,
/// then every new one as it is committed, and closes with 1000 when the session has ended and all is sent. A reader that
/// lost its connection comes back with `after` = the last `seq` it has.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/events", tag = "sessions", params(("id" = String, Path), From),
    responses(
        (status = 101, description = "Switched to a websocket"), (status = 200, body = Events),
        (status = 400, body = Problem), (status = 404, body = Problem), (status = 503, description = "Too many watchers", body = Problem)
    )
)]
pub async fn events(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
    Asked(from): Asked<From>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Refusal> {
    if from.after < 0 {
        let problem = format!("is {}, expected 0 or a sequence number", from.after);
        return Err(FleetError::invalid("after", problem).into());
    }
    let view = reach(&state, &identity, &id)?;
    let watch = state.orchestrator.watch(&id, from.after)?;
    let Ok(upgrade) = upgrade else {
        let events = list(watch, &from, view.row.last_seq).await?;
        return Ok(Json(Events { events, last_seq: view.row.last_seq }).into_response());
    };
    let Ok(place) = Arc::clone(&state.watcher_places).try_acquire_owned() else {
        return Err(Refusal::full("watches", state.options.max_watchers));
    };
    let upgrade = upgrade.max_message_size(MAX_MESSAGE_BYTES).protocols([WEBSOCKET_PROTOCOL]);
    Ok(upgrade.on_upgrade(async move |socket| {
        let _place = place;
        follow(socket, watch).await;
    }))
}

/// What is in the log already.
async fn list(mut watch: EventStream, from: &From, last_seq: i64) -> Result<Vec<Event>, Refusal> {
    let limit = if from.limit == 0 { 1000 } else { from.limit.min(10_000) };
    let mut events = Vec::new();
    let end = Instant::now() + LIST_TIME;
    let mut at = from.after;
    while at < last_seq && events.len() < limit {
        match tokio::time::timeout_at(end, watch.next()).await {
            Ok(Some(row)) => {
                let event = Event::from(&row?);
                at = event.seq;
                events.push(event);
            }
            Ok(None) | Err(_) => break,
        }
    }
    Ok(events)
}

/// Sends events until the log ends or the watcher goes.
async fn follow(mut socket: WebSocket, mut watch: EventStream) {
    let mut heard = Instant::now();
    loop {
        let message = tokio::select! {
            event = watch.next() => match event {
                Some(Ok(row)) => match serde_json::to_string(&Event::from(&row)) {
                    Ok(text) => Message::Text(text.into()),
                    Err(error) => close(close_code::ERROR, &error.to_string()),
                },
                Some(Err(error)) => close(close_code::ERROR, &error.to_string()),
                None => close(close_code::NORMAL, "the session has ended"),
            },
            said = socket.recv() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => {
                    heard = Instant::now();
                    continue;
                }
            },
            () = tokio::time::sleep(PING_AFTER) => {
                if heard.elapsed() > SILENCE {
                    return;
                }
                Message::Ping(bytes::Bytes::new())
            }
        };
        let last = matches!(message, Message::Close(_));
        let sent = timeout(SEND_TIME, socket.send(message)).await;
        if last || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

/// A closing message; its reason is cut to what a frame may hold.
pub fn close(code: u16, reason: &str) -> Message {
    let mut length = reason.len().min(120);
    while !reason.is_char_boundary(length) {
        length -= 1;
    }
    let reason = reason.get(..length).unwrap_or_default().into();
    Message::Close(Some(CloseFrame { code, reason }))
}
