//! `/control/{session}`: a person drives over a websocket. docs/WIRES.md describes its messages.
//!
//! The token comes as `?token=`, as the address that clients are given has it, or as the subprotocol `bearer.TOKEN` beside
//! `neuro.control`, for pages that keep tokens out of addresses.

mod driver;
mod message;

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{Extensions, HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

use super::refusal::Refusal;
use crate::fleet::control::{Controls, Who};
use crate::fleet::error::FleetError;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::http::credential::credential;

/// What a page is answered that offers its token as a subprotocol.
const PROTOCOL: &str = "neuro.control";
/// Longest message of a page, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// Who somebody without a token is, where none is needed.
const NOBODY: &str = "local";

/// The control websocket, ready to be merged into any router.
pub fn routes<S: Clone + Send + Sync + 'static>(controls: Controls) -> Router<S> {
    Router::new().route("/control/{session}", get(control)).with_state(controls)
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    token: String,
    #[serde(default)]
    instance: String,
    /// Watch only: never take control by being there.
    #[serde(default)]
    view: String,
}

async fn control(
    upgrade: WebSocketUpgrade,
    State(controls): State<Controls>,
    Path(session): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let enter = async {
        let session: SessionId = session.parse()?;
        let instance: Option<InstanceId> =
            if asked.instance.is_empty() { None } else { Some(asked.instance.parse()?) };
        let token = presented(asked.token, &headers);
        let who = admit(&controls, &session, token.as_deref(), peer(&extensions), &headers)?;
        let view = matches!(asked.view.as_str(), "1" | "true");
        controls.robot(&session, instance, if view { who.watching() } else { who }).await
    };
    match enter.await {
        Err(error) => Refusal::from(error).into_response(),
        Ok(stream) => {
            let per_s = controls.max_commands_per_s();
            let upgrade = upgrade
                .max_message_size(MAX_MESSAGE_BYTES)
                .max_frame_size(MAX_MESSAGE_BYTES)
                .protocols([PROTOCOL]);
            upgrade.on_upgrade(async move |socket| driver::serve(socket, stream, per_s).await)
        }
    }
}

/// The token of the query, or among the subprotocols that a browser offers.
#[must_use]
pub fn presented(query: String, headers: &HeaderMap) -> Option<String> {
    if !query.is_empty() {
        return Some(query);
    }
    credential(headers).and_then(|token| String::from_utf8(token.into_owned()).ok())
}

/// Who comes with this token; without one, somebody from this machine where that is allowed.
///
/// # Errors
/// `Unauthenticated` or `Denied`.
pub fn admit(
    controls: &Controls,
    session: &SessionId,
    token: Option<&str>,
    peer: Option<IpAddr>,
    headers: &HeaderMap,
) -> Result<Who, FleetError> {
    match token {
        Some(token) => controls.verify(token, session).map(|claims| Who::with_token(&claims, token)),
        None if controls.open_on_loopback()
            && peer.is_some_and(|peer| peer.is_loopback())
            && own_page(headers) =>
        {
            Ok(Who::named(NOBODY))
        }
        None => Err(FleetError::Unauthenticated("control token: it is missing: ?token=TOKEN".to_owned())),
    }
}

/// Whether the request is no page's, or of a page that this server gave out: a browser on this machine also shows
/// pages of others.
#[must_use]
pub fn own_page(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(header::ORIGIN) else { return true };
    let host = origin.split_once("://").map_or(origin, |(_, host)| host);
    text(header::HOST) == Some(host)
}

/// The address that a request came from, where the listener says.
#[must_use]
pub fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| address.ip())
}

#[cfg(test)]
mod tests;
