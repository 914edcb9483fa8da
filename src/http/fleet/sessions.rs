//! Sessions: list, make, look at, end.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Answer, Asked, Body, Named, answer};
use super::caller::own;
use super::refusal::{Problem, Refusal};
use super::request_json::Create;
use super::session_json::Session;
use super::state::FleetState;
use super::words;
use crate::fleet::access::{Identity, Role};
use crate::fleet::request::SessionFilter;
use crate::fleet::rows::Phase;
use crate::fleet::view::SessionView;
use crate::fleet::{FleetError, SessionId};

/// Which sessions.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Of this owner; all when not given.
    owner: String,
    /// In one of these phases, separated by commas; all when not given.
    phase: String,
    /// At most so many, 1 to 1000; 100 when not given.
    page_size: u32,
    /// From the last page.
    page_token: String,
}

/// One page of sessions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sessions {
    /// Newest first.
    sessions: Vec<Session>,
    /// Where the next page begins; empty on the last.
    next_page_token: String,
}

/// The instances that a session gave back.
#[derive(Debug, Serialize, ToSchema)]
pub struct Released {
    /// UUIDs; empty when it had ended before.
    pub released_instances: Vec<String>,
}

/// List sessions
#[utoipa::path(
    get, path = "/v1/sessions", tag = "sessions", params(Filter),
    responses((status = 200, body = Sessions), (status = 400, body = Problem), (status = 401, body = Problem))
)]
pub async fn list(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Asked(filter): Asked<Filter>,
) -> Answer<Sessions> {
    let phases = filter.phase.split(',').map(str::trim).filter(|word| !word.is_empty());
    let phases: Result<Vec<Phase>, FleetError> =
        phases.map(|word| words::read_phase("phase", word)).collect();
    let all = identity.role == Role::Admin;
    let page = state.orchestrator.sessions(SessionFilter {
        owner: if all { filter.owner } else { identity.acts_for(&filter.owner) },
        phases: phases?,
        page_size: filter.page_size,
        page_token: filter.page_token,
    })?;
    let seen = page.sessions.iter().filter(|view| identity.sees(&view.row.owner));
    let sessions = seen.map(Session::from).collect();
    answer(Sessions { sessions, next_page_token: page.next_page_token })
}

/// Make a session
///
/// An empty body makes a manual one with an id of its own. The same id and request again finds it; a training or hybrid
/// request with the id of a manual session upgrades that. 202 says that it is not ready yet: it waits in the queue or
/// its scene is being loaded; `GET /v1/sessions/{id}/events` tells when that changes.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "sessions", request_body = Create,
    responses(
        (status = 201, description = "Ready", body = Session),
        (status = 202, description = "On its way", body = Session),
        (status = 400, body = Problem), (status = 401, body = Problem), (status = 409, body = Problem),
        (status = 429, description = "Nothing free, or the quota is used up", body = Problem),
        (status = 503, description = "The fleet drains", body = Problem)
    )
)]
pub async fn create(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Body(body): Body<Create>,
) -> Result<Response, Refusal> {
    let request = body.into_request(&identity)?;
    let id = request.id.clone();
    let view = match state.orchestrator.create(request).await {
        Ok(view) => own(&identity, view)?,
        // It outlasted the wait: a caller that asked for none wants to see it as it is.
        Err(
            error @ (FleetError::Exhausted { .. } | FleetError::Deadline(_) | FleetError::Unavailable { .. }),
        ) => reach(&state, &identity, &id).ok().filter(on_its_way).ok_or(error)?,
        Err(error) => return Err(error.into()),
    };
    let status = if on_its_way(&view) { StatusCode::ACCEPTED } else { StatusCode::CREATED };
    let mut response = (status, Json(Session::from(&view))).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/sessions/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn on_its_way(view: &SessionView) -> bool {
    matches!(view.row.phase, Phase::Queued | Phase::Allocating | Phase::Starting | Phase::Recovering)
}

/// One session
#[utoipa::path(
    get, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = Session), (status = 401, body = Problem), (status = 404, body = Problem))
)]
pub async fn one(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
) -> Answer<Session> {
    answer(Session::from(&reach(&state, &identity, &id)?))
}

/// End a session
///
/// Its instances are free, its scene and scratch files are gone. Idempotent: one that has ended releases nothing.
#[utoipa::path(
    delete, path = "/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "Its id")),
    responses((status = 200, body = Released), (status = 401, body = Problem), (status = 404, body = Problem))
)]
pub async fn end(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
) -> Answer<Released> {
    reach(&state, &identity, &id)?;
    let released = state.orchestrator.stop(&id, true).await?;
    answer(Released { released_instances: released.iter().map(ToString::to_string).collect() })
}

/// A session that the caller may reach.
///
/// # Errors
/// `NotFound`, also where it is somebody else's.
pub fn reach(state: &FleetState, identity: &Identity, id: &SessionId) -> Result<SessionView, FleetError> {
    state.orchestrator.session_for(identity, id)
}
