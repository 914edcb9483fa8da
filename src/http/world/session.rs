//! Which session a request means: the one in its path, `/api/sessions/NAME/...`, or the default one.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use super::refusal::Refusal;
use crate::http::state::AppState;
use crate::playback::{DEFAULT_SESSION, Session};

/// The session a request means.
pub struct Chosen(pub Arc<Session>);

/// A parameter of the path, decoded.
pub struct Named(pub String);

impl FromRequestParts<AppState> for Chosen {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let params =
            RawPathParams::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        let name = params.iter().find(|(key, _)| *key == "session").map_or(DEFAULT_SESSION, |(_, name)| name);
        state.world.session(name).map(Self).map_err(|error| Refusal::from(error).into_response())
    }
}

impl FromRequestParts<AppState> for Named {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let params =
            RawPathParams::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        let name = params.iter().find(|(key, _)| *key == "id").map(|(_, name)| name.to_owned());
        Ok(Self(name.unwrap_or_default()))
    }
}
