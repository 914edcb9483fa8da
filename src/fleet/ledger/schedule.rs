//! Giving instances away: repairs first, then the queue. A session that waited longer than `patience` has what comes free
//! kept for it, so a large gang is not passed for ever by small ones. Nothing is kept for one that the whole fleet is too
//! small for.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::gang::{Pick, Supply, Wanted};
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
    /// What is free but kept for sessions that miss members.
    repairs: BTreeSet<InstanceId>,
    /// The session in the queue that lost its patience.
    first: Option<SessionId>,
    /// What is free but kept for repairs and for `first`.
    kept: BTreeSet<InstanceId>,
    /// How often younger sessions passed one that had lost its patience.
    overtaken: BTreeMap<SessionId, u32>,
}

/// What was looked at in one run through the queue, so that a thousand equal sessions are looked at once.
#[derive(Default)]
struct Run {
    /// There is not enough free for these.
    short: BTreeSet<u64>,
    /// The whole fleet is not enough for these: nothing is kept for them.
    hopeless: BTreeSet<u64>,
}

fn hash_of(wanted: &Wanted) -> u64 {
    let mut hasher = DefaultHasher::new();
    wanted.hash(&mut hasher);
    hasher.finish()
}

impl Ledger {
    /// What a session still needs; `None` when its owner may have no more.
    fn wanted(&self, row: &SessionRow) -> Option<Wanted> {
        let most_gpus = self.tables.allowance(row, &usage::month(self.now_ms)).ok()?;
        Some(Wanted::of(row, self.tables.missing(row), most_gpus))
    }

    /// Gives a session that is new in the queue its gang, if that takes nothing from a session before it. The row need not
    /// be in the tables yet: nothing is written unless it is granted.
    pub(super) fn attempt_now(&mut self, row: &SessionRow) -> bool {
        let Some(wanted) = self.wanted(row) else { return false };
        let before = self.scheduler.first.as_ref().is_none_or(|first| self.goes_before(row, first));
        let kept = if before { &self.scheduler.repairs } else { &self.scheduler.kept };
        let pick = self.tables.pick(&wanted, Supply::Free, kept);
        let complete = pick.completes(&wanted);
        if complete {
            self.grant(row, &pick);
        }
        complete
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
        self.run_repairs();
        self.scheduler.first = None;
        self.scheduler.kept = self.scheduler.repairs.clone();
        let tables = &self.tables;
        self.scheduler.overtaken.retain(|id, _| tables.sessions.get(id).is_some_and(super::tables::waits));
        let mut run = Run::default();
        for priority in PRIORITIES {
            let old = self.scheduler.overtaken.iter().filter(|(_, times)| **times >= OVERTAKEN);
            let old = old.filter_map(|(id, _)| self.tables.sessions.get(id));
            let first = old.filter(|row| row.priority == priority).min_by_key(|row| row.queued_ms);
            if let Some(id) = first.map(|row| row.id.clone()) {
                self.serve(&id, &mut run);
            }
            let mut walk = Walk::new(&self.tables, priority);
            while !self.nothing_free()
                && let Some(id) = walk.next(&self.tables)
            {
                self.serve(&id, &mut run);
            }
        }
    }

    /// Tries every repair, then keeps what is left for those that could not be made.
    fn run_repairs(&mut self) {
        for id in self.tables.short.clone() {
            self.repair(&id);
        }
        self.scheduler.repairs.clear();
        for row in self.tables.short.iter().filter_map(|id| self.tables.sessions.get(id)) {
            let wanted = Wanted::of(row, self.tables.missing(row), self.gpus_left(row));
            if row.phase != Phase::Stopping && self.tables.best_case(row, &wanted).completes(&wanted) {
                let pick = self.tables.pick(&wanted, Supply::Free, &self.scheduler.repairs);
                self.scheduler.repairs.extend(pick.instances());
            }
        }
    }

    fn nothing_free(&self) -> bool {
        self.tables.idle(Role::Simulator) + self.tables.idle(Role::Trainer) <= self.scheduler.kept.len()
    }

    fn serve(&mut self, id: &SessionId, run: &mut Run) {
        let Some(row) = self.tables.sessions.get(id).filter(|row| super::tables::waits(row)) else { return };
        let Some(wanted) = self.wanted(row) else { return };
        let hash = hash_of(&wanted);
        if self.scheduler.first.as_ref() == Some(id) {
            return;
        }
        if !run.short.contains(&hash) {
            let pick = self.tables.pick(&wanted, Supply::Free, &self.scheduler.kept);
            if pick.completes(&wanted) {
                let row = row.clone();
                self.grant(&row, &pick);
                return;
            }
            run.short.insert(hash);
        }
        let waited_ms = u128::try_from(self.now_ms.saturating_sub(row.queued_ms)).unwrap_or(0);
        let impatient = self.scheduler.first.is_none() && waited_ms >= self.options.patience.as_millis();
        if !impatient || run.hopeless.contains(&hash) {
            return;
        }
        if self.tables.best_case(row, &wanted).completes(&wanted) {
            let pick = self.tables.pick(&wanted, Supply::Free, &self.scheduler.kept);
            self.scheduler.kept.extend(pick.instances());
            self.scheduler.first = Some(id.clone());
        } else {
            run.hopeless.insert(hash);
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

    /// GPUs that its owner's quota leaves for a granted session's trainer.
    fn gpus_left(&self, row: &SessionRow) -> Option<u32> {
        let limit = self.tables.quota(&row.owner).max_training_gpus;
        let own = self.tables.charges.get(&row.id).copied().unwrap_or_default();
        let others = self.tables.used(&row.owner).without(own);
        (limit != 0).then(|| limit.saturating_sub(others.training_gpus))
    }

    /// Gives a granted session others for the members that it lost, all of them or none.
    pub(super) fn repair(&mut self, id: &SessionId) -> bool {
        let Some(row) = self.tables.sessions.get(id) else { return false };
        if !self.tables.short.contains(id) || row.phase == Phase::Stopping {
            return false;
        }
        let wanted = Wanted::of(row, self.tables.missing(row), self.gpus_left(row));
        let avoided = self.avoided.get(id);
        let mut pick = self.tables.pick(&wanted, Supply::Free, avoided.unwrap_or(&BTreeSet::new()));
        if avoided.is_some() && !pick.completes(&wanted) {
            pick = self.tables.pick(&wanted, Supply::Free, &BTreeSet::new());
        }
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
    /// when it needs none. Sessions under a person's lease are never among them, nor are those to be `spared`: who
    /// watches is not in the books.
    #[must_use]
    pub fn victims_for(&self, session: &SessionId, spared: &BTreeSet<SessionId>) -> Option<Vec<SessionId>> {
        let row = self.sessions.get(session)?;
        let wanted =
            Wanted::of(row, self.missing(row), self.allowance(row, &usage::month(row.queued_ms)).ok()?);
        let mut imagined = self.clone();
        let mut low: Vec<&SessionRow> = self.active().collect();
        low.retain(|low| self.may_yield(low, row) && !spared.contains(&low.id));
        low.sort_by_key(|low| std::cmp::Reverse(low.granted_ms));
        let mut victims = Vec::new();
        let mut low = low.into_iter();
        while !imagined.pick(&wanted, Supply::Free, &BTreeSet::new()).completes(&wanted) {
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
