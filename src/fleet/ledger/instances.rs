//! Instances come, go away, are lost, and drain.

use super::transact::Ledger;
use super::{Change, Notice, Outcome, Registration};
use crate::fleet::error::FleetError;
use crate::fleet::event::EventKind;
use crate::fleet::ids::{Fence, InstanceId, SessionId};
use crate::fleet::rows::{Condition, Holder, InstanceRow, Phase, Role};
use crate::proto::neuro::ext::InstanceChange;

impl Ledger {
    pub(super) fn register(&mut self, said: Registration) -> Result<Outcome, FleetError> {
        let known = self.tables.instances.get(&said.id);
        if let Some(row) = known
            && row.role != said.role
        {
            let (id, was, is) = (said.id, row.role.name(), said.role.name());
            return Err(FleetError::Precondition(format!("instance {id} is a {was}, not a {is}")));
        }
        let (mut fence, holder, drain, registered_ms) = match known {
            Some(row) => (row.fence, row.holder.clone(), row.drain_until_ms, row.registered_ms),
            None => (Fence(0), None, self.tables.drain_until_ms, self.now_ms),
        };
        let says = said.holding.as_ref().map(|(session, _)| session);
        let keeps = holder.as_ref().is_some_and(|holder| self.keeps(holder, says, said.role));
        if let Some((_, seen)) = &said.holding
            && *seen > fence
        {
            // It was granted by books that are gone: its orders must be overtaken all the same.
            fence = Fence(seen.0 + 1);
        }
        let row = InstanceRow {
            id: said.id,
            name: said.name,
            role: said.role,
            pool: said.pool,
            node: said.node,
            version: said.version,
            labels: said.labels,
            gpus: said.gpus,
            memory_mb: said.memory_mb,
            endpoints: said.endpoints,
            condition: Condition::Present,
            fence,
            holder: holder.clone(),
            drain_until_ms: drain,
            registered_ms,
        };
        let id = row.id;
        self.put_instance(row);
        match holder {
            Some(holder) if keeps => {
                return Ok(Outcome::Registered { fence, keep: Some(holder.session) });
            }
            Some(_) => {
                self.vacate(id, Condition::Present, "it came back without the session");
            }
            None if says.is_some() => self.raise(id),
            None => {}
        }
        let fence = self.tables.instances.get(&id).map_or(fence, |row| row.fence);
        Ok(Outcome::Registered { fence, keep: None })
    }

    /// Whether an instance that says what it runs still has the session it was given to. A trainer that was never told to
    /// train runs nothing yet.
    fn keeps(&self, holder: &Holder, says: Option<&SessionId>, role: Role) -> bool {
        let phase = self.tables.sessions.get(&holder.session).map(|row| row.phase);
        let before = matches!(phase, Some(Phase::Allocating | Phase::Starting | Phase::Ready));
        says == Some(&holder.session) || (says.is_none() && role == Role::Trainer && before)
    }

    pub(super) fn away(&mut self, id: InstanceId) -> Result<Outcome, FleetError> {
        let mut row = self.instance(id)?.clone();
        if row.condition == Condition::Present {
            row.condition = Condition::Away;
            self.put_instance(row);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn lost(&mut self, id: InstanceId, reason: &str) -> Result<Outcome, FleetError> {
        let row = self.instance(id)?;
        if row.condition != Condition::Lost || row.holder.is_some() {
            self.vacate(id, Condition::Lost, reason);
        }
        Ok(Outcome::Done)
    }

    pub(super) fn evict(&mut self, id: InstanceId, reason: &str) -> Result<Outcome, FleetError> {
        let row = self.instance(id)?;
        if row.holder.is_some() {
            let condition = row.condition;
            if let Some(holder) = &row.holder {
                self.avoided.entry(holder.session.clone()).or_default().insert(id);
            }
            self.vacate(id, condition, reason);
            let fence = self.instance(id)?.fence;
            self.notices.push(Notice::Freed { instance: id, fence });
        }
        Ok(Outcome::Done)
    }

    /// Takes an instance from whom it has, under a higher fence. Its session is given another, or waits for one.
    fn vacate(&mut self, id: InstanceId, condition: Condition, reason: &str) {
        let Some(mut row) = self.tables.instances.get(&id).cloned() else { return };
        self.account(&row);
        let holder = row.holder.take();
        row.condition = condition;
        row.fence.0 += 1;
        let role = row.role;
        self.put_instance(row);
        let Some(Holder { session, env_index, .. }) = holder else { return };
        self.control_rests(&session, id);
        self.vacated.insert((session.clone(), role, env_index), id);
        let change = InstanceChange {
            instance_id: id.to_string(),
            event: "lost".to_owned(),
            replaced_by: String::new(),
        };
        self.log(&session, EventKind::Instance(change));
        let Some(row) = self.tables.sessions.get(&session) else { return };
        let what = format!("{} {env_index} is lost: {reason}", role.name());
        if super::tables::waits(row) {
            if !self.tables.held.contains_key(&session) {
                self.enter(&session, Phase::Queued, &what);
            }
            return;
        }
        if row.phase != Phase::Stopping {
            self.enter(&session, Phase::Recovering, &what);
            if !self.repair(&session) {
                self.notices.push(Notice::Short { session });
                // Repairs come first: what is free is kept for this one from now on.
                self.freed = true;
            }
        }
    }

    pub(super) fn forget(&mut self, id: InstanceId) -> Result<Outcome, FleetError> {
        let row = self.instance(id)?;
        if let Some(holder) = &row.holder {
            let text = format!("instance {id} ({}) is held by session {}", row.name, holder.session);
            return Err(FleetError::Precondition(text));
        }
        self.put(Change::InstanceGone(id));
        Ok(Outcome::Done)
    }

    pub(super) fn drain(&mut self, ids: &[InstanceId], until_ms: Option<i64>) -> Result<Outcome, FleetError> {
        for id in ids {
            self.instance(*id)?;
        }
        let whole = ids.is_empty();
        if whole && self.tables.drain_until_ms != until_ms {
            self.put(Change::Fleet { drain_until_ms: until_ms });
        }
        let all = if whole { self.tables.instances.keys().copied().collect() } else { ids.to_vec() };
        for id in all {
            let Some(mut row) = self.tables.instances.get(&id).cloned() else { continue };
            if row.drain_until_ms != until_ms {
                row.drain_until_ms = until_ms;
                self.put_instance(row);
            }
        }
        Ok(Outcome::Done)
    }
}
