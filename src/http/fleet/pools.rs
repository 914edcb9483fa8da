//! Pools and who may use how much of them.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Answer, Body, answer};
use super::instance_json::Pool;
use super::refusal::Problem;
use super::state::FleetState;
use crate::fleet::FleetError;
use crate::fleet::access::Identity;
use crate::fleet::rows;

/// Longest owner name.
const LONGEST_OWNER: usize = 128;
/// Longest drain: a week.
const LONGEST_DRAIN: Duration = Duration::from_secs(604_800);

/// All pools.
#[derive(Debug, Serialize, ToSchema)]
pub struct Pools {
    /// As configured.
    pools: Vec<Pool>,
}

/// What is to be emptied.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// An instance; the whole fleet when not given, which then takes no new sessions.
    instance_id: Option<String>,
    /// How long sessions may stay, in seconds.
    deadline_s: f64,
    /// Also sessions that a person drives.
    force: bool,
}

impl Default for Drain {
    fn default() -> Self {
        Self { instance_id: None, deadline_s: 300.0, force: false }
    }
}

/// Who is still there.
#[derive(Debug, Serialize, ToSchema)]
pub struct Draining {
    /// Sessions that must end or move.
    sessions: Vec<String>,
}

/// What is used again.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Undrain {
    /// An instance; the whole fleet when not given.
    instance_id: Option<String>,
}

/// Limits of an owner; 0 is no limit.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Sessions at once.
    max_sessions: u32,
    /// Simulators at once.
    max_simulators: u32,
    /// Trainers' GPUs at once.
    max_training_gpus: u32,
    /// GPU hours in a calendar month (UTC).
    gpu_hours_per_month: f64,
    /// Share against other owners in the queue; 0 is 1.
    weight: u32,
}

/// Pools and their instances
#[utoipa::path(
    get, path = "/v1/pools", tag = "pools",
    responses((status = 200, body = Pools), (status = 401, body = Problem))
)]
pub async fn list(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
) -> Answer<Pools> {
    let mut pools: Vec<Pool> = state.orchestrator.pools().iter().map(Pool::from).collect();
    if identity.may_administer().is_err() {
        // Ids of sessions are known to their owners; who else runs here is nobody else's business.
        for instance in pools.iter_mut().flat_map(|pool| &mut pool.instances) {
            instance.session_id = None;
        }
    }
    answer(Pools { pools })
}

/// Take no new sessions
///
/// On one instance, or on the whole fleet. Training and hybrid sessions move by checkpoint, others may stay until the
/// deadline.
#[utoipa::path(
    post, path = "/v1/pools/drain", tag = "pools", request_body = Drain,
    responses((status = 200, body = Draining), (status = 400, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem))
)]
pub async fn drain(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Body(body): Body<Drain>,
) -> Answer<Draining> {
    identity.may_administer()?;
    let deadline =
        Duration::try_from_secs_f64(body.deadline_s).ok().filter(|deadline| *deadline <= LONGEST_DRAIN);
    let problem = || format!("is {}, expected 0 to {}", body.deadline_s, LONGEST_DRAIN.as_secs());
    let deadline = deadline.ok_or_else(|| FleetError::invalid("deadline_s", problem()))?;
    let instance = body.instance_id.as_deref().map(str::parse).transpose()?;
    let sessions = state.orchestrator.drain(instance, deadline, body.force).await?;
    answer(Draining { sessions: sessions.iter().map(ToString::to_string).collect() })
}

/// Take sessions again
#[utoipa::path(
    post, path = "/v1/pools/undrain", tag = "pools", request_body = Undrain,
    responses((status = 200, body = Pools), (status = 400, body = Problem), (status = 403, body = Problem), (status = 404, body = Problem))
)]
pub async fn undrain(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Body(body): Body<Undrain>,
) -> Answer<Pools> {
    identity.may_administer()?;
    let instance = body.instance_id.as_deref().map(str::parse).transpose()?;
    state.orchestrator.undrain(instance).await?;
    answer(Pools { pools: state.orchestrator.pools().iter().map(Pool::from).collect() })
}

/// Limit an owner
#[utoipa::path(
    put, path = "/v1/owners/{owner}/quota", tag = "pools",
    params(("owner" = String, Path, description = "1 to 128 characters")), request_body = Quota,
    responses((status = 200, description = "Set"), (status = 400, body = Problem), (status = 403, body = Problem))
)]
pub async fn quota(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Path(owner): Path<String>,
    Body(body): Body<Quota>,
) -> Answer<serde_json::Value> {
    identity.may_administer()?;
    if owner.is_empty() || owner.len() > LONGEST_OWNER {
        let problem = format!("has {} bytes, expected 1 to {LONGEST_OWNER}", owner.len());
        return Err(FleetError::invalid("owner", problem).into());
    }
    if !(body.gpu_hours_per_month.is_finite() && body.gpu_hours_per_month >= 0.0) {
        let problem = format!("is {}, expected 0 or more", body.gpu_hours_per_month);
        return Err(FleetError::invalid("gpu_hours_per_month", problem).into());
    }
    let Quota { max_sessions, max_simulators, max_training_gpus, gpu_hours_per_month, weight } = body;
    let weight = weight.max(1);
    let quota = rows::Quota { max_sessions, max_simulators, max_training_gpus, gpu_hours_per_month, weight };
    state.orchestrator.set_quota(&owner, quota).await?;
    answer(serde_json::json!({}))
}
