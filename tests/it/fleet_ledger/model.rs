//! What must hold whatever the books do, said a second time and more simply: it looks only at the rows that change.

use std::collections::{BTreeMap, BTreeSet};

use neuro::fleet::ids::{InstanceId, SessionId};
use neuro::fleet::ledger::{Change, Effect, Notice, Outcome};
use neuro::fleet::rows::{Condition, InstanceRow, Phase, Quota, Role, SessionRow, ended};

/// Rows as the changes tell of them, and what they were at the last grant.
#[derive(Default)]
pub struct Model {
    pub instances: BTreeMap<InstanceId, InstanceRow>,
    pub sessions: BTreeMap<SessionId, SessionRow>,
    pub quotas: BTreeMap<String, Quota>,
    pub default_quota: Quota,
    pub slots: BTreeMap<String, u32>,
    /// Highest fence of each instance that was ever seen, forgotten ones too.
    fences: BTreeMap<InstanceId, u64>,
    held: BTreeMap<SessionId, BTreeSet<InstanceId>>,
    /// Sessions whose whole gang was granted and that have not been closed or sent back to the queue.
    granted: BTreeSet<SessionId>,
    seqs: BTreeMap<SessionId, i64>,
}

impl Model {
    pub fn holds(&self, session: &SessionId) -> usize {
        self.held.get(session).map_or(0, BTreeSet::len)
    }

    pub fn waiting(&self) -> impl Iterator<Item = &SessionRow> {
        self.sessions.values().filter(|row| row.queued_ms != 0 && !ended(row.phase))
    }

    fn quota(&self, owner: &str) -> &Quota {
        self.quotas.get(owner).unwrap_or(&self.default_quota)
    }

    /// Takes over what a command changed, and panics where a rule is broken.
    pub fn check(&mut self, effect: &Effect) {
        if effect.answer.is_err() {
            assert!(
                effect.changes.is_empty() && effect.notices.is_empty(),
                "a refused command left {effect:?}"
            );
            return;
        }
        let mut grown = BTreeSet::new();
        let mut lost = BTreeSet::new();
        for change in &effect.changes {
            match change {
                Change::Instance(row) => self.instance(row, &mut grown, &mut lost),
                Change::InstanceGone(id) => {
                    let row = self.instances.remove(id).expect("it was there");
                    assert!(row.holder.is_none(), "forgot a held one");
                }
                Change::Session(row) => {
                    self.sessions.insert(row.id.clone(), row.clone());
                }
                Change::SessionGone(id) => {
                    let row = self.sessions.remove(id).expect("it was there");
                    assert!(ended(row.phase), "pruned a live session");
                    self.seqs.remove(id);
                }
                Change::Event(row) => {
                    let seq = self.seqs.entry(row.session.clone()).or_default();
                    assert_eq!(row.seq, *seq + 1, "the log of {} has a hole", row.session);
                    *seq = row.seq;
                }
                Change::Quota { owner, quota } => {
                    self.quotas.insert(owner.clone(), quota.clone());
                }
                _ => {}
            }
        }
        self.gangs(effect, &grown, &lost);
        for session in &grown {
            let repair = |notice: &Notice| matches!(notice, Notice::Granted { session: id, repair: true, .. } if id == session);
            // A repair may find a quota that was lowered meanwhile.
            let lowered =
                effect.notices.iter().any(repair) && self.quotas.contains_key(&self.sessions[session].owner);
            self.capacity(session);
            if !lowered {
                self.within_quota(session);
            }
        }
    }

    fn instance(
        &mut self,
        row: &InstanceRow,
        grown: &mut BTreeSet<SessionId>,
        lost: &mut BTreeSet<SessionId>,
    ) {
        let fence = self.fences.get(&row.id).copied().unwrap_or(0);
        let before = self.instances.insert(row.id, row.clone());
        let had = before.as_ref().and_then(|row| row.holder.clone());
        if before.is_some() {
            assert!(row.fence.0 >= fence, "the fence of {} fell from {fence} to {}", row.id, row.fence);
        }
        if let Some(holder) = &row.holder
            && had.as_ref() != Some(holder)
        {
            assert!(row.fence.0 > fence, "{} was granted without a higher fence", row.id);
            assert!(had.is_none(), "{} was given to {} while {had:?} had it", row.id, holder.session);
            assert_eq!(row.condition, Condition::Present, "an absent instance was given away");
            assert!(row.drain_until_ms.is_none(), "a draining instance was given away");
            grown.insert(holder.session.clone());
            self.held.entry(holder.session.clone()).or_default().insert(row.id);
        }
        if let Some(had) = had
            && row.holder.is_none()
        {
            assert!(row.fence.0 > fence, "{} was freed under its old fence", row.id);
            let held = self.held.get_mut(&had.session).expect("it held something");
            assert!(held.remove(&row.id));
            if held.is_empty() {
                self.held.remove(&had.session);
            }
            lost.insert(had.session);
        }
        self.fences.insert(row.id, row.fence.0);
    }

