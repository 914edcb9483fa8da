//! Sessions: each a scenario with a clock of its own.

use axum::Json as JsonBody;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::body::Fields;
use super::refusal::Refusal;
use super::session::Chosen;
use crate::http::error::Detail;
use crate::http::state::AppState;
use crate::http::validation::ValidationErrors;

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionInfo {
    /// Its name.
    name: String,
    /// What is loaded.
    sequence_id: Option<String>,
    /// Live viewers.
    viewers: usize,
    /// Whether its clock runs.
    is_playing: bool,
}

/// All sessions.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionList {
    /// By name.
    sessions: Vec<SessionInfo>,
}

/// A new session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionCreated {
    /// Its name: what goes into `/api/sessions/NAME/...`.
    name: String,
}

/// What a new session is called.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the schema of a body that is read field by field")]
pub struct CreateSession {
    /// 1 to 64 letters, digits, - or _; a name of its own when not given.
    name: Option<String>,
}

/// All sessions
#[utoipa::path(get, path = "/sessions", tag = "playback", responses((status = 200, body = SessionList)))]
pub async fn list(State(state): State<AppState>) -> JsonBody<SessionList> {
    let sessions = state.world.sessions().into_iter().map(|session| SessionInfo {
        name: session.name,
        sequence_id: session.sequence_id,
        viewers: session.viewers,
        is_playing: session.is_playing,
    });
    JsonBody(SessionList { sessions: sessions.collect() })
}

/// Open a session
///
/// Every playback path exists under `/api/sessions/NAME` too; the plain ones mean the session `default`.
#[utoipa::path(
    post, path = "/sessions", tag = "playback", request_body = CreateSession,
    responses(
        (status = 201, body = SessionCreated),
        (status = 400, description = "Not a name", body = Detail),
        (status = 409, description = "The name is taken", body = Detail),
        (status = 422, body = ValidationErrors),
        (status = 429, description = "Too many sessions", body = Detail)
    )
)]
pub async fn create(
    State(state): State<AppState>,
    request: Request,
) -> Result<(StatusCode, JsonBody<SessionCreated>), Refusal> {
    let mut fields = Fields::read_optional(request, &state.options).await?;
    let name = fields.optional_text("name", true);
    fields.settle(Some(()))?;
    let session = state.world.create(name)?;
    Ok((StatusCode::CREATED, JsonBody(SessionCreated { name: session.name().to_owned() })))
}

/// Close a session
///
/// The default one is emptied and stays.
#[utoipa::path(
    delete, path = "/sessions/{session}", tag = "playback",
    params(("session" = String, Path, description = "Its name")),
    responses((status = 204, description = "Closed"), (status = 404, description = "No such session", body = Detail))
)]
pub async fn close(State(state): State<AppState>, Chosen(session): Chosen) -> Result<StatusCode, Refusal> {
    state.world.close(session.name())?;
    Ok(StatusCode::NO_CONTENT)
}
