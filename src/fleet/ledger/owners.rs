//! What owners use, what they may, and whose turn it is.

use super::tables::{Tables, waits};
use crate::fleet::ids::SessionId;
use crate::fleet::rows::{Role, SessionRow, ended};

/// What counts against a quota.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Charge {
    /// Sessions that are not waiting.
    pub sessions: u32,
    /// Simulators, missing ones of a granted gang too: they are to be replaced.
    pub simulators: u32,
    /// Trainers.
    pub trainers: u32,
    /// GPUs of trainers.
    pub training_gpus: u32,
}

impl Charge {
    pub(super) const fn with(self, other: Self) -> Self {
        Self {
            sessions: self.sessions.saturating_add(other.sessions),
            simulators: self.simulators.saturating_add(other.simulators),
            trainers: self.trainers.saturating_add(other.trainers),
            training_gpus: self.training_gpus.saturating_add(other.training_gpus),
        }
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self {
            sessions: self.sessions.saturating_sub(other.sessions),
            simulators: self.simulators.saturating_sub(other.simulators),
            trainers: self.trainers.saturating_sub(other.trainers),
            training_gpus: self.training_gpus.saturating_sub(other.training_gpus),
        }
    }
}

/// Why an owner may have no more: a sentence, or what is left of trainers' GPUs (`None`: no limit).
pub(super) type Allowance = Result<Option<u32>, String>;

impl Tables {
    /// What a session counts for, and who pays. A session that waits counts with what it holds, a granted one with its
    /// whole gang.
    pub(super) fn charge_of(&self, id: &SessionId) -> (Option<String>, Charge) {
        let Some(session) = self.sessions.get(id) else { return (None, Charge::default()) };
        let owner = Some(session.owner.clone());
        if ended(session.phase) {
            return (owner, Charge::default());
        }
        let held = self.held.get(id).into_iter().flatten().filter_map(|id| self.instances.get(id));
        let mut charge = Charge::default();
        for row in held {
            match row.role {
                Role::Simulator => charge.simulators += 1,
                Role::Trainer => {
                    charge.trainers += 1;
                    charge.training_gpus += row.gpus.len() as u32;
                }
            }
        }
        if waits(session) {
            charge.sessions = u32::from(charge.simulators > 0);
            return (owner, charge);
        }
        let gang = &session.gang;
        charge.sessions = 1;
        charge.simulators = charge.simulators.max(gang.simulators);
        charge.trainers = charge.trainers.max(gang.trainers);
        charge.training_gpus = charge.training_gpus.max(gang.trainers * gang.training_gpus);
        (owner, charge)
    }

    /// What an owner uses now.
    #[must_use]
    pub fn used(&self, owner: &str) -> Charge {
        self.owners.get(owner).copied().unwrap_or_default()
    }

    /// GPU seconds that an owner has used in a month (`2026-11`).
    #[must_use]
    pub fn gpu_seconds(&self, owner: &str, month: &str) -> f64 {
        self.usage.get(&(owner.to_owned(), month.to_owned())).copied().unwrap_or(0.0)
    }

    /// Whether a session's whole gang fits into its owner's quota. `Ok`: how many GPUs its trainer may have.
    pub(super) fn allowance(&self, session: &SessionRow, month: &str) -> Allowance {
        let quota = self.quota(&session.owner);
        let own = self.charges.get(&session.id).copied().unwrap_or_default();
        let others = self.used(&session.owner).without(own);
        let gang = &session.gang;
        let over = |limit: u32, used: u32, wanted: u32| limit != 0 && used.saturating_add(wanted) > limit;
        if over(quota.max_sessions, others.sessions, 1) {
            return Err(format!("quota: {} of {} sessions in use", others.sessions, quota.max_sessions));
        }
        if over(quota.max_simulators, others.simulators, gang.simulators) {
            let (used, limit) = (others.simulators, quota.max_simulators);
            return Err(format!("quota: {used} of {limit} simulators in use, {} wanted", gang.simulators));
        }
        if gang.trainers > 0 && over(quota.max_training_gpus, others.training_gpus, gang.training_gpus) {
            let (used, limit) = (others.training_gpus, quota.max_training_gpus);
            return Err(format!(
                "quota: {used} of {limit} training GPUs in use, {} wanted",
                gang.training_gpus
            ));
        }
        if quota.gpu_hours_per_month > 0.0 {
            let hours = self.gpu_seconds(&session.owner, month) / 3600.0;
            if hours >= quota.gpu_hours_per_month {
                let limit = quota.gpu_hours_per_month;
                return Err(format!("quota: {hours:.1} of {limit:.1} GPU hours of {month} used"));
            }
        }
        let limited = quota.max_training_gpus != 0;
        Ok(limited.then(|| quota.max_training_gpus.saturating_sub(others.training_gpus)))
    }

    /// Whether a gang is larger than its owner's quota ever allows.
    pub(super) fn never_allowed(&self, session: &SessionRow) -> Option<String> {
        let quota = self.quota(&session.owner);
        let gang = &session.gang;
        let (owner, mode) = (&session.owner, session.mode);
        if quota.max_simulators != 0 && gang.simulators > quota.max_simulators {
            let (wanted, limit) = (gang.simulators, quota.max_simulators);
            return Some(format!("{wanted} simulators are more than the quota of {owner}: {limit}"));
        }
        let wanted = gang.trainers * gang.training_gpus;
        (quota.max_training_gpus != 0 && wanted > quota.max_training_gpus).then(|| {
            let limit = quota.max_training_gpus;
            format!("{wanted} training GPUs of a {mode} session are more than the quota of {owner}: {limit}")
        })
    }

    /// An owner's part of the fleet by weight; the least goes first.
    pub(super) fn share(&self, owner: &str) -> u64 {
        let used = self.used(owner);
        share_of(u64::from(used.simulators) + u64::from(used.trainers), self.quota(owner).weight)
    }
}

/// Instances by weight, in millionths.
pub(super) fn share_of(held: u64, weight: u32) -> u64 {
    held.saturating_mul(1_000_000) / u64::from(weight.max(1))
}
