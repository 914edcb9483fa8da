//! Whose turn it is: by priority; within one, the owner with the least of the fleet by weight; within an owner, the oldest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::gang::{Supply, Wanted};
use super::owners::share_of;
use super::tables::Tables;
use super::usage;
use crate::fleet::ids::SessionId;
use crate::fleet::rows::SessionRow;
use crate::fleet::spec::Priority;

/// Priorities, the first served first.
pub(super) const PRIORITIES: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

/// The queue as it would be served if everything fitted.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    sessions: Vec<SessionId>,
}

/// A session's place in its owner's line.
type Place = (Reverse<Priority>, i64, SessionId);

/// Goes through the sessions of one priority, turn by turn. Shares are looked at when a turn is given, so what was
/// granted meanwhile counts.
pub(super) struct Walk {
    priority: Priority,
    turns: BTreeSet<(u64, i64, String)>,
    last: BTreeMap<String, Place>,
    again: Option<String>,
}

impl Walk {
    pub(super) fn new(tables: &Tables, priority: Priority) -> Self {
        let mut walk = Self { priority, turns: BTreeSet::new(), last: BTreeMap::new(), again: None };
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
        self.turns.insert((tables.share(owner), place.1, owner.to_owned()));
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

/// An owner's sessions of one priority.
struct Line<'a, I: Iterator<Item = &'a Place>> {
    places: std::iter::Peekable<I>,
    held: u64,
    weight: u32,
}

impl Order {
    fn of(tables: &Tables) -> Self {
        let mut order = Self::default();
        for priority in PRIORITIES {
            let lines = tables.waiting.iter().map(|(owner, places)| {
                let used = tables.used(owner);
                Line {
                    places: places.iter().filter(|place| place.0.0 == priority).peekable(),
                    held: u64::from(used.simulators) + u64::from(used.trainers),
                    weight: tables.quota(owner).weight,
                }
            });
            order.append(tables, lines.collect());
        }
        order
    }

    /// Turn by turn, as if everything were granted.
    fn append<'a, I: Iterator<Item = &'a Place>>(&mut self, tables: &Tables, mut lines: Vec<Line<'a, I>>) {
        let mut turns = BTreeSet::new();
        let mut next = (0..lines.len()).collect::<Vec<_>>();
        loop {
            for index in next.drain(..) {
                if let Some(line) = lines.get_mut(index)
                    && let Some(place) = line.places.peek()
                {
                    turns.insert((share_of(line.held, line.weight), place.1, index));
                }
            }
            let Some((_, _, index)) = turns.pop_first() else { return };
            let Some(line) = lines.get_mut(index) else { return };
            let Some((_, _, id)) = line.places.next() else { return };
            if let Some(row) = tables.sessions.get(id) {
                line.held += u64::from(row.gang.simulators) + u64::from(row.gang.trainers);
            }
            self.sessions.push(id.clone());
            next.push(index);
        }
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
        if !self.sessions.get(session).is_some_and(super::tables::waits) {
            return 0;
        }
        self.queue().iter().position(|id| id == session).map_or(0, |place| place as u32 + 1)
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
        let pick = self.pick(&wanted, Supply::Free, &BTreeSet::new());
        let whole = self.best_case(row, &wanted);
        let mut lacks = Vec::new();
        if wanted.missing.trainer && pick.trainer.is_none() {
            let unlimited = Wanted { most_gpus: None, ..wanted.clone() };
            if whole.trainer.is_some() {
                lacks.push(wanted.trainer_text());
            } else if self.best_case(row, &unlimited).trainer.is_some() {
                let (used, limit) =
                    (self.used(&row.owner).training_gpus, self.quota(&row.owner).max_training_gpus);
                lacks
                    .push(format!("quota: {used} of {limit} training GPUs in use, and no trainer has fewer"));
            } else {
                lacks.push(wanted.trainer_text() + " (the fleet has none)");
            }
        }
        let count = wanted.missing.environments.len();
        if pick.simulators.len() < count {
            let text = wanted.simulators_text(count - pick.simulators.len());
            let has = whole.simulators.len();
            lacks.push(if has < count { format!("{text} (the fleet has {has} of {count})") } else { text });
        }
        if lacks.is_empty() {
            return "its turn: what is free is kept for sessions before it".to_owned();
        }
        lacks.join(" and ")
    }
}
