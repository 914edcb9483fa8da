//! `/api/webrtc/signaling/frontend/{session}` and `.../isaac-sim/{session}`: the two ends of the signalling relay, each a
//! websocket with a control token of the session. An address without an end is the browser's, as the platform's is. A
//! simulator may also come with the key that instances attach with.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, Query, State};
use axum::http::{Extensions, HeaderMap};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::caller::key;
use super::control::{admit, own_page, peer, presented};
use super::refusal::Refusal;
use crate::fleet::access::Access;
use crate::fleet::control::Controls;
use crate::fleet::error::FleetError;
use crate::fleet::ids::SessionId;
use crate::fleet::signalling::{LONGEST_MESSAGE, Note, Peer, Side, Signalling};
use crate::http::credential::WEBSOCKET_PROTOCOL;

/// An end that does not take a message within this time is dropped.
const SEND_TIME: Duration = Duration::from_secs(10);
/// Between two looks at whether the session is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Between pings.
const PING_EVERY: Duration = Duration::from_secs(30);
/// An end that is silent for so long, pongs included, is gone.
const SILENCE: Duration = Duration::from_secs(75);
/// Refused messages that close a connection.
const MOST_REFUSED: u32 = 200;

#[derive(Clone)]
struct Relay {
    controls: Controls,
    signalling: Signalling,
    access: Arc<Access>,
}

/// What somebody comes with.
struct Shown<'a> {
    token: Option<&'a str>,
    peer: Option<IpAddr>,
    headers: &'a HeaderMap,
}

impl Relay {
    /// Lets somebody take an end. The simulator's is not for who only watches: neither for a viewer's token nor for a
    /// user's key.
    fn admit(&self, session: &SessionId, side: Side, shown: &Shown<'_>) -> Result<(), FleetError> {
        let refused = match admit(&self.controls, session, shown.token, shown.peer, shown.headers) {
            Ok(who) if side == Side::Browser || who.may_drive => return Ok(()),
            Ok(_) => {
                let message = "this token is for watching: it cannot take the simulator's place";
                return Err(FleetError::Denied(message.to_owned()));
            }
            Err(refused) => refused,
        };
        if side == Side::Browser {
            return Err(refused);
        }
        if self.access.is_open() {
            // A token of another session, or one that has run out, is not made good by where it comes from.
            let local = shown.peer.is_some_and(|peer| peer.is_loopback());
            let keyless = shown.token.is_none_or(|token| !token.contains('.'));
            return if local && keyless && own_page(shown.headers) { Ok(()) } else { Err(refused) };
        }
        let peer = shown.peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        match self.access.check(shown.token, peer) {
            Ok(known) => known.may_attach(),
            Err(_) => Err(refused),
        }
    }
}

/// Both ends, ready to be merged into any router.
pub fn routes<S: Clone + Send + Sync + 'static>(
    controls: Controls,
    signalling: Signalling,
    access: Arc<Access>,
) -> Router<S> {
    Router::new()
        .route("/api/webrtc/signaling/{session}", get(browser))
        .route("/api/webrtc/signaling/frontend/{session}", get(browser))
        .route("/api/webrtc/signaling/isaac-sim/{session}", get(simulator))
        .with_state(Relay { controls, signalling, access })
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    token: String,
}

async fn browser(
    upgrade: WebSocketUpgrade,
    State(relay): State<Relay>,
    Path(session): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    enter(upgrade, &relay, &session, Side::Browser, presented(asked.token, &headers), (&extensions, &headers))
}

async fn simulator(
    upgrade: WebSocketUpgrade,
    State(relay): State<Relay>,
    Path(session): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let shown = presented(asked.token, &headers).or_else(|| key(&headers));
    enter(upgrade, &relay, &session, Side::Simulator, shown, (&extensions, &headers))
}

fn enter(
    upgrade: WebSocketUpgrade,
    relay: &Relay,
    session: &str,
    side: Side,
    token: Option<String>,
    (extensions, headers): (&Extensions, &HeaderMap),
) -> Response {
    let join = || -> Result<(SessionId, Peer), FleetError> {
        let session: SessionId = session.parse()?;
        let shown = Shown { token: token.as_deref(), peer: peer(extensions), headers };
        relay.admit(&session, side, &shown)?;
        let peer = relay.signalling.join(&session, side)?;
        Ok((session, peer))
    };
    match join() {
        Err(error) => Refusal::from(error).into_response(),
        Ok((session, peer)) => {
            let upgrade = upgrade
                .max_message_size(LONGEST_MESSAGE)
                .max_frame_size(LONGEST_MESSAGE)
                .protocols([WEBSOCKET_PROTOCOL]);
            upgrade.on_upgrade(async move |socket| serve(socket, session, peer).await)
        }
    }
}

async fn serve(socket: WebSocket, session: SessionId, mut peer: Peer) {
    let (mut sender, mut receiver) = socket.split();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut heard_at, mut pinged_at, mut refused) = (Instant::now(), Instant::now(), 0);
    let close = |code: u16, reason: &'static str| {
        Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }))
    };
    loop {
        let reply = tokio::select! {
            incoming = receiver.next() => {
                heard_at = Instant::now();
                match incoming {
                    Some(Ok(Message::Text(text))) => match peer.say(text.as_str().to_owned()) {
                        Ok(()) => continue,
                        Err(error) => {
                            refused += 1;
                            let text = json!({
                                "type": "error", "sessionId": session.as_str(), "message": error.to_string(),
                            });
                            Message::Text(Utf8Bytes::from(text.to_string()))
                        }
                    },
                    Some(Ok(Message::Binary(_))) => close(close_code::UNSUPPORTED, "messages are JSON text"),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                }
            }
            note = peer.next() => match note {
                Some(Note::Text(text)) => Message::Text(Utf8Bytes::from(text)),
                Some(Note::Replaced) => close(close_code::POLICY, "another connection has taken this one's place"),
                None => return,
            },
            _ = look.tick() => {
                if !peer.alive() {
                    close(close_code::NORMAL, "the session is over")
                } else if heard_at.elapsed() > SILENCE {
                    return;
                } else if pinged_at.elapsed() > PING_EVERY {
                    pinged_at = Instant::now();
                    Message::Ping(bytes::Bytes::new())
                } else {
                    continue;
                }
            }
        };
        let last = matches!(reply, Message::Close(_));
        if !matches!(timeout(SEND_TIME, sender.send(reply)).await, Ok(Ok(()))) || last {
            return;
        }
        if refused > MOST_REFUSED {
            drop(timeout(SEND_TIME, sender.send(close(close_code::POLICY, "too many messages"))).await);
            return;
        }
    }
}
