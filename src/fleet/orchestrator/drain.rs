//! Draining and preemption: sessions move or stop, with what they have learned. Never one that a person drives.

use std::time::Duration;

use super::Orchestrator;
use super::keeper::Busy;
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::ledger::Command;
use crate::fleet::link::Ask;
use crate::fleet::rows::{InstanceRow, Phase, Role, SessionRow, ended};
use crate::fleet::session::look::{human_drives, settled};
use crate::fleet::spec::Mode;
use crate::proto::neuro::ext;

/// A command so long ago is still a person driving.
const DRIVING: Duration = Duration::from_secs(60);
/// How long a trainer may take to write a checkpoint before it is moved.
const MOVING: Duration = Duration::from_secs(60);

impl Orchestrator {
    /// Sessions that are on it. `None`: the whole fleet, which then answers UNAVAILABLE to new sessions and health
    /// checks. Sessions that train move to other instances by checkpoint, or go back to the queue at the deadline;
    /// manual ones have until then. `force`: the deadline is now.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a deadline beyond a year.
    pub async fn drain(
        &self,
        instance: Option<InstanceId>,
        deadline: Duration,
        force: bool,
    ) -> Result<Vec<SessionId>, FleetError> {
        if deadline > Duration::from_secs(366 * 86400) {
            let problem = format!("is {} s; expected at most a year", deadline.as_secs());
            return Err(FleetError::invalid("deadline_s", problem));
        }
        let wait = if force { Duration::ZERO } else { deadline };
        let until_ms = now_ms().saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
        let instances: Vec<InstanceId> = instance.into_iter().collect();
        self.books().apply(Command::Drain { instances, until_ms }).await?;
        Ok(self.books().read(|tables| match instance {
            None => tables.active().map(|row| row.id.clone()).collect(),
            Some(id) => {
                let holder = tables.instances.get(&id).and_then(|row| row.holder.as_ref());
                holder.map(|holder| holder.session.clone()).into_iter().collect()
            }
        }))
    }

    /// The end of draining; of the whole fleet for `None`.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn undrain(&self, instance: Option<InstanceId>) -> Result<(), FleetError> {
        self.books().apply(Command::Undrain(instance.into_iter().collect())).await?;
        Ok(())
    }

    /// Stops a session for another and puts it back into the queue, from a snapshot that is taken first. The snapshot's
    /// id.
    ///
    /// # Errors
    /// `NotFound`; `Precondition` while a person drives it, when it holds nothing, or when it could not be saved.
    pub async fn preempt(
        &self,
        session: &SessionId,
        reason: &str,
        save_checkpoint: bool,
    ) -> Result<String, FleetError> {
        let row = self.books().read(|tables| tables.sessions.get(session).cloned());
        let row = row.ok_or_else(|| FleetError::not_found("session", session))?;
        if ended(row.phase) || row.phase == Phase::Queued {
            let phase = row.phase.as_str_name();
            return Err(FleetError::Precondition(format!("session {session} is {phase}: it holds nothing")));
        }
        self.nobody_drives(&row)?;
        let snapshot = if settled(row.phase) {
            self.save_for(session, save_checkpoint && row.mode.trains(), reason).await?.id
        } else {
            String::new()
        };
        // Saving takes its time, and somebody may have come.
        self.nobody_drives(&row)?;
        let reason = if reason.is_empty() { "preempted on request" } else { reason };
        self.requeue(session, reason, &snapshot).await?;
        Ok(snapshot)
    }

    async fn requeue(&self, session: &SessionId, reason: &str, snapshot: &str) -> Result<(), FleetError> {
        let close = Command::Close {
            session: session.clone(),
            to: Phase::Preempted,
            reason: reason.to_owned(),
            requeue_from: Some(snapshot.to_owned()),
        };
        self.books().apply(close).await.map(|_| ())
    }

    fn nobody_drives(&self, row: &SessionRow) -> Result<(), FleetError> {
        let now = now_ms();
        let leased = self.books().read(|tables| human_drives(tables, &row.id, now));
        if leased || self.attended(row, now) {
            return Err(FleetError::Precondition(format!(
                "a person drives or watches session {}: it is not preempted",
                row.id
            )));
        }
        Ok(())
    }

    /// Whether a person is at a manual session: connected, or a moment ago commanding. The books know leases alone.
    pub(super) fn attended(&self, row: &SessionRow, now_ms: i64) -> bool {
        if row.mode != Mode::Manual {
            return false;
        }
        let presence = self.controls().presence(&row.id);
        let recent = now_ms.saturating_sub(presence.last_command_ms);
        presence.connections > 0 || recent < i64::try_from(DRIVING.as_millis()).unwrap_or(0)
    }

    /// Moves sessions off what drains, as far as others are free; at the deadline they stop.
    pub(super) fn drain_round(&self, busy: &Busy) {
        let now = now_ms();
        let (drained, whole) = self.books().read(|tables| {
            let held = tables.instances.values().filter(|row| row.drain_until_ms.is_some());
            let held = held.filter_map(|row| {
                let session = tables.sessions.get(&row.holder.as_ref()?.session)?;
                Some((row.clone(), session.clone()))
            });
            (held.collect::<Vec<_>>(), tables.drain_until_ms.is_some())
        });
        for (instance, row) in drained {
            let (this, id) = (self.clone(), row.id.clone());
            let over = instance.drain_until_ms.is_some_and(|until| now >= until);
            if over {
                busy.spawn(&id, "end of drain", async move { this.end_drained(&row, &instance).await });
            } else if !whole && row.mode.trains() && row.queued_ms == 0 && settled(row.phase) {
                let free = self.books().read(|tables| tables.idle(instance.role)) > 0;
                let driven = self.books().read(|tables| human_drives(tables, &row.id, now));
                if free && !driven {
                    busy.spawn(&id, "move", async move { this.move_member(&instance).await });
                }
            }
        }
    }

    /// The deadline has come: what trains is saved and queued again, what does not ends.
    async fn end_drained(&self, row: &SessionRow, instance: &InstanceRow) -> Result<(), FleetError> {
        let reason = format!("{} was drained", instance.name);
        if !row.mode.trains() || row.queued_ms != 0 {
            return self.close(&row.id, Phase::Stopped, reason).await.map(|_| ());
        }
        let snapshot = match self.save_for(&row.id, true, &reason).await {
            Ok(snapshot) => snapshot.id,
            Err(error) => {
                tracing::warn!(session = %row.id, %error, "not saved: it goes on from its last checkpoint");
                String::new()
            }
        };
        self.requeue(&row.id, &reason, &snapshot).await
    }

    /// Gives a session another instance for one that drains; a trainer stops with a checkpoint first.
    async fn move_member(&self, instance: &InstanceRow) -> Result<(), FleetError> {
        if instance.role == Role::Trainer {
            let stop = Ask::Stop(ext::Stop { cleanup: false, grace_ms: 2000 });
            self.links().order(instance.id, instance.fence, stop, MOVING).await?;
        }
        let reason = format!("{} drains", instance.name);
        self.books().apply(Command::Evict { instance: instance.id, reason }).await.map(|_| ())
    }
}