    /// A gang is there as a whole, or as a whole less what was lost, and never more.
    fn gangs(&mut self, effect: &Effect, grown: &BTreeSet<SessionId>, lost: &BTreeSet<SessionId>) {
        for notice in &effect.notices {
            match notice {
                Notice::Granted { session, repair: false, .. } => {
                    self.granted.insert(session.clone());
                    assert!(grown.contains(session), "{session} was granted nothing");
                }
                Notice::Closed { session, .. } => {
                    self.granted.remove(session);
                }
                _ => {}
            }
        }
        for session in grown {
            let row = &self.sessions[session];
            assert!(!ended(row.phase) && row.queued_ms == 0, "{session} holds and waits or has ended");
            assert!(self.granted.contains(session), "{session} grew without a grant");
            let (trainers, environments) = self.gang_of(session);
            assert_eq!(trainers, row.gang.trainers as usize, "{session}: trainers of its gang");
            assert_eq!(
                environments,
                (0..row.gang.simulators).collect::<Vec<_>>(),
                "{session}: its environments"
            );
        }
        for session in lost {
            let row = &self.sessions[session];
            if ended(row.phase) || (row.phase == Phase::Queued && !self.granted.contains(session)) {
                assert_eq!(self.holds(session), 0, "{session} ended or was sent back, and holds something");
            }
        }
        if let Ok(Outcome::Granted { members, .. }) = &effect.answer {
            let mut seen = BTreeSet::new();
            assert!(members.iter().all(|member| seen.insert(member.instance)), "a member twice: {members:?}");
        }
    }

    fn gang_of(&self, session: &SessionId) -> (usize, Vec<u32>) {
        let rows: Vec<&InstanceRow> =
            self.held.get(session).into_iter().flatten().map(|id| &self.instances[id]).collect();
        let trainers = rows.iter().filter(|row| row.role == Role::Trainer).count();
        let simulators = rows.iter().filter(|row| row.role == Role::Simulator);
        let mut environments: Vec<u32> =
            simulators.filter_map(|row| row.holder.as_ref()).map(|holder| holder.env_index).collect();
        environments.sort_unstable();
        (trainers, environments)
    }

    /// Labels and GPUs at the moment of a grant.
    fn capacity(&self, session: &SessionId) {
        let row = &self.sessions[session];
        for id in &self.held[session] {
            let instance = &self.instances[id];
            if instance.role == Role::Trainer {
                assert!(
                    instance.gpus.len() >= row.gang.training_gpus as usize,
                    "a trainer with too few GPUs"
                );
                assert!(
                    instance.memory_mb >= row.gang.training_memory_mb,
                    "a trainer with too little memory"
                );
            } else if row.mode == neuro::fleet::spec::Mode::Manual {
                let has = row.requires.iter().all(|(key, value)| instance.labels.get(key) == Some(value));
                assert!(has, "{session} requires {:?}, got {:?}", row.requires, instance.labels);
            }
            for gpu in &instance.gpus {
                self.gpu(&instance.node, &gpu.uuid);
            }
        }
    }

    fn within_quota(&self, session: &SessionId) {
        let row = &self.sessions[session];
        let quota = self.quota(&row.owner);
        let (mut sessions, mut simulators, mut gpus) = (0, 0, 0);
        for (id, held) in &self.held {
            if self.sessions[id].owner != row.owner {
                continue;
            }
            sessions += 1;
            for instance in held.iter().map(|id| &self.instances[id]) {
                match instance.role {
                    Role::Simulator => simulators += 1,
                    Role::Trainer => gpus += instance.gpus.len() as u32,
                }
            }
        }
        let within = |limit: u32, used: u32| limit == 0 || used <= limit;
        assert!(within(quota.max_sessions, sessions), "{} holds {sessions} sessions: {quota:?}", row.owner);
        assert!(
            within(quota.max_simulators, simulators),
            "{} holds {simulators} simulators: {quota:?}",
            row.owner
        );
        let trains = self.held[session].iter().any(|id| {
            let instance = &self.instances[id];
            instance.role == Role::Trainer && !instance.gpus.is_empty()
        });
        assert!(
            !trains || within(quota.max_training_gpus, gpus),
            "{} holds {gpus} GPUs: {quota:?}",
            row.owner
        );
    }

    fn gpu(&self, node: &str, uuid: &str) {
        let users = self.instances.values().filter(|row| {
            row.holder.is_some() && row.node == node && row.gpus.iter().any(|gpu| gpu.uuid == uuid)
        });
        let users: Vec<&InstanceRow> = users.collect();
        let slots =
            users.iter().map(|row| self.slots.get(&row.pool).copied().unwrap_or(1)).min().unwrap_or(1);
        assert!(
            users.len() <= slots as usize,
            "{} instances on {node}'s {uuid} of {slots} slots",
            users.len()
        );
    }
}
