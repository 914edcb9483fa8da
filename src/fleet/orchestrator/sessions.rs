//! What is asked of a session that is there.

use std::time::Duration;

use super::Orchestrator;
use crate::fleet::error::FleetError;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::ledger::{Command, Outcome};
use crate::fleet::leftovers;
use crate::fleet::link::Ask;
use crate::fleet::request::SceneChange;
use crate::fleet::rows::{Phase, Quota, Role, ended};
use crate::fleet::session::live::Live;
use crate::fleet::session::look::settled;
use crate::fleet::session::wish::Wish;
use crate::fleet::validate;
use crate::proto::neuro::ext;

/// How long a call waits for a session's driver, which may be loading a scene.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// How long a trainer may take to keep what it has before its session ends.
const LAST_CHECKPOINT: Duration = Duration::from_secs(5);

impl Orchestrator {
    /// What is in memory of a session that is there. Somebody cares about it.
    pub(super) fn live(&self, session: &SessionId) -> Result<std::sync::Arc<Live>, FleetError> {
        let live = self.house().live(session).ok_or_else(|| FleetError::not_found("session", session))?;
        live.touch();
        Ok(live)
    }

    /// Starts or resumes; `time_scale` 0 is 1.
    ///
    /// # Errors
    /// `Invalid` names the field; `Precondition` before the scene is loaded and after the session ended.
    pub async fn start(
        &self,
        session: &SessionId,
        real_time: bool,
        time_scale: f64,
    ) -> Result<(), FleetError> {
        let time_scale = validate::time_scale(time_scale)?;
        self.live(session)?.ask(CALL_LIMIT, |reply| Wish::Start { real_time, time_scale, reply }).await
    }

    /// Time stands still.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn pause(&self, session: &SessionId) -> Result<(), FleetError> {
        self.live(session)?.ask(CALL_LIMIT, Wish::Pause).await
    }

    /// Paths of the added obstacles. Every simulator of the session gets the change.
    ///
    /// # Errors
    /// `Invalid` names the field; else what environment 0 answers.
    pub async fn update_scene(
        &self,
        session: &SessionId,
        change: SceneChange,
    ) -> Result<Vec<String>, FleetError> {
        let change = validate::scene::change(&change)?;
        self.live(session)?.ask(CALL_LIMIT, |reply| Wish::Update(change, reply)).await
    }

    /// Ends it. Without `cleanup` a trainer is asked for a last checkpoint first; with it, checkpoints that no end of
    /// training names are removed. Idempotent: an ended one releases nothing. What was begun is finished even if the
    /// caller goes away.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn stop(&self, session: &SessionId, cleanup: bool) -> Result<Vec<InstanceId>, FleetError> {
        let row = self.books().read(|tables| tables.sessions.get(session).cloned());
        let row = row.ok_or_else(|| FleetError::not_found("session", session))?;
        let (this, session) = (self.clone(), session.clone());
        if ended(row.phase) {
            if cleanup {
                this.clean_up(&session).await;
            }
            return Ok(Vec::new());
        }
        let stopping = tokio::spawn(async move {
            let members = this.books().read(|tables| tables.members(&session));
            if !cleanup && row.mode.trains() && settled(row.phase) {
                this.last_checkpoint(&session).await;
            }
            let freed = this.close(&session, Phase::Stopped, "stopped on request".to_owned()).await;
            if cleanup && freed.is_ok() {
                this.clean_up(&session).await;
                // What its trainer wrote before it heard of the end.
                tokio::spawn(async move {
                    tokio::time::sleep(LAST_CHECKPOINT).await;
                    this.clean_up(&session).await;
                });
            }
            // A trainer that ended in answer to the order may have closed the session first: these are free all the same.
            freed.map(|freed| match freed.is_empty() {
                true => members.into_iter().map(|member| member.instance).collect(),
                false => freed,
            })
        });
        stopping.await.map_err(FleetError::internal)?
    }

    /// Removes checkpoints of a session that has ended. Those of a training that came to an end are its result, which
    /// was told: they stay until the session is forgotten.
    async fn clean_up(&self, session: &SessionId) {
        let over =
            self.books().read(|tables| tables.sessions.get(session).is_some_and(|row| ended(row.phase)));
        let live = self.house().live(session).filter(|_| over);
        if live.is_some_and(|live| live.memo(|memo| memo.training_end.is_none())) {
            self.remove_checkpoints(session).await;
        }
    }

    /// Removes everything that trainers of a session kept, except what is in snapshots.
    pub(super) async fn remove_checkpoints(&self, session: &SessionId) {
        let folder = self.house().checkpoints.join(session.as_str());
        let removed = tokio::task::spawn_blocking(move || leftovers::remove(&folder)).await;
        if let Err(error) = removed {
            tracing::warn!(%session, %error, "its checkpoints were not removed");
        }
    }

    /// Ends a session; the instances that this freed.
    pub(super) async fn close(
        &self,
        session: &SessionId,
        to: Phase,
        reason: String,
    ) -> Result<Vec<InstanceId>, FleetError> {
        let close = Command::Close { session: session.clone(), to, reason, requeue_from: None };
        Ok(match self.books().apply(close).await? {
            Outcome::Released(freed) => freed.into_iter().map(|(instance, _)| instance).collect(),
            _ => Vec::new(),
        })
    }

    /// Asks a trainer to keep what it has before its session ends.
    pub(super) async fn last_checkpoint(&self, session: &SessionId) {
        let stopping = Command::Advance {
            session: session.clone(),
            from: Vec::new(),
            to: Phase::Stopping,
            reason: "keeping what was learned".to_owned(),
        };
        if self.books().apply(stopping).await.is_err() {
            return;
        }
        let members = self.books().read(|tables| tables.members(session));
        if let Some(trainer) = members.iter().find(|member| member.role == Role::Trainer) {
            let stop = Ask::Stop(ext::Stop { cleanup: false, grace_ms: 2000 });
            let asked = self.links().order(trainer.instance, trainer.fence, stop, LAST_CHECKPOINT).await;
            if let Err(error) = asked {
                tracing::debug!(%session, %error, "the trainer kept nothing more");
            }
        }
    }

    /// Asks the trainer to stop and to keep what it has; the session ends. The checkpoint's URI; empty without one.
    ///
    /// # Errors
    /// `NotFound`, `Precondition` when it trains nothing, what the trainer answers.
    pub async fn stop_training(&self, session: &SessionId, save: bool) -> Result<String, FleetError> {
        let live = self.live(session)?;
        let phase = self.books().read(|tables| tables.sessions.get(session).map(|row| row.phase));
        if phase.is_some_and(ended) {
            let kept = live.memo(|memo| memo.training_end.as_ref().map(|end| end.checkpoint_uri.clone()));
            return Ok(kept.unwrap_or_default());
        }
        live.ask(Duration::from_secs(90), |reply| Wish::StopTraining { save, reply }).await
    }

    /// The limits of an owner, from now on and after a restart.
    ///
    /// # Errors
    /// `Invalid` names the field.
    pub async fn set_quota(&self, owner: &str, quota: Quota) -> Result<(), FleetError> {
        let owner = validate::options::owner(owner)?;
        if quota.weight > 1_000_000 {
            let problem = format!("is {}; expected at most 1000000", quota.weight);
            return Err(FleetError::invalid("weight", problem));
        }
        let quota = Quota { weight: quota.weight.max(1), ..quota };
        self.books().apply(Command::SetQuota { owner, quota }).await.map(|_| ())
    }
}
