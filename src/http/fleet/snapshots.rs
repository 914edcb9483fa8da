//! Saving and restoring a session.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Answer, Body, Named, answer};
use super::caller::own;
use super::refusal::{Problem, Refusal};
use super::session_json::Session;
use super::sessions::reach;
use super::state::FleetState;
use crate::fleet::FleetError;
use crate::fleet::access::Identity;
use crate::fleet::request::{RestoreSnapshot, SaveSnapshot};

/// What to save.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Save {
    /// A folder under the snapshot root; the usual one when empty.
    base_path: String,
    /// With the trainer's checkpoint.
    checkpoint: bool,
    /// Kept in the manifest.
    metadata: BTreeMap<String, String>,
}

impl Default for Save {
    fn default() -> Self {
        Self { base_path: String::new(), checkpoint: true, metadata: BTreeMap::new() }
    }
}

/// What to restore.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Restore {
    /// Which; the newest of the session when empty.
    snapshot_id: String,
    /// Its folder, instead of its id.
    path: String,
    /// The trainer's checkpoint too.
    checkpoint: bool,
}

impl Default for Restore {
    fn default() -> Self {
        Self { snapshot_id: String::new(), path: String::new(), checkpoint: true }
    }
}

/// A saved state.
#[derive(Debug, Serialize, ToSchema)]
pub struct Snapshot {
    /// Its UUID.
    id: String,
    /// Of which session.
    session_id: String,
    /// Unix ms.
    created_ms: i64,
    /// Folder with `manifest.json`.
    path: String,
    /// Of all files.
    size_bytes: u64,
}

/// Save a session
#[utoipa::path(
    post, path = "/v1/sessions/{id}/snapshot", tag = "sessions", params(("id" = String, Path)), request_body = Save,
    responses((status = 201, body = Snapshot), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub async fn save(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
    Body(body): Body<Save>,
) -> Result<(StatusCode, Json<Snapshot>), Refusal> {
    reach(&state, &identity, &id)?;
    let Save { base_path, checkpoint, metadata } = body;
    let request = SaveSnapshot { session: id, base_path, checkpoint, metadata };
    let row = state.orchestrator.save_snapshot(request).await?;
    let snapshot = Snapshot {
        id: row.id,
        session_id: row.session.to_string(),
        created_ms: row.created_ms,
        path: row.path,
        size_bytes: row.size_bytes,
    };
    Ok((StatusCode::CREATED, Json(snapshot)))
}

/// Go back to a saved state
///
/// A session that has ended is made again from the manifest.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/restore", tag = "sessions", params(("id" = String, Path)), request_body = Restore,
    responses((status = 200, body = Session), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub async fn restore(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
    Body(body): Body<Restore>,
) -> Answer<Session> {
    // One that is no longer known may be restored; one of somebody else's may not.
    match state.orchestrator.peek(&id) {
        Ok(view) => drop(own(&identity, view)?),
        Err(FleetError::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let Restore { snapshot_id, path, checkpoint } = body;
    let request = RestoreSnapshot { session: id, snapshot_id, path, checkpoint, caller: identity };
    answer(Session::from(&state.orchestrator.restore_snapshot(request).await?))
}
