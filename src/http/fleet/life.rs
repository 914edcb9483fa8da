//! A session's life: start, pause, stop, another scene, preemption.

use axum::Extension;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Answer, Body, Named, answer};
use super::refusal::Problem;
use super::request_json::Change;
use super::session_json::Session;
use super::sessions::{Released, reach};
use super::state::FleetState;
use crate::fleet::FleetError;
use crate::fleet::access::Identity;

/// How time goes.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Start {
    /// Keep to the wall clock.
    real_time: bool,
    /// Simulated seconds a second, 0 to 1000; 0 is 1.
    time_scale: f64,
}

/// How it ends.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Stop {
    /// Drop the scene and scratch files too.
    cleanup: bool,
}

impl Default for Stop {
    fn default() -> Self {
        Self { cleanup: true }
    }
}

/// A body without keys.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Nothing {}

/// Where the added obstacles stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct Paths {
    /// One each, in order.
    prim_paths: Vec<String>,
}

/// Why it must give way.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Preempt {
    /// For the log.
    reason: String,
    /// Keep a checkpoint to go on from.
    save_checkpoint: bool,
}

impl Default for Preempt {
    fn default() -> Self {
        Self { reason: "asked for over REST".to_owned(), save_checkpoint: true }
    }
}

/// What a preempted session goes on from.
#[derive(Debug, Serialize, ToSchema)]
pub struct Preempted {
    /// Its snapshot; empty without one.
    snapshot_id: String,
}

/// Start or go on
#[utoipa::path(
    post, path = "/v1/sessions/{id}/start", tag = "sessions", params(("id" = String, Path)), request_body = Start,
    responses((status = 200, body = Session), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub async fn start(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
    Body(body): Body<Start>,
) -> Answer<Session> {
    if !(0.0..=1000.0).contains(&body.time_scale) {
        let problem = format!("is {}, expected 0 to 1000", body.time_scale);
        return Err(FleetError::invalid("time_scale", problem).into());
    }
    reach(&state, &identity, &id)?;
    state.orchestrator.start(&id, body.real_time, body.time_scale).await?;
    answer(Session::from(&state.orchestrator.session(&id)?))
}

/// Let time stand still
#[utoipa::path(
    post, path = "/v1/sessions/{id}/pause", tag = "sessions", params(("id" = String, Path)), request_body = Nothing,
    responses((status = 200, body = Session), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub async fn pause(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
    Body(Nothing {}): Body<Nothing>,
) -> Answer<Session> {
    reach(&state, &identity, &id)?;
    state.orchestrator.pause(&id).await?;
    answer(Session::from(&state.orchestrator.session(&id)?))
}

/// End a session
///
/// As `DELETE /v1/sessions/{id}`, with the choice to keep its files. Idempotent.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/stop", tag = "sessions", params(("id" = String, Path)), request_body = Stop,
    responses((status = 200, body = Released), (status = 404, body = Problem))
)]
pub async fn stop(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
    Body(body): Body<Stop>,
) -> Answer<Released> {
    reach(&state, &identity, &id)?;
    let released = state.orchestrator.stop(&id, body.cleanup).await?;
    answer(Released { released_instances: released.iter().map(ToString::to_string).collect() })
}

/// Change the scene
///
/// Every simulator of the session gets the change.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/scene", tag = "sessions", params(("id" = String, Path)), request_body = Change,
    responses((status = 200, body = Paths), (status = 400, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub async fn scene(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
    Body(body): Body<Change>,
) -> Answer<Paths> {
    reach(&state, &identity, &id)?;
    let prim_paths = state.orchestrator.update_scene(&id, body.into_request()?).await?;
    answer(Paths { prim_paths })
}

/// Take a session's instances away
///
/// A checkpoint is taken first, and the session goes back to the queue. One that a person drives is never preempted.
#[utoipa::path(
    post, path = "/v1/sessions/{id}/preempt", tag = "pools", params(("id" = String, Path)), request_body = Preempt,
    responses((status = 200, body = Preempted), (status = 403, body = Problem), (status = 404, body = Problem), (status = 409, body = Problem))
)]
pub async fn preempt(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(id): Named,
    Body(body): Body<Preempt>,
) -> Answer<Preempted> {
    identity.may_administer()?;
    let snapshot_id = state.orchestrator.preempt(&id, &body.reason, body.save_checkpoint).await?;
    answer(Preempted { snapshot_id })
}
