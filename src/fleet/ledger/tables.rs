//! All rows in memory, with the indexes that the rules look things up by. Rows change only through [`Tables::apply`], by
//! the same [`Change`]s that the store writes, so a restart arrives at the same tables.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::OnceLock;

use super::owners::Charge;
use super::queue::Order;
use super::{Change, Member};
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::rows::{
    Condition, ControlRow, DemonstrationRow, EventRow, InstanceRow, Quota, Role, SessionRow, SnapshotRow,
    ended,
};

/// Newest events of a session that are kept in memory, for its watchers.
const TAIL: usize = 128;

/// The rows and their indexes.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// Instances that are known, lost ones too.
    pub instances: BTreeMap<InstanceId, InstanceRow>,
    /// Sessions, ended ones too.
    pub sessions: BTreeMap<SessionId, SessionRow>,
    /// Who drives what.
    pub controls: BTreeMap<(SessionId, InstanceId), ControlRow>,
    /// Limits of owners that have their own.
    pub quotas: BTreeMap<String, Quota>,
    /// Limits of all others; a setting, not a row.
    pub default_quota: Quota,
    /// GPU seconds by owner and UTC month (`2026-11`).
    pub usage: BTreeMap<(String, String), f64>,
    /// Snapshots by id.
    pub snapshots: BTreeMap<String, SnapshotRow>,
    /// Demonstrations by id.
    pub demonstrations: BTreeMap<String, DemonstrationRow>,
    /// Until when sessions may stay, while the whole fleet drains (Unix ms).
    pub drain_until_ms: Option<i64>,
    /// GPU time is accounted up to then (Unix ms).
    pub accounted_ms: i64,

    pub(super) slots_per_gpu: BTreeMap<String, u32>,
    /// Instances of each session that holds any.
    pub(super) held: BTreeMap<SessionId, BTreeSet<InstanceId>>,
    /// Instances that can be given away by role, the least capable first: those are given away first.
    pub(super) idle: BTreeMap<Role, BTreeSet<(usize, usize, InstanceId)>>,
    /// Instances in use by GPU.
    pub(super) gpus: BTreeMap<String, BTreeSet<InstanceId>>,
    /// Sessions that wait, by owner; within an owner by priority and age.
    pub(super) waiting:
        BTreeMap<String, BTreeSet<(std::cmp::Reverse<crate::fleet::spec::Priority>, i64, SessionId)>>,
    /// Granted sessions that miss members.
    pub(super) short: BTreeSet<SessionId>,
    /// What each session counts for, and the sums by owner.
    pub(super) charges: BTreeMap<SessionId, Charge>,
    pub(super) owners: BTreeMap<String, Charge>,
    /// Sessions that hold or wait: everything that has not ended.
    pub(super) alive: BTreeSet<SessionId>,
    tails: BTreeMap<SessionId, VecDeque<EventRow>>,
    pub(super) order: OnceLock<Order>,
}

/// A GPU's name in the fleet: by UUID where it has one, else by its place on the node.
pub(super) fn gpu_names(row: &InstanceRow) -> impl Iterator<Item = String> {
    row.gpus.iter().map(|gpu| {
        if gpu.uuid.is_empty() {
            format!("{}#{}", row.node, gpu.index)
        } else {
            format!("{}@{}", row.node, gpu.uuid)
        }
    })
}

/// Whether an instance can be given away.
pub(super) const fn available(row: &InstanceRow) -> bool {
    matches!(row.condition, Condition::Present) && row.holder.is_none() && row.drain_until_ms.is_none()
}

fn rank(row: &InstanceRow) -> (usize, usize, InstanceId) {
    (row.gpus.len(), row.labels.len(), row.id)
}

/// Whether a session waits for members in the queue.
pub(super) const fn waits(row: &SessionRow) -> bool {
    row.queued_ms != 0 && !ended(row.phase)
}

