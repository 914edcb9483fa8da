//! What a keeper remembers of each instance it started.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::plan::{Doing, Seen};
use crate::fleet::backend::{Provided, Provision};
use crate::fleet::ids::InstanceId;
use crate::fleet::rows::{Condition, InstanceRow};

/// An instance that lived so long after it attached was started well.
const SETTLED: Duration = Duration::from_secs(10);

/// A cluster may take so long to list what it was just given.
const LISTED_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) since: Instant,
    /// `None`: it waits for its turn in a cluster.
    pub(super) running_since: Option<Instant>,
    pub(super) attached_at: Option<Instant>,
    pub(super) stopping: bool,
    /// It did not attach within this time, and is being ended for that.
    pub(super) too_slow: Option<Duration>,
}

impl Member {
    pub(super) fn new(name: String, now: Instant) -> Self {
        let (running_since, attached_at) = (None, None);
        Self { name, since: now, running_since, attached_at, stopping: false, too_slow: None }
    }

    /// Ended on its own before it was of use.
    pub(super) fn failed_early(&self, now: Instant) -> bool {
        let settled = self.attached_at.is_some_and(|attached| now.duration_since(attached) >= SETTLED);
        !self.stopping && !settled
    }
}

#[derive(Debug, Default)]
pub(super) struct Members {
    pub(super) all: BTreeMap<InstanceId, Member>,
    idle_since: BTreeMap<InstanceId, Instant>,
}

/// One that is over.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) instance: InstanceId,
    pub(super) reason: String,
    /// Against the pool's command.
    pub(super) failure: bool,
}

impl Members {
    /// Takes in what the backend says.
    pub(super) fn provided(&mut self, provided: Vec<Provided>, now: Instant) -> Vec<Over> {
        let there: BTreeSet<InstanceId> = provided.iter().map(|one| one.instance).collect();
        let mut over = Vec::new();
        for one in provided {
            match one.state {
                Provision::Ended { reason } => over.push(self.end(one.instance, reason, now)),
                Provision::Waiting => {
                    self.all.entry(one.instance).or_insert_with(|| Member::new(one.name, now));
                }
                Provision::Running => {
                    let member = self.all.entry(one.instance).or_insert_with(|| Member::new(one.name, now));
                    member.running_since.get_or_insert(now);
                }
            }
        }
        let absent = self.all.iter().filter(|(id, _)| !there.contains(id));
        let absent = absent.filter(|(_, member)| now.duration_since(member.since) >= LISTED_WITHIN);
        let vanished: Vec<InstanceId> = absent.map(|(id, _)| *id).collect();
        for id in vanished {
            let name = self.all.get(&id).map(|member| member.name.clone()).unwrap_or_default();
            over.push(self.end(id, format!("{name} is not there any more"), now));
        }
        over
    }

    fn end(&mut self, instance: InstanceId, reason: String, now: Instant) -> Over {
        let member = self.all.remove(&instance);
        let failure =
            member.as_ref().is_some_and(|member| member.failed_early(now) || member.too_slow.is_some());
        let too_slow = member.and_then(|member| Some((member.name, member.too_slow?)));
        let reason = match too_slow {
            Some((name, limit)) => format!("{}; {reason}", did_not_attach(&name, limit)),
            None => reason,
        };
        Over { instance, reason, failure }
    }

    /// Takes in what the books say; `true` when one has settled.
    pub(super) fn seen(&mut self, rows: &[InstanceRow], now: Instant) -> (Vec<Seen>, bool) {
        let mut settled = false;
        let mut seen = Vec::with_capacity(rows.len() + self.all.len());
        let mut here = BTreeSet::new();
        for row in rows.iter().filter(|row| row.condition != Condition::Lost) {
            here.insert(row.id);
            let member = self.all.get_mut(&row.id);
            let stopping = member.as_ref().is_some_and(|member| member.stopping);
            if let Some(member) = member.filter(|_| row.condition == Condition::Present) {
                settled |= now.duration_since(*member.attached_at.get_or_insert(now)) >= SETTLED;
            }
            let doing = if stopping { Doing::Stopping } else { self.doing(row, now) };
            seen.push(Seen { instance: row.id, doing });
        }
        for (id, member) in self.all.iter().filter(|(id, _)| !here.contains(id)) {
            let doing = if member.stopping {
                Doing::Stopping
            } else if member.running_since.is_none() {
                Doing::Waiting(now.duration_since(member.since))
            } else {
                Doing::Starting
            };
            seen.push(Seen { instance: *id, doing });
        }
        self.idle_since.retain(|id, _| here.contains(id));
        (seen, settled)
    }

    fn doing(&mut self, row: &InstanceRow, now: Instant) -> Doing {
        let idle = row.holder.is_none() && row.drain_until_ms.is_none();
        if !idle || row.condition != Condition::Present {
            self.idle_since.remove(&row.id);
        }
        if row.holder.is_some() {
            Doing::Held
        } else if row.drain_until_ms.is_some() {
            Doing::Drained
        } else if row.condition == Condition::Present {
            Doing::Idle(now.duration_since(*self.idle_since.entry(row.id).or_insert(now)))
        } else {
            Doing::Away
        }
    }

    /// Those whose time to attach is over, with a sentence.
    pub(super) fn too_slow(&mut self, limit: Duration, now: Instant) -> Vec<(InstanceId, String)> {
        let late = self.all.iter_mut().filter(|(_, member)| {
            let runs = member.running_since.is_some_and(|since| now.duration_since(since) >= limit);
            runs && member.attached_at.is_none() && !member.stopping
        });
        late.map(|(id, member)| {
            member.too_slow = Some(limit);
            (*id, did_not_attach(&member.name, limit))
        })
        .collect()
    }

    /// The first free of `pool-1`, `pool-2`, ...
    pub(super) fn free_name(&self, pool: &str, rows: &[InstanceRow]) -> String {
        let here = rows.iter().filter(|row| row.condition != Condition::Lost).map(|row| row.name.as_str());
        let taken: BTreeSet<&str> =
            here.chain(self.all.values().map(|member| member.name.as_str())).collect();
        let free =
            (1_u32..).map(|number| format!("{pool}-{number}")).find(|name| !taken.contains(name.as_str()));
        free.unwrap_or_else(|| pool.to_owned())
    }
}

fn did_not_attach(name: &str, limit: Duration) -> String {
    format!("{name} did not attach within {} s", limit.as_secs_f64())
}
