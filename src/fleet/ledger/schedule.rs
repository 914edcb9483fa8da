//! Giving instances away: repairs first, then the queue. A session that waited longer than `patience` has what comes free
//! kept for it, so a large gang is not passed for ever by small ones.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::gang::{Pick, Wanted};
use super::queue::{PRIORITIES, Walk};
use super::tables::Tables;
use super::transact::Ledger;
use super::{Member, Notice, usage};
use crate::fleet::event::EventKind;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::rows::{Holder, Phase, Role, SessionRow};
use crate::proto::neuro::ext::InstanceChange;

/// So many grants to younger sessions of its priority, after its patience, bring a session to the front.
const OVERTAKEN: u32 = 32;

/// What is not in the rows: how the queue was left.
#[derive(Debug, Clone, Default)]
pub(super) struct Scheduler {
    /// For whom what came free is kept, and what that is.
    kept: Option<(SessionId, BTreeSet<InstanceId>)>,
    /// How often younger sessions passed one that had lost its patience.
    overtaken: BTreeMap<SessionId, u32>,
}

enum Attempt {
    Granted,
    /// Its owner may have no more.
    Quota,
    /// Too little is free.
    Short(Wanted),
}

impl Ledger {
    /// Gives a session what it misses, if that is free and not kept for another.
    fn attempt(&mut self, row: &SessionRow, kept: &BTreeSet<InstanceId>) -> Attempt {
        let Ok(most_gpus) = self.tables.allowance(row, &usage::month(self.now_ms)) else {
            return Attempt::Quota;
        };
        let wanted = Wanted::of(row, self.tables.missing(row), most_gpus);
        let pick = self.tables.pick(&wanted, kept);
        if pick.completes(&wanted) {
            self.grant(row, &pick);
            return Attempt::Granted;
        }
        Attempt::Short(wanted)
    }

    /// Gives a session that is new in the queue its gang, if nobody before it is kept waiting by that. The row need not
    /// be in the tables yet: nothing is written unless it is granted.
    pub(super) fn attempt_now(&mut self, row: &SessionRow) -> bool {
        let kept = match &self.scheduler.kept {
            Some((first, kept)) if !self.goes_before(row, first) => kept.clone(),
            _ => BTreeSet::new(),
        };
        if matches!(self.attempt(row, &kept), Attempt::Granted) {
            if let Some((_, kept)) = &mut self.scheduler.kept {
                let held = self.tables.held.get(&row.id);
                kept.retain(|id| held.is_none_or(|held| !held.contains(id)));
            }
            return true;
        }
        false
    }

    /// Whether a new session is served before one that waits.
    fn goes_before(&self, new: &SessionRow, other: &SessionId) -> bool {
        let Some(other) = self.tables.sessions.get(other) else { return true };
        if new.priority != other.priority {
            return new.priority > other.priority;
        }
        let overtaken = self.scheduler.overtaken.get(&other.id).copied().unwrap_or(0) >= OVERTAKEN;
        !overtaken && self.tables.share(&new.owner) < self.tables.share(&other.owner)
    }

    /// Serves everybody who can be served with what is free.
    pub(super) fn run_queue(&mut self) {
        for id in self.tables.short.clone() {
            self.repair(&id);
        }
        self.scheduler.kept = None;
        if self.tables.waiting.is_empty() {
            self.scheduler.overtaken.clear();
            return;
        }
        let mut failed = BTreeSet::new();
        for priority in PRIORITIES {
            let old = self.scheduler.overtaken.iter().filter(|(_, times)| **times >= OVERTAKEN);
            let first = old.filter_map(|(id, _)| self.tables.sessions.get(id));
            let first = first.filter(|row| row.priority == priority).min_by_key(|row| row.queued_ms);
            if let Some(id) = first.map(|row| row.id.clone()) {
                self.serve(&id, &mut failed);
            }
            let mut walk = Walk::new(&self.tables, priority);
            while let Some(id) = walk.next(&self.tables) {
                if self.nothing_free() {
                    return;
                }
                self.serve(&id, &mut failed);
            }
        }
        let tables = &self.tables;
        self.scheduler.overtaken.retain(|id, _| tables.sessions.get(id).is_some_and(super::tables::waits));
    }

    fn nothing_free(&self) -> bool {
        let kept = self.scheduler.kept.as_ref().map_or(0, |(_, kept)| kept.len());
        self.tables.idle(Role::Simulator) + self.tables.idle(Role::Trainer) <= kept
    }

    fn serve(&mut self, id: &SessionId, failed: &mut BTreeSet<u64>) {
        let Some(row) = self.tables.sessions.get(id).filter(|row| super::tables::waits(row)).cloned() else {
            return;
        };
        let kept = match &self.scheduler.kept {
            Some((session, _)) if session == id => return,
            Some((_, kept)) => kept.clone(),
            None => BTreeSet::new(),
        };
        let Ok(most_gpus) = self.tables.allowance(&row, &usage::month(self.now_ms)) else { return };
        let wanted = Wanted::of(&row, self.tables.missing(&row), most_gpus);
        let mut hasher = DefaultHasher::new();
        wanted.hash(&mut hasher);
        let known = failed.contains(&hasher.finish());
        if !known {
            let pick = self.tables.pick(&wanted, &kept);
            if pick.completes(&wanted) {
                self.grant(&row, &pick);
                return;
            }
            failed.insert(hasher.finish());
        }
        let waited = self.now_ms.saturating_sub(row.queued_ms);
        if self.scheduler.kept.is_none()
            && u128::try_from(waited).is_ok_and(|ms| ms >= self.options.patience.as_millis())
        {
            let pick = self.tables.pick(&wanted, &kept);
            self.scheduler.kept = Some((id.clone(), pick.instances().collect()));
        }
    }

