//! What the books say of one environment of a session: the one place where driving reads them.

use prost::Message;

use crate::fleet::books::Books;
use crate::fleet::error::FleetError;
use crate::fleet::ids::{Fence, InstanceId, SessionId};
use crate::fleet::rows::{Condition, ControlRow, Endpoints, Phase, Role};
use crate::fleet::spec::{Mode, SessionSpec};

/// One environment of a session.
#[derive(Debug, Clone)]
pub struct Place {
    /// Whose session it is.
    pub owner: String,
    /// Who drives in general.
    pub mode: Mode,
    /// Of the session.
    pub phase: Phase,
    /// Takeovers are recorded.
    pub human_demo: bool,
    /// Empty, `local` or a URL.
    pub policy: String,
    /// What the policy is told.
    pub instruction: String,
    /// The task or scenario.
    pub environment: String,
    /// The simulator; `None` before one is granted and while a lost one is not replaced.
    pub robot: Option<Robot>,
    /// Who drives it, as the books have it.
    pub control: Option<ControlRow>,
}

/// The simulator of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Robot {
    /// Its id.
    pub id: InstanceId,
    /// What people call it.
    pub name: String,
    /// Of its grant.
    pub fence: Fence,
    /// Where to reach it.
    pub endpoints: Endpoints,
    /// Whether it is there now.
    pub present: bool,
}

impl Place {
    /// The environment `env` of a session; `None` when there is no such session.
    #[must_use]
    pub fn of(books: &Books, session: &SessionId, env: u32) -> Option<Self> {
        books.read(|tables| {
            let row = tables.sessions.get(session)?;
            let spec = SessionSpec::decode(row.spec.as_slice()).unwrap_or_default();
            let member = tables
                .members(session)
                .into_iter()
                .find(|member| member.role == Role::Simulator && member.env_index == env);
            let robot =
                member.and_then(|member| tables.instances.get(&member.instance)).map(|instance| Robot {
                    id: instance.id,
                    name: instance.name.clone(),
                    fence: instance.fence,
                    endpoints: instance.endpoints.clone(),
                    present: instance.condition == Condition::Present,
                });
            let control =
                robot.as_ref().and_then(|robot| tables.controls.get(&(session.clone(), robot.id))).cloned();
            Some(Self {
                owner: row.owner.clone(),
                mode: row.mode,
                phase: row.phase,
                human_demo: spec.human_demo,
                policy: spec.policy,
                instruction: spec.instruction,
                environment: spec.scene.environment,
                robot,
                control,
            })
        })
    }

    /// Whether its scene is loaded, as far as the session is concerned.
    #[must_use]
    pub const fn active(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Running | Phase::Paused | Phase::Recovering)
    }

    /// Whether something drives when no person does.
    #[must_use]
    pub fn drives_itself(&self) -> bool {
        self.mode.trains() || !self.policy.is_empty()
    }
}

/// Which environment an instance is of a session; 0 when none is named.
///
/// # Errors
/// `NotFound` for a session nobody has heard of, and for an instance that is not one of its simulators.
pub fn env_of(books: &Books, session: &SessionId, instance: Option<InstanceId>) -> Result<u32, FleetError> {
    books.read(|tables| {
        if !tables.sessions.contains_key(session) {
            return Err(FleetError::not_found("session", session));
        }
        let Some(id) = instance else { return Ok(0) };
        let mut members = tables.members(session).into_iter();
        let found = members.find(|member| member.role == Role::Simulator && member.instance == id);
        found
            .map(|member| member.env_index)
            .ok_or_else(|| FleetError::not_found("simulator of the session", id))
    })
}
