//! Sessions are made, found or upgraded.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::transact::Ledger;
use super::{OpenSession, Outcome};
use crate::fleet::error::FleetError;
use crate::fleet::ids::SessionId;
use crate::fleet::rows::{Phase, SessionRow, ended};
use crate::fleet::spec::Mode;

/// When asking again makes sense for a session that found nothing free.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The same where only an operator or the end of the month helps.
const RETRY_QUOTA_AFTER: Duration = Duration::from_secs(600);

/// A training handle: a UUID that a session's id and time always lead to.
fn training_id(session: &SessionId, created_ms: i64) -> String {
    let mut hash = Sha256::new();
    hash.update(session.as_str());
    hash.update(created_ms.to_le_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

impl Ledger {
    pub(super) fn open(&mut self, open: OpenSession) -> Result<Outcome, FleetError> {
        if open.gang.simulators == 0 {
            return Err(FleetError::invalid(
                "isaac_sim_instances",
                "0; a session needs at least 1 simulator",
            ));
        }
        let Some(row) = self.tables.sessions.get(&open.id).cloned() else {
            let row = self.new_row(&open, 0);
            return self.admit(row, open.may_queue, Phase::Unspecified);
        };
        if row.owner != open.owner {
            return Err(FleetError::AlreadyExists(format!("session {} belongs to another owner", open.id)));
        }
        if ended(row.phase) {
            if !open.restore_from.is_empty() {
                let phase = row.phase;
                let row = self.new_row(&open, row.last_seq);
                return self.admit(row, open.may_queue, phase);
            }
            if row.request_hash == open.request_hash {
                return Ok(Outcome::Ended(row.phase));
            }
            let phase = row.phase.as_str_name();
            return Err(FleetError::AlreadyExists(format!(
                "session {} was another one and is {phase}",
                open.id
            )));
        }
        if row.request_hash == open.request_hash {
            return Ok(self.standing(&open.id, false));
        }
        if row.mode == Mode::Manual && open.mode.trains() {
            return self.upgrade(row, open);
        }
        let text = format!("session {} is a {} session of another request", open.id, row.mode);
        Err(FleetError::AlreadyExists(text))
    }

    fn new_row(&self, open: &OpenSession, last_seq: i64) -> SessionRow {
        let trains = open.mode.trains();
        SessionRow {
            id: open.id.clone(),
            owner: open.owner.clone(),
            mode: open.mode,
            phase: Phase::Queued,
            priority: open.priority,
            gang: open.gang,
            requires: open.requires.clone(),
            spec: open.spec.clone(),
            request_hash: open.request_hash,
            created_ms: self.now_ms,
            queued_ms: self.now_ms.max(1),
            granted_ms: 0,
            ended_ms: 0,
            reason: String::new(),
            last_seq,
            training_id: if trains { training_id(&open.id, self.now_ms) } else { String::new() },
            restore_from: open.restore_from.clone(),
        }
    }

    /// A session that wants its gang: it gets it, waits for it, or is refused and leaves nothing behind.
    fn admit(&mut self, mut row: SessionRow, may_queue: bool, from: Phase) -> Result<Outcome, FleetError> {
        if self.tables.drain_until_ms.is_some() {
            let message = "the fleet is draining: no new sessions".to_owned();
            return Err(FleetError::Unavailable { message, retry_after: RETRY_AFTER });
        }
        if let Some(message) = self.tables.never_allowed(&row) {
            return Err(FleetError::Exhausted { message, retry_after: RETRY_QUOTA_AFTER });
        }
        let id = row.id.clone();
        // Until it is granted or queued it has no phase: its first event says where it came from.
        let fresh = row.phase == Phase::Queued;
        if fresh {
            row.phase = from;
        }
        if self.attempt_now(&row) {
            return Ok(self.standing(&id, true));
        }
        let lack = self.tables.lack_of(&row);
        if !may_queue {
            let message = format!("session {id} needs {lack}, and does not wait");
            return Err(FleetError::Exhausted { message, retry_after: RETRY_AFTER });
        }
        if fresh {
            // The row is written with the phase it came from, so that the log tells of the change.
            self.put_session(SessionRow { phase: from, ..row });
            self.enter(&id, Phase::Queued, &format!("waits for {lack}"));
        } else {
            self.put_session(row);
            if !self.tables.held.contains_key(&id) {
                self.enter(&id, Phase::Queued, &format!("waits for {lack}"));
            }
        }
        Ok(self.standing(&id, false))
    }

    fn upgrade(&mut self, row: SessionRow, open: OpenSession) -> Result<Outcome, FleetError> {
        let queued_ms = if row.queued_ms == 0 { self.now_ms.max(1) } else { row.queued_ms };
        let upgraded = SessionRow {
            mode: open.mode,
            priority: open.priority,
            gang: open.gang,
            requires: open.requires,
            spec: open.spec,
            request_hash: open.request_hash,
            queued_ms,
            training_id: training_id(&row.id, row.created_ms),
            restore_from: if open.restore_from.is_empty() {
                row.restore_from.clone()
            } else {
                open.restore_from
            },
            ..row
        };
        if upgraded.phase == Phase::Queued {
            // It waits already: only what it waits for is another.
            let id = upgraded.id.clone();
            if let Some(message) = self.tables.never_allowed(&upgraded) {
                return Err(FleetError::Exhausted { message, retry_after: RETRY_QUOTA_AFTER });
            }
            self.put_session(upgraded);
            self.run_queue();
            return Ok(self.standing(&id, true));
        }
        let phase = upgraded.phase;
        self.admit(upgraded, open.may_queue, phase)
    }

    /// What a session that has not ended is answered.
    pub(super) fn standing(&self, id: &SessionId, fresh: bool) -> Outcome {
        let waits = self.tables.sessions.get(id).is_some_and(super::tables::waits);
        if waits || self.tables.short.contains(id) {
            let position = self.tables.position(id);
            return Outcome::Queued { position, waiting_for: self.tables.waiting_for(id) };
        }
        Outcome::Granted { members: self.tables.members(id), fresh }
    }
}
