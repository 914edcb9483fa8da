//! Sessions go on, end, and leave a log.

use super::transact::Ledger;
use super::{Change, Notice, Outcome};
use crate::fleet::error::FleetError;
use crate::fleet::event::EventKind;
use crate::fleet::ids::SessionId;
use crate::fleet::rows::{DemonstrationRow, Phase, Quota, ended};
use crate::fleet::spec::{Gang, Mode};
use crate::proto::neuro::ext::InstanceChange;

impl Ledger {
    pub(super) fn advance(
        &mut self,
        id: &SessionId,
        from: &[Phase],
        to: Phase,
        reason: &str,
    ) -> Result<Outcome, FleetError> {
        if ended(to) || matches!(to, Phase::Unspecified | Phase::Queued) {
            return Err(FleetError::invalid(
                "phase",
                format!("{} is not one to advance to", to.as_str_name()),
            ));
        }
        let row = self.session(id)?;
        let is = row.phase;
        if ended(is) {
            return Err(FleetError::Precondition(format!("session {id} is {}", is.as_str_name())));
        }
        if is == to {
            return Ok(Outcome::Done);
        }
        if is == Phase::Queued || (!from.is_empty() && !from.contains(&is)) {
            let names: Vec<&str> = from.iter().map(Phase::as_str_name).collect();
            let (is, to) = (is.as_str_name(), to.as_str_name());
            let text = format!("session {id} is {is}; it gets to {to} from {}", names.join(", "));
            return Err(FleetError::Precondition(text));
        }
        if matches!(to, Phase::Ready | Phase::Running) {
            self.avoided.remove(id);
        }
        self.enter(id, to, reason);
        Ok(Outcome::Done)
    }

    pub(super) fn close(
        &mut self,
        id: &SessionId,
        to: Phase,
        reason: &str,
        requeue_from: Option<String>,
    ) -> Result<Outcome, FleetError> {
        if !ended(to) {
            return Err(FleetError::invalid("phase", format!("{} does not end a session", to.as_str_name())));
        }
        if requeue_from.is_some() && to != Phase::Preempted {
            let text =
                format!("only a preempted session goes back to the queue, not one {}", to.as_str_name());
            return Err(FleetError::invalid("requeue_from", text));
        }
        if ended(self.session(id)?.phase) {
            return Ok(Outcome::Released(Vec::new()));
        }
        let mut released = Vec::new();
        for member in self.tables.members(id) {
            let Some(mut row) = self.tables.instances.get(&member.instance).cloned() else { continue };
            self.account(&row);
            row.holder = None;
            row.fence.0 += 1;
            released.push((row.id, row.fence));
            self.notices.push(Notice::Freed { instance: row.id, fence: row.fence });
            let change = InstanceChange {
                instance_id: row.id.to_string(),
                event: "released".to_owned(),
                replaced_by: String::new(),
            };
            self.put_instance(row);
            self.log(id, EventKind::Instance(change));
        }
        self.vacated.retain(|(session, _, _), _| session != id);
        self.avoided.remove(id);
        let mut row = self.session(id)?.clone();
        row.queued_ms = 0;
        row.granted_ms = 0;
        if requeue_from.is_none() {
            row.granted_ms = self.session(id)?.granted_ms;
            row.ended_ms = self.now_ms;
            self.put(Change::ControlGone(id.clone()));
        }
        self.put_session(row);
        self.enter(id, to, reason);
        self.notices.push(Notice::Closed { session: id.clone(), phase: to });
        if let Some(snapshot) = requeue_from {
            let mut row = self.session(id)?.clone();
            row.queued_ms = self.now_ms.max(1);
            row.restore_from = snapshot;
            // Only now: a session that waits has not ended.
            row.phase = Phase::Preempted;
            self.put_session(row);
            self.enter(id, Phase::Queued, "it goes on when its instances are free again");
            self.controls_rest(id);
        }
        self.freed = true;
        Ok(Outcome::Released(released))
    }

    pub(super) fn abandon(&mut self, id: &SessionId, reason: &str) -> Result<Outcome, FleetError> {
        let row = self.session(id)?;
        if !super::tables::waits(row) {
            let text = format!("session {id} is {}: it does not wait", row.phase.as_str_name());
            return Err(FleetError::Precondition(text));
        }
        if row.phase == Phase::Queued {
            return self.close(id, Phase::Stopped, reason, None);
        }
        let mut row = row.clone();
        row.mode = Mode::Manual;
        row.gang = Gang { simulators: 1, ..Gang::default() };
        row.queued_ms = 0;
        // The request that is given up does not stand for the session any more: asking again upgrades it again.
        row.request_hash = [0; 32];
        row.training_id = String::new();
        row.reason = reason.to_owned();
        self.put_session(row);
        self.freed = true;
        Ok(Outcome::Done)
    }

    pub(super) fn repair_asked(&mut self, id: &SessionId) -> Result<Outcome, FleetError> {
        let row = self.session(id)?;
        if ended(row.phase) {
            return Ok(Outcome::Ended(row.phase));
        }
        let fresh = self.repair(id);
        Ok(self.standing(id, fresh))
    }

    pub(super) fn record(&mut self, id: &SessionId, events: Vec<EventKind>) -> Result<Outcome, FleetError> {
        self.session(id)?;
        for kind in events {
            self.log(id, kind);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn set_quota(&mut self, owner: String, quota: Quota) -> Result<Outcome, FleetError> {
        if !quota.gpu_hours_per_month.is_finite() || quota.gpu_hours_per_month < 0.0 {
            let text = format!("{} is not a number of hours; 0 is no limit", quota.gpu_hours_per_month);
            return Err(FleetError::invalid("gpu_hours_per_month", text));
        }
        self.put(Change::Quota { owner, quota });
        Ok(Outcome::Done)
    }

    pub(super) fn add_demonstration(&mut self, row: DemonstrationRow) -> Result<Outcome, FleetError> {
        if self.tables.demonstrations.get(&row.demonstration.id) == Some(&row) {
            return Ok(Outcome::Done);
        }
        let (session, demonstration) = (row.session.clone(), row.demonstration.clone());
        self.put(Change::Demonstration(row));
        self.log(&session, EventKind::Demonstration(demonstration));
        Ok(Outcome::Done)
    }

    pub(super) fn prune(&mut self, ended_before_ms: i64) -> Result<Outcome, FleetError> {
        let old = self.tables.sessions.values();
        let old = old.filter(|row| ended(row.phase) && row.ended_ms < ended_before_ms);
        let old: Vec<SessionId> = old.map(|row| row.id.clone()).collect();
        for id in old {
            self.put(Change::SessionGone(id));
        }
        Ok(Outcome::Done)
    }
}