    /// Counts who was passed by a session that came later.
    fn count_overtaken(&mut self, by: &SessionRow) {
        let patience = i64::try_from(self.options.patience.as_millis()).unwrap_or(i64::MAX);
        for places in self.tables.waiting.values() {
            // The oldest of the owner in this priority stands for all of them.
            let first = places.iter().find(|place| place.0.0 == by.priority);
            let Some((_, queued_ms, id)) = first else { continue };
            let younger = by.queued_ms == 0 || by.queued_ms > *queued_ms;
            if *id != by.id && younger && self.now_ms.saturating_sub(*queued_ms) >= patience {
                *self.scheduler.overtaken.entry(id.clone()).or_default() += 1;
            }
        }
    }

    /// Writes a grant: fences up, holders in, the session out of the queue.
    fn grant(&mut self, row: &SessionRow, pick: &Pick) {
        self.count_overtaken(row);
        self.scheduler.overtaken.remove(&row.id);
        let mut session = row.clone();
        session.queued_ms = 0;
        session.granted_ms = self.now_ms;
        // In the tables before anything is charged to it.
        self.put_session(session);
        for member in self.tables.members(&row.id) {
            self.raise(member.instance);
        }
        let upgraded = self.tables.members(&row.id);
        let mut members = self.hand_over(&row.id, pick);
        members.extend(upgraded);
        members.sort_by_key(|member| (std::cmp::Reverse(member.role), member.env_index));
        self.enter(&row.id, Phase::Allocating, "its instances are granted");
        self.notices.push(Notice::Granted { session: row.id.clone(), members, repair: false });
    }

    /// Makes picked instances members.
    fn hand_over(&mut self, id: &SessionId, pick: &Pick) -> Vec<Member> {
        let places =
            pick.trainer.map(|trainer| (0, trainer)).into_iter().chain(pick.simulators.iter().copied());
        let mut members = Vec::new();
        for (env_index, instance) in places {
            let Some(mut row) = self.tables.instances.get(&instance).cloned() else { continue };
            row.fence.0 += 1;
            row.holder = Some(Holder { session: id.clone(), env_index, since_ms: self.now_ms });
            members.extend(super::member::of(&row));
            let change = match self.vacated.remove(&(id.clone(), row.role, env_index)) {
                Some(before) => InstanceChange {
                    instance_id: before.to_string(),
                    event: "replaced".to_owned(),
                    replaced_by: instance.to_string(),
                },
                None => InstanceChange {
                    instance_id: instance.to_string(),
                    event: "granted".to_owned(),
                    replaced_by: String::new(),
                },
            };
            self.put_instance(row);
            self.log(id, EventKind::Instance(change));
        }
        members
    }

    /// Gives a granted session others for the members that it lost, all of them or none.
    pub(super) fn repair(&mut self, id: &SessionId) -> bool {
        let Some(row) = self.tables.sessions.get(id).cloned() else { return false };
        if !self.tables.short.contains(id) || row.phase == Phase::Stopping {
            return false;
        }
        let others =
            self.tables.used(&row.owner).without(self.tables.charges.get(id).copied().unwrap_or_default());
        let limit = self.tables.quota(&row.owner).max_training_gpus;
        let most_gpus = (limit != 0).then(|| limit.saturating_sub(others.training_gpus));
        let wanted = Wanted::of(&row, self.tables.missing(&row), most_gpus);
        let pick = self.tables.pick(&wanted, &BTreeSet::new());
        if !pick.completes(&wanted) {
            return false;
        }
        let members = self.hand_over(id, &pick);
        self.notices.push(Notice::Granted { session: id.clone(), members, repair: true });
        true
    }
}

impl Tables {
    /// Low sessions to stop so that this one finds enough, the youngest first; `None` when that would not help, empty
    /// when it needs none. Sessions that a person drives are never among them.
    #[must_use]
    pub fn victims_for(&self, session: &SessionId) -> Option<Vec<SessionId>> {
        let row = self.sessions.get(session)?;
        let wanted =
            Wanted::of(row, self.missing(row), self.allowance(row, &usage::month(row.queued_ms)).ok()?);
        let mut imagined = self.clone();
        let mut low: Vec<&SessionRow> = self.active().filter(|low| self.may_yield(low, row)).collect();
        low.sort_by_key(|low| std::cmp::Reverse(low.granted_ms));
        let mut victims = Vec::new();
        let mut low = low.into_iter();
        while !imagined.pick(&wanted, &BTreeSet::new()).completes(&wanted) {
            let victim = low.next()?;
            for member in self.members(&victim.id) {
                if let Some(mut row) = imagined.instances.get(&member.instance).cloned() {
                    row.holder = None;
                    imagined.apply(&super::Change::Instance(row));
                }
            }
            victims.push(victim.id.clone());
        }
        Some(victims)
    }

    fn may_yield(&self, low: &SessionRow, to: &SessionRow) -> bool {
        use crate::fleet::spec::Priority;
        use crate::proto::neuro::ext::Controller;
        let driven = |id: &SessionId| {
            let from = (id.clone(), InstanceId(uuid::Uuid::nil()));
            let rows = self.controls.range(from..).take_while(|((session, _), _)| session == id);
            rows.into_iter().any(|(_, row)| row.holder == Controller::Human)
        };
        low.priority == Priority::Low
            && to.priority > Priority::Low
            && low.phase != Phase::Stopping
            && self.held.contains_key(&low.id)
            && !driven(&low.id)
    }
}