impl Tables {
    /// Writes one change into the rows and their indexes.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Instance(row) => self.put_instance(row.clone()),
            Change::InstanceGone(id) => {
                if let Some(row) = self.instances.remove(id) {
                    self.unlink(&row);
                }
            }
            Change::Session(row) => self.put_session(row.clone()),
            Change::SessionGone(id) => {
                if let Some(row) = self.sessions.remove(id) {
                    self.leave_queue(&row);
                }
                self.alive.remove(id);
                self.controls.retain(|(session, _), _| session != id);
                self.tails.remove(id);
                self.recount(id);
            }
            Change::Event(row) => {
                let tail = self.tails.entry(row.session.clone()).or_default();
                if tail.len() >= TAIL {
                    tail.pop_front();
                }
                tail.push_back(row.clone());
            }
            Change::EventsGone { session, upto } => {
                if let Some(tail) = self.tails.get_mut(session) {
                    tail.retain(|row| row.seq > *upto);
                }
            }
            Change::Control(row) => {
                self.controls.insert((row.session.clone(), row.instance), row.clone());
            }
            Change::ControlGone(id) => self.controls.retain(|(session, _), _| session != id),
            Change::Quota { owner, quota } => {
                self.quotas.insert(owner.clone(), quota.clone());
                self.order = OnceLock::new();
            }
            Change::Usage { owner, month, gpu_seconds } => {
                self.usage.insert((owner.clone(), month.clone()), *gpu_seconds);
            }
            Change::Snapshot(row) => {
                self.snapshots.insert(row.id.clone(), row.clone());
            }
            Change::Demonstration(row) => {
                self.demonstrations.insert(row.demonstration.id.clone(), row.clone());
            }
            Change::DemonstrationGone(id) => drop(self.demonstrations.remove(id)),
            Change::Fleet { drain_until_ms } => self.drain_until_ms = *drain_until_ms,
            Change::Accounted { at_ms } => self.accounted_ms = *at_ms,
        }
    }

    fn put_instance(&mut self, row: InstanceRow) {
        if let Some(before) = self.instances.get(&row.id).cloned() {
            self.unlink(&before);
        }
        if available(&row) {
            self.idle.entry(row.role).or_default().insert(rank(&row));
        }
        let session = row.holder.as_ref().map(|holder| holder.session.clone());
        if session.is_some() {
            for gpu in gpu_names(&row) {
                self.gpus.entry(gpu).or_default().insert(row.id);
            }
        }
        let id = row.id;
        self.instances.insert(id, row);
        if let Some(session) = session {
            self.held.entry(session.clone()).or_default().insert(id);
            self.recount(&session);
        }
    }

    /// Takes a row that is about to change out of the indexes.
    fn unlink(&mut self, row: &InstanceRow) {
        if let Some(idle) = self.idle.get_mut(&row.role) {
            idle.remove(&rank(row));
        }
        let Some(holder) = &row.holder else { return };
        for gpu in gpu_names(row) {
            if let Some(users) = self.gpus.get_mut(&gpu) {
                users.remove(&row.id);
                if users.is_empty() {
                    self.gpus.remove(&gpu);
                }
            }
        }
        if let Some(held) = self.held.get_mut(&holder.session) {
            held.remove(&row.id);
            if held.is_empty() {
                self.held.remove(&holder.session);
            }
        }
        self.recount(&holder.session);
    }

    fn put_session(&mut self, row: SessionRow) {
        if let Some(before) = self.sessions.get(&row.id).cloned() {
            // Most changes of a session only make its log longer.
            let same = waits(&before) == waits(&row)
                && before.queued_ms == row.queued_ms
                && before.priority == row.priority
                && before.owner == row.owner
                && before.gang == row.gang
                && before.mode == row.mode
                && ended(before.phase) == ended(row.phase);
            if same {
                self.sessions.insert(row.id.clone(), row);
                return;
            }
            self.leave_queue(&before);
        }
        if waits(&row) {
            let place = (std::cmp::Reverse(row.priority), row.queued_ms, row.id.clone());
            self.waiting.entry(row.owner.clone()).or_default().insert(place);
            self.order = OnceLock::new();
        }
        let id = row.id.clone();
        if ended(row.phase) {
            self.alive.remove(&id);
        } else {
            self.alive.insert(id.clone());
        }
        self.sessions.insert(id.clone(), row);
        self.recount(&id);
    }

    fn leave_queue(&mut self, row: &SessionRow) {
        if !waits(row) {
            return;
        }
        if let Some(places) = self.waiting.get_mut(&row.owner) {
            places.remove(&(std::cmp::Reverse(row.priority), row.queued_ms, row.id.clone()));
            if places.is_empty() {
                self.waiting.remove(&row.owner);
            }
        }
        self.order = OnceLock::new();
    }

    /// Counts a session anew: what it is charged for, and whether it misses members.
    fn recount(&mut self, id: &SessionId) {
        let (owner, charge) = self.charge_of(id);
        let before = if charge == Charge::default() {
            self.charges.remove(id)
        } else {
            self.charges.insert(id.clone(), charge)
        };
        if before != Some(charge)
            && let Some(owner) = owner
        {
            let sum = self.owners.entry(owner.clone()).or_default();
            *sum = sum.without(before.unwrap_or_default()).with(charge);
            if *sum == Charge::default() {
                self.owners.remove(&owner);
            }
            if !self.waiting.is_empty() {
                self.order = OnceLock::new();
            }
        }
        let short = self
            .sessions
            .get(id)
            .is_some_and(|row| !ended(row.phase) && !waits(row) && !self.missing(row).none());
        if short {
            self.short.insert(id.clone());
        } else {
            self.short.remove(id);
        }
    }

    /// The members of a session: its trainer first, then its simulators by environment.
    #[must_use]
    pub fn members(&self, session: &SessionId) -> Vec<Member> {
        let held = self.held.get(session).into_iter().flatten().filter_map(|id| self.instances.get(id));
        let mut members: Vec<Member> = held.filter_map(super::member::of).collect();
        members.sort_by_key(|member| (std::cmp::Reverse(member.role), member.env_index));
        members
    }

    /// Sessions that have not ended.
    pub fn active(&self) -> impl Iterator<Item = &SessionRow> {
        self.alive.iter().filter_map(|id| self.sessions.get(id))
    }

    /// The newest events after `after`, when memory holds all of them.
    #[must_use]
    pub fn recent(&self, session: &SessionId, after: i64, limit: usize) -> Option<Vec<EventRow>> {
        let row = self.sessions.get(session)?;
        if after >= row.last_seq {
            return Some(Vec::new());
        }
        let tail = self.tails.get(session)?;
        let first = tail.front()?.seq;
        if after + 1 < first {
            return None;
        }
        Some(tail.iter().filter(|row| row.seq > after).take(limit).cloned().collect())
    }

    /// What was recorded in a session, under its present owner.
    #[must_use]
    pub fn demonstrations_of(&self, session: &SessionId) -> Vec<DemonstrationRow> {
        let Some(row) = self.sessions.get(session) else { return Vec::new() };
        let own = |one: &&DemonstrationRow| one.session == *session && one.owner == row.owner;
        self.demonstrations.values().filter(own).cloned().collect()
    }

    /// The limits of an owner.
    #[must_use]
    pub fn quota(&self, owner: &str) -> &Quota {
        self.quotas.get(owner).unwrap_or(&self.default_quota)
    }
}
