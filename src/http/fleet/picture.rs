//! A session's picture, passed on from its simulator as it comes: nothing is kept here, and when the viewer goes, the
//! simulator's end goes too.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::{Asked, Named};
use super::refusal::{Problem, Refusal};
use super::sessions::reach;
use super::state::FleetState;
use crate::fleet::access::Identity;
use crate::fleet::rows::Endpoints;
use crate::fleet::{FleetError, SessionId};

/// Of which simulator.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub struct Which {
    /// The environment; 0 when not given.
    env: u32,
}

/// The newest picture
#[utoipa::path(
    get, path = "/v1/sessions/{id}/frame.jpg", tag = "pictures", params(("id" = String, Path), Which),
    responses((status = 200, description = "JPEG", content_type = "image/jpeg"), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem))
)]
pub async fn frame(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
    Asked(which): Asked<Which>,
) -> Result<Response, Refusal> {
    let endpoints = simulator(&state, &identity, &id, which.env)?;
    let base = offered(&endpoints.rest_url, "rest_url")?;
    let limit = state.options.instance_timeout;
    let url = format!("{base}/v1/sessions/{id}/frame.jpg");
    let late = |_| away(&state, &format!("no picture within {} ms", limit.as_millis()));
    tokio::time::timeout(limit, pass(&state, &url, None)).await.map_err(late)?
}

/// Pictures as they are made
///
/// `multipart/x-mixed-replace`, as a browser shows in an `img`.
#[utoipa::path(
    get, path = "/v1/sessions/{id}/stream", tag = "pictures", params(("id" = String, Path), Which),
    responses((status = 200, description = "MJPEG"), (status = 404, body = Problem), (status = 409, body = Problem), (status = 503, body = Problem))
)]
pub async fn stream_pictures(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
    Asked(which): Asked<Which>,
) -> Result<Response, Refusal> {
    let endpoints = simulator(&state, &identity, &id, which.env)?;
    let base = offered(&endpoints.stream_url, "stream_url")?;
    let Ok(place) = Arc::clone(&state.picture_places).try_acquire_owned() else {
        return Err(Refusal::full("pictures", state.options.max_pictures));
    };
    pass(&state, &format!("{base}/{id}"), Some(place)).await
}

fn simulator(
    state: &FleetState,
    identity: &Identity,
    id: &SessionId,
    env: u32,
) -> Result<Endpoints, FleetError> {
    let view = reach(state, identity, id)?;
    let of = |env_index| view.simulators.iter().find(|one| holds(one, id, env_index));
    // A list by environment: an instance that lost its holder in between keeps its place.
    let index = usize::try_from(env).unwrap_or(usize::MAX);
    match of(env).or_else(|| view.simulators.get(index)) {
        Some(found) => Ok(found.row.endpoints.clone()),
        None if view.simulators.is_empty() => {
            Err(FleetError::Precondition(format!("session {id} has no simulator now: there is no picture")))
        }
        None => {
            Err(FleetError::invalid("env", format!("is {env}, the session has {}", view.simulators.len())))
        }
    }
}

fn holds(one: &crate::fleet::view::InstanceView, id: &SessionId, env: u32) -> bool {
    one.row.holder.as_ref().is_some_and(|holder| holder.session == *id && holder.env_index == env)
}

fn offered<'a>(url: &'a str, what: &str) -> Result<&'a str, FleetError> {
    match url.trim_end_matches('/') {
        "" => Err(FleetError::Precondition(format!("the simulator offers no {what}: there is no picture"))),
        url => Ok(url),
    }
}

/// Fetches `url` from an instance and passes its body on, a chunk at a time.
async fn pass(
    state: &FleetState,
    url: &str,
    place: Option<tokio::sync::OwnedSemaphorePermit>,
) -> Result<Response, Refusal> {
    let asked = tokio::time::timeout(state.options.instance_timeout, state.instances.get(url).send());
    let limit = state.options.instance_timeout.as_millis();
    let answer = asked
        .await
        .map_err(|_| away(state, &format!("no answer within {limit} ms")))?
        .map_err(|error| away(state, &error.to_string()))?;
    if !answer.status().is_success() {
        return Err(away(state, &format!("it answered {}", answer.status())));
    }
    let plain = HeaderValue::from_static("image/jpeg");
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| HeaderValue::from_bytes(kind.as_bytes()).ok()).unwrap_or(plain);
    let chunks = stream::unfold((answer, place), |(mut answer, place)| async move {
        match answer.chunk().await {
            Ok(Some(chunk)) => Some((Ok(chunk), (answer, place))),
            Ok(None) => None,
            Err(error) => Some((Err(error), (answer, place))),
        }
    });
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

fn away(state: &FleetState, why: &str) -> Refusal {
    let message = format!("the simulator sends no picture: {why}");
    FleetError::Unavailable { message, retry_after: state.options.instance_timeout / 5 }.into()
}
