//! Members of a gang, and what is missing of one.

use super::Member;
use super::tables::Tables;
use crate::fleet::rows::{InstanceRow, Role, SessionRow};

/// An instance as a member of the session that has it.
pub(super) fn of(row: &InstanceRow) -> Option<Member> {
    let holder = row.holder.as_ref()?;
    Some(Member { instance: row.id, role: row.role, env_index: holder.env_index, fence: row.fence })
}

/// Places of a gang that nobody fills.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Missing {
    /// Whether the trainer is missing.
    pub trainer: bool,
    /// Environments without a simulator.
    pub environments: Vec<u32>,
}

impl Missing {
    pub(super) fn none(&self) -> bool {
        !self.trainer && self.environments.is_empty()
    }
}

impl Tables {
    /// Places of a session's gang that nobody fills.
    pub(super) fn missing(&self, session: &SessionRow) -> Missing {
        let held = self.held.get(&session.id).into_iter().flatten().filter_map(|id| self.instances.get(id));
        let mut trainers = 0;
        let mut taken = Vec::new();
        for row in held {
            match (row.role, &row.holder) {
                (Role::Trainer, _) => trainers += 1,
                (Role::Simulator, Some(holder)) => taken.push(holder.env_index),
                (Role::Simulator, None) => {}
            }
        }
        let environments = (0..session.gang.simulators).filter(|index| !taken.contains(index)).collect();
        Missing { trainer: trainers < session.gang.trainers, environments }
    }
}
