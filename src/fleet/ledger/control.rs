//! Who drives: a fenced lease on one simulator of a session. Its fence rises for as long as the session lives, also when
//! the simulator is replaced, so an old driver stays an old driver.

use super::transact::Ledger;
use super::{Change, Outcome};
use crate::fleet::error::FleetError;
use crate::fleet::event::EventKind;
use crate::fleet::ids::{Fence, InstanceId, SessionId};
use crate::fleet::rows::{ControlRow, Role, ended};
use crate::proto::neuro::ext::{ControlChange, Controller};

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub holder: Controller,
    pub user: String,
    pub expires_ms: i64,
    pub renew: bool,
}

impl Ledger {
    pub(super) fn set_control(
        &mut self,
        id: &SessionId,
        instance: InstanceId,
        lease: Lease,
        expect: Option<Fence>,
    ) -> Result<Outcome, FleetError> {
        let session = self.session(id)?;
        if ended(session.phase) {
            return Err(FleetError::Precondition(format!("session {id} is {}", session.phase.as_str_name())));
        }
        let row = self.instance(instance)?;
        let member = row.holder.as_ref().is_some_and(|holder| holder.session == *id);
        if !member || row.role != Role::Simulator {
            let text = format!("instance {instance} ({}) is no simulator of session {id}", row.name);
            return Err(FleetError::Precondition(text));
        }
        let before = self.tables.controls.get(&(id.clone(), instance)).cloned();
        let current = before.as_ref().map_or(Fence(0), |row| row.fence);
        if let Some(given) = expect
            && given != current
        {
            return Err(FleetError::Stale {
                what: format!("control of instance {instance}"),
                given,
                current,
            });
        }
        if lease.renew && before.is_none() {
            return Err(FleetError::Precondition(format!(
                "nobody drives instance {instance}: nothing to renew"
            )));
        }
        let fence = if lease.renew { current } else { self.next_control_fence(id) };
        let row = ControlRow {
            session: id.clone(),
            instance,
            fence,
            holder: lease.holder,
            user: lease.user,
            expires_ms: lease.expires_ms,
        };
        self.put_control(before.as_ref(), row.clone());
        Ok(Outcome::Control(row))
    }

    fn put_control(&mut self, before: Option<&ControlRow>, row: ControlRow) {
        let (from, user_before) =
            before.map_or((Controller::None, ""), |row| (row.holder, row.user.as_str()));
        let changed = from != row.holder || user_before != row.user;
        self.put(Change::Control(row.clone()));
        if changed {
            let change = ControlChange {
                from: from.into(),
                to: row.holder.into(),
                user: row.user,
                fence: i64::try_from(row.fence.0).unwrap_or(i64::MAX),
            };
            self.log(&row.session, EventKind::Control(change));
        }
    }

    fn rows_of(&self, id: &SessionId) -> Vec<ControlRow> {
        let from = (id.clone(), InstanceId(uuid::Uuid::nil()));
        let rows = self.tables.controls.range(from..).take_while(|((session, _), _)| session == id);
        rows.map(|(_, row)| row.clone()).collect()
    }

    fn next_control_fence(&self, id: &SessionId) -> Fence {
        Fence(self.rows_of(id).iter().map(|row| row.fence.0).max().unwrap_or(0) + 1)
    }

    /// Nobody drives this instance of the session any more.
    pub(super) fn control_rests(&mut self, id: &SessionId, instance: InstanceId) {
        let Some(before) = self.tables.controls.get(&(id.clone(), instance)).cloned() else { return };
        if before.holder == Controller::None {
            return;
        }
        let fence = self.next_control_fence(id);
        let row = ControlRow {
            fence,
            holder: Controller::None,
            user: String::new(),
            expires_ms: 0,
            ..before.clone()
        };
        self.put_control(Some(&before), row);
    }

    /// Nobody drives anything of the session any more, which goes on.
    pub(super) fn controls_rest(&mut self, id: &SessionId) {
        for row in self.rows_of(id) {
            self.control_rests(id, row.instance);
        }
    }
}
