//! `POST /v1/sessions/{id}/control`: the switch between person and policy that `control_mode_switch_url` leads to.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::{Answer, Body, Named, answer};
use super::refusal::Problem;
use super::sessions::reach;
use super::state::FleetState;
use super::words;
use crate::fleet::access::Identity;
use crate::fleet::request::{ControlHandle, TakeControl};
use crate::fleet::{Fence, FleetError};
use crate::proto::neuro::ext::{self, Controller};

/// Longest lease that is asked for as a number; the configuration cuts it further.
const LONGEST_TTL_MS: u32 = 3_600_000;

/// Who is to drive.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Switch {
    /// `manual`: a person drives; with the fence of a lease, renews it. `ai`: the policy or the trainer drives again.
    mode: String,
    /// The person. `operator` when not given.
    user: String,
    /// One of the session's simulators; environment 0 when not given.
    instance_id: Option<String>,
    /// Of the lease to renew or to give back.
    fence: Option<u64>,
    /// The lease, in ms; the configured one when 0.
    ttl_ms: u32,
    /// Take it from another person, too.
    force: bool,
    /// Record a demonstration.
    record: bool,
    /// With `ai`: whether the policy goes on at once.
    resume_policy: bool,
}

impl Default for Switch {
    fn default() -> Self {
        Self {
            mode: String::new(),
            user: "operator".to_owned(),
            instance_id: None,
            fence: None,
            ttl_ms: 0,
            force: false,
            record: true,
            resume_policy: true,
        }
    }
}

/// Who drives now.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Lease {
    /// `policy`, `human` or `none`.
    holder: &'static str,
    /// Of the lease: every take-over raises it.
    fence: i64,
    /// When the lease ends, Unix ms; 0 for never.
    expires_at_ms: i64,
    /// Where the person drives.
    ws_url: String,
    /// The token of that websocket; its path and query say where it goes.
    token: String,
    /// With `ai`: the recorded demonstration; empty for none.
    demonstration_id: String,
}

/// Switch between person and policy
#[utoipa::path(
    post, path = "/v1/sessions/{id}/control", tag = "control", params(("id" = String, Path)), request_body = Switch,
    responses(
        (status = 200, body = Lease), (status = 400, body = Problem), (status = 404, body = Problem),
        (status = 409, description = "Somebody else drives, or the fence was overtaken", body = Problem)
    )
)]
pub async fn switch(
    State(state): State<FleetState>,
    Extension(identity): Extension<Identity>,
    Named(session): Named,
    Body(body): Body<Switch>,
) -> Answer<Lease> {
    if body.ttl_ms > LONGEST_TTL_MS {
        let problem = format!("is {}, expected 0 to {LONGEST_TTL_MS}", body.ttl_ms);
        return Err(FleetError::invalid("ttl_ms", problem).into());
    }
    let view = reach(&state, &identity, &session)?;
    let instance = body.instance_id.as_deref().map(str::parse).transpose()?;
    let ttl = Duration::from_millis(body.ttl_ms.into());
    let take = || {
        let user = body.user.clone();
        TakeControl { session: session.clone(), instance, user, ttl, force: body.force, record: body.record }
    };
    let handle = |fence| ControlHandle { session: session.clone(), instance, fence };
    match (body.mode.as_str(), body.fence) {
        ("manual", Some(fence)) => {
            answer(state.orchestrator.renew_control(handle(Fence(fence)), ttl).await?.into())
        }
        ("manual", None) => answer(state.orchestrator.take_control(take()).await?.into()),
        ("ai", fence) => {
            let fence = match fence {
                Some(fence) => Fence(fence),
                None if view.controller != Controller::Human => {
                    return answer(Lease { holder: words::controller(view.controller), ..Lease::default() });
                }
                // Who does not know the fence shows by the name that the lease is theirs.
                None => {
                    let lease = state.orchestrator.take_control(take()).await?;
                    Fence(u64::try_from(lease.fence).unwrap_or_default())
                }
            };
            let demonstration_id =
                state.orchestrator.release_control(handle(fence), body.resume_policy).await?;
            let holder = words::controller(state.orchestrator.session(&session)?.controller);
            answer(Lease { holder, demonstration_id, ..Lease::default() })
        }
        (other, _) => {
            let shown: String = other.chars().take(40).collect();
            Err(FleetError::invalid("mode", format!("{shown:?} is not one of manual, ai")).into())
        }
    }
}

impl From<ext::ControlLease> for Lease {
    fn from(lease: ext::ControlLease) -> Self {
        Self {
            holder: words::controller_number(lease.holder),
            fence: lease.fence,
            expires_at_ms: lease.expires_at_ms,
            ws_url: lease.ws_url,
            token: lease.token,
            demonstration_id: String::new(),
        }
    }
}
