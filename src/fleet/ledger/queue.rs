//! Whose turn it is: by priority; within one, the owner with the least of the fleet by weight; within an owner, the oldest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::gang::Wanted;
use super::owners::share_of;
use super::tables::Tables;
use super::usage;
use crate::fleet::ids::SessionId;
use crate::fleet::rows::{Condition, Role, SessionRow};
use crate::fleet::spec::Priority;

/// Priorities, the first served first.
pub(super) const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// The queue as it would be served if everything fitted.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    sessions: Vec<SessionId>,
    places: BTreeMap<SessionId, u32>,
}

/// A session's place in its owner's line.
type Place = (Reverse<Priority>, i64, SessionId);

/// Goes through the sessions of one priority, turn by turn. Shares are looked at when a turn is given, so what was
/// granted meanwhile counts.
pub(super) struct Walk {
    priority: Priority,
    turns: BTreeSet<(u64, i64, String)>,
    last: BTreeMap<String, Place>,
    /// Instances on top of what owners hold, of grants that are only imagined.
    imagined: BTreeMap<String, u64>,
    again: Option<String>,
}

impl Walk {
    pub(super) fn new(tables: &Tables, priority: Priority) -> Self {
        let mut walk = Self {
            priority,
            turns: BTreeSet::new(),
            last: BTreeMap::new(),
            imagined: BTreeMap::new(),
            again: None,
        };
        for owner in tables.waiting.keys() {
            walk.queue_up(tables, owner);
        }
        walk
    }

    fn next_place<'a>(&self, tables: &'a Tables, owner: &str) -> Option<&'a Place> {
        let start = match self.last.get(owner) {
            Some(place) => Bound::Excluded(place.clone()),
            None => Bound::Unbounded,
        };
        let mut places = tables.waiting.get(owner)?.range((start, Bound::Unbounded));
        match self.last.get(owner) {
            Some(_) => places.next().filter(|place| place.0.0 == self.priority),
            None => {
                places.find(|place| place.0.0 <= self.priority).filter(|place| place.0.0 == self.priority)
            }
        }
    }

    fn queue_up(&mut self, tables: &Tables, owner: &str) {
        let Some(place) = self.next_place(tables, owner) else { return };
        let extra = self.imagined.get(owner).copied().unwrap_or(0);
        let share = tables.share(owner).saturating_add(share_of(extra, tables.quota(owner).weight));
        self.turns.insert((share, place.1, owner.to_owned()));
    }

    /// The next session, whether or not the one before was granted.
    pub(super) fn next(&mut self, tables: &Tables) -> Option<SessionId> {
        if let Some(owner) = self.again.take() {
            self.queue_up(tables, &owner);
        }
        let (_, _, owner) = self.turns.pop_first()?;
        let place = self.next_place(tables, &owner)?.clone();
        let session = place.2.clone();
        self.last.insert(owner.clone(), place);
        self.again = Some(owner);
        Some(session)
    }
}

impl Order {
    fn of(tables: &Tables) -> Self {
        let mut order = Self::default();
        for priority in PRIORITIES {
            let mut walk = Walk::new(tables, priority);
            while let Some(id) = walk.next(tables) {
                if let Some(row) = tables.sessions.get(&id) {
                    let size = u64::from(row.gang.simulators) + u64::from(row.gang.trainers);
                    *walk.imagined.entry(row.owner.clone()).or_default() += size;
                }
                order.places.insert(id.clone(), order.sessions.len() as u32 + 1);
                order.sessions.push(id);
            }
        }
        order
    }
}

impl Tables {
    fn order(&self) -> &Order {
        self.order.get_or_init(|| Order::of(self))
    }

    /// Sessions that wait, the next one first.
    #[must_use]
    pub fn queue(&self) -> &[SessionId] {
        &self.order().sessions
    }

    /// How many sessions wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.waiting.values().map(BTreeSet::len).sum()
    }

    /// A session's place in the queue, from 1; 0 when it is not there.
    #[must_use]
    pub fn position(&self, session: &SessionId) -> u32 {
        if self.waiting.is_empty() {
            return 0;
        }
        self.order().places.get(session).copied().unwrap_or(0)
    }

    /// What a session waits for, in words: `2 simulators`, `quota: 3 of 3 sessions in use`. Empty when it does not wait.
    #[must_use]
    pub fn waiting_for(&self, session: &SessionId) -> String {
        let Some(row) = self.sessions.get(session) else { return String::new() };
        if !super::tables::waits(row) && !self.short.contains(session) {
            return String::new();
        }
        self.lack_of(row)
    }

    /// What keeps a session from being granted.
    pub(super) fn lack_of(&self, row: &SessionRow) -> String {
        let most_gpus = if self.short.contains(&row.id) {
            None
        } else {
            match self.allowance(row, &usage::month(self.accounted_ms.max(row.queued_ms))) {
                Ok(most_gpus) => most_gpus,
                Err(quota) => return quota,
            }
        };
        let wanted = Wanted::of(row, self.missing(row), most_gpus);
        let pick = self.pick(&wanted, &BTreeSet::new());
        let mut lacks = Vec::new();
        if wanted.missing.trainer && pick.trainer.is_none() {
            lacks.push(self.or_nowhere(&wanted, Role::Trainer, 1, wanted.trainer_text()));
        }
        let short = wanted.missing.environments.len().saturating_sub(pick.simulators.len());
        if short > 0 {
            let count = wanted.missing.environments.len();
            lacks.push(self.or_nowhere(&wanted, Role::Simulator, count, wanted.simulators_text(short)));
        }
        if lacks.is_empty() {
            return "its turn: what is free is kept for a session before it".to_owned();
        }
        lacks.join(" and ")
    }

    /// Says so when even the whole fleet has not enough of that sort.
    fn or_nowhere(&self, wanted: &Wanted, role: Role, count: usize, text: String) -> String {
        let there = |row: &&crate::fleet::rows::InstanceRow| {
            row.role == role && row.condition != Condition::Lost && wanted.suits(row)
        };
        let has = self.instances.values().filter(there).take(count).count();
        if has >= count { text } else { format!("{text} (the fleet has {has} of that sort)") }
    }
}
