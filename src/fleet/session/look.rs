//! A session as its driver sees it: one consistent reading of the books.

use crate::fleet::error::FleetError;
use crate::fleet::ids::{Fence, InstanceId, SessionId};
use crate::fleet::ledger::Tables;
use crate::fleet::rows::{Phase, Role, SessionRow, ended};
use crate::fleet::spec::SessionSpec;
use crate::proto::neuro::ext::Controller;

/// A member and where to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// The instance.
    pub instance: InstanceId,
    /// Its display name.
    pub name: String,
    /// Which environment.
    pub env_index: u32,
    /// Of the grant.
    pub fence: Fence,
    /// Its reset/step socket.
    pub zmq_endpoint: String,
}

/// One reading of the books.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// Its row.
    pub row: SessionRow,
    /// What it runs.
    pub spec: SessionSpec,
    /// Its trainer.
    pub trainer: Option<Seat>,
    /// Its simulators, by environment.
    pub simulators: Vec<Seat>,
    /// Whether a person drives one of them.
    pub human: bool,
}

impl Look {
    /// Reads a session; `None` when the books do not know it.
    ///
    /// # Errors
    /// `Internal` when its spec cannot be decoded: the store is damaged.
    pub fn of(tables: &Tables, session: &SessionId, now_ms: i64) -> Result<Option<Self>, FleetError> {
        let Some(row) = tables.sessions.get(session).cloned() else { return Ok(None) };
        let spec = decode_spec(&row)?;
        let mut trainer = None;
        let mut simulators = Vec::new();
        for member in tables.members(session) {
            let Some(instance) = tables.instances.get(&member.instance) else { continue };
            let seat = Seat {
                instance: member.instance,
                name: instance.name.clone(),
                env_index: member.env_index,
                fence: member.fence,
                zmq_endpoint: instance.endpoints.zmq_endpoint.clone(),
            };
            match member.role {
                Role::Trainer => trainer = Some(seat),
                Role::Simulator => simulators.push(seat),
            }
        }
        simulators.sort_by_key(|seat| seat.env_index);
        let human = human_drives(tables, session, now_ms);
        Ok(Some(Self { row, spec, trainer, simulators, human }))
    }

    /// Whether it waits in the queue: for its first gang, or, as the manual session that it still is, for its upgrade.
    #[must_use]
    pub const fn waits(&self) -> bool {
        self.row.queued_ms != 0 && !ended(self.row.phase)
    }

    /// Whether a trainer belongs to what it is now.
    #[must_use]
    pub const fn trains(&self) -> bool {
        self.row.mode.trains() && !self.waits()
    }

    /// Whether every place of the gang is filled.
    #[must_use]
    pub fn complete(&self) -> bool {
        if self.waits() {
            return !self.simulators.is_empty();
        }
        let trainers = u32::from(self.trainer.is_some());
        trainers >= self.row.gang.trainers && self.simulators.len() >= self.row.gang.simulators as usize
    }

    /// What is missing of the gang, for a message.
    #[must_use]
    pub fn missing(&self) -> String {
        let simulators = (self.row.gang.simulators as usize).saturating_sub(self.simulators.len());
        match (self.trainer.is_none() && self.row.gang.trainers > 0, simulators) {
            (true, 0) => "its trainer".to_owned(),
            (true, count) => format!("its trainer and {count} of its simulators"),
            (false, count) => format!("{count} of its simulators"),
        }
    }

    /// Whether its scene is loaded and time can run.
    #[must_use]
    pub const fn settled(&self) -> bool {
        settled(self.row.phase)
    }
}

/// Whether a session in this phase has its scene loaded.
#[must_use]
pub const fn settled(phase: Phase) -> bool {
    matches!(phase, Phase::Ready | Phase::Running | Phase::Paused)
}

/// Whether a person holds the control lease of one of its simulators.
#[must_use]
pub fn human_drives(tables: &Tables, session: &SessionId, now_ms: i64) -> bool {
    let first = (session.clone(), InstanceId(uuid::Uuid::nil()));
    tables
        .controls
        .range(first..)
        .take_while(|((of, _), _)| of == session)
        .any(|(_, row)| row.holder == Controller::Human && (row.expires_ms == 0 || row.expires_ms > now_ms))
}

/// A session's spec.
///
/// # Errors
/// `Internal` when it cannot be decoded: the store is damaged.
pub fn decode_spec(row: &SessionRow) -> Result<SessionSpec, FleetError> {
    prost::Message::decode(row.spec.as_slice())
        .map_err(|error| FleetError::Internal(format!("the spec of session {} is damaged: {error}", row.id)))
}
