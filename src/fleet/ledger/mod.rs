//! The books: who has what. Pure and single-threaded: a [`Command`] and the time go in, row changes and an answer come
//! out. Nothing here reads a clock, a disk or a socket, so the rules can be tested a million steps at a time; the
//! writer (`fleet::books`) makes the changes durable before anybody hears of them.

mod control;
mod gang;
mod instances;
mod member;
mod open;
mod owners;
mod queue;
mod schedule;
mod sessions;
mod tables;
mod transact;
mod usage;

use std::time::Duration;

pub use owners::Charge;
pub use tables::Tables;
pub use transact::Ledger;

use super::error::FleetError;
use super::event::EventKind;
use super::ids::{Fence, InstanceId, SessionId};
use super::rows::{
    ControlRow, DemonstrationRow, Endpoints, EventRow, GpuRef, InstanceRow, Phase, Quota, Role, SessionRow,
    SnapshotRow,
};
use super::spec::{Gang, Mode, Priority, Requirements};
use crate::proto::neuro::ext::Controller;

/// What an instance says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its UUID.
    pub id: InstanceId,
    /// Its display name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The pool it was started for.
    pub pool: String,
    /// The machine it runs on.
    pub node: String,
    /// Its version.
    pub version: String,
    /// What it can do.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Its GPUs.
    pub gpus: Vec<GpuRef>,
    /// Its memory, in MiB.
    pub memory_mb: u64,
    /// Where to reach it.
    pub endpoints: Endpoints,
    /// The session it says it still runs, and under which fence.
    pub holding: Option<(SessionId, Fence)>,
}

/// A request for a session.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenSession {
    /// Its id.
    pub id: SessionId,
    /// Who pays.
    pub owner: String,
    /// Who drives.
    pub mode: Mode,
    /// In the queue.
    pub priority: Priority,
    /// What is granted together.
    pub gang: Gang,
    /// Labels its simulators must carry.
    pub requires: Requirements,
    /// The encoded spec.
    pub spec: Vec<u8>,
    /// Of the request.
    pub request_hash: [u8; 32],
    /// Wait in the queue when nothing is free (`true`), or be refused at once and leave nothing behind.
    pub may_queue: bool,
    /// Start from this snapshot; empty for none.
    pub restore_from: String,
}

/// A change that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// An instance is there (again).
    Register(Registration),
    /// Its stream broke: the lease clock runs (`fleet::link` keeps the clock).
    Away(InstanceId),
    /// Its lease ran out, or its process ended: its session needs another.
    Lost {
        /// Which.
        instance: InstanceId,
        /// Why: a sentence for the event log.
        reason: String,
    },
    /// Take it from its session, which is given another, without doubting that it is there: the end of a drain.
    Evict {
        /// Which.
        instance: InstanceId,
        /// Why.
        reason: String,
    },
    /// It was stopped on purpose and is nobody's: forget it. Refused while held.
    Forget(InstanceId),
    /// Make, find or upgrade a session. The same id with the same hash finds; a manual session with a training or
    /// hybrid request of the same owner is upgraded (its simulator stays environment 0, fence raised); anything else
    /// that exists is a conflict.
    Open(OpenSession),
    /// Nobody waits for a queued session any more: it is stopped. One that waits for its upgrade stays what it was
    /// before, a manual session.
    Abandon {
        /// Which; refused unless it waits.
        session: SessionId,
        /// Why.
        reason: String,
    },
    /// A session goes from one phase to another without giving anything back.
    Advance {
        /// Which.
        session: SessionId,
        /// Only from one of these; empty: from any that has not ended.
        from: Vec<Phase>,
        /// To.
        to: Phase,
        /// Why.
        reason: String,
    },
    /// A session ends: its instances are free. Idempotent: ending an ended one releases nothing.
    Close {
        /// Which.
        session: SessionId,
        /// Stopped, completed, failed or preempted.
        to: Phase,
        /// Why.
        reason: String,
        /// Whether a preempted session goes back to the queue, from this snapshot (empty: from the beginning).
        requeue_from: Option<String>,
    },
    /// A session that misses members (lost ones) is given others of the same kind, if they are free. The books try it
    /// by themselves at the loss and whenever something comes free; asking is never wrong.
    Repair(SessionId),
    /// Entries for a session's log: progress, demonstrations, training ends.
    Record {
        /// Whose.
        session: SessionId,
        /// What.
        events: Vec<EventKind>,
    },
    /// No new sessions on these; all of them when empty.
    Drain {
        /// Which.
        instances: Vec<InstanceId>,
        /// Until when their sessions may stay, Unix ms.
        until_ms: i64,
    },
    /// The end of draining; of all when empty.
    Undrain(Vec<InstanceId>),
    /// An owner's limits.
    SetQuota {
        /// Who.
        owner: String,
        /// The limits.
        quota: Quota,
    },
    /// Who drives an instance. Raises the control fence.
    SetControl {
        /// The session.
        session: SessionId,
        /// One of its simulators.
        instance: InstanceId,
        /// Person, policy, or nobody.
        holder: Controller,
        /// The person.
        user: String,
        /// When the lease ends, Unix ms; 0 for never.
        expires_ms: i64,
        /// Refused unless this is the fence in force; `None`: whatever it is.
        expect: Option<Fence>,
        /// Keep the fence: a renewal, not a take-over.
        renew: bool,
    },
    /// A snapshot was written.
    AddSnapshot(SnapshotRow),
    /// A demonstration was written (and its event).
    AddDemonstration(DemonstrationRow),
    /// Demonstrations whose files are gone, by id.
    ForgetDemonstrations(Vec<String>),
    /// Sessions that ended before then go, with their logs. Snapshots and demonstrations stay.
    Prune {
        /// Unix ms.
        ended_before_ms: i64,
    },
    /// Look at the queue, and account GPU time: sent about once a second.
    Tick,
}

/// One member of a granted gang.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The instance.
    pub instance: InstanceId,
    /// Its role.
    pub role: Role,
    /// Which environment; 0 for the trainer.
    pub env_index: u32,
    /// The fence of this grant.
    pub fence: Fence,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Done; nothing more to say.
    Done,
    /// What a registered instance does now.
    Registered {
        /// The fence in force.
        fence: Fence,
        /// The session it holds; `None`: it is to drop whatever it runs.
        keep: Option<SessionId>,
    },
    /// The session has its gang (also when it had it before).
    Granted {
        /// All members.
        members: Vec<Member>,
        /// Whether this command granted something.
        fresh: bool,
    },
    /// The session waits.
    Queued {
        /// From 1; 0 for a session that waits for replacements of lost members, which come before the queue.
        position: u32,
        /// What it waits for: `2 simulators`, `quota: 3 sessions`.
        waiting_for: String,
    },
    /// The session has ended already.
    Ended(Phase),
    /// These are free now; empty when they were before.
    Released(Vec<(InstanceId, Fence)>),
    /// The control lease.
    Control(ControlRow),
}

/// What others must hear of after the commit, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// A session has (new) members: drive it. Sent for every grant: at once, after waiting, of an upgrade, of a repair.
    Granted {
        /// Which.
        session: SessionId,
        /// The new ones, and environment 0 of an upgraded session, which goes on under a new fence.
        members: Vec<Member>,
        /// Whether the session is being repaired: the trainer hears of replaced environments.
        repair: bool,
    },
    /// An instance is nobody's now: tell it to drop what it ran.
    Freed {
        /// Which.
        instance: InstanceId,
        /// The fence that it is freed under (already raised: the old orders are stale).
        fence: Fence,
    },
    /// A session lost a member, and no replacement was free.
    Short {
        /// Which.
        session: SessionId,
    },
    /// A session ended.
    Closed {
        /// Which.
        session: SessionId,
        /// How.
        phase: Phase,
    },
    /// The log grew.
    Logged(EventRow),
}

/// A row that changed: what the store writes, and what readers see after the commit.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An instance was added or changed.
    Instance(InstanceRow),
    /// An instance was forgotten.
    InstanceGone(InstanceId),
    /// A session was added or changed.
    Session(SessionRow),
    /// A log entry was added.
    Event(EventRow),
    /// Who drives.
    Control(ControlRow),
    /// Nobody: the session ended.
    ControlGone(SessionId),
    /// A session that ended long ago, with its log.
    SessionGone(SessionId),
    /// Events up to this number were dropped from the front of a log.
    EventsGone {
        /// Whose.
        session: SessionId,
        /// The last one that is gone.
        upto: i64,
    },
    /// The whole fleet drains, or no longer does: instances that register meanwhile drain too.
    Fleet {
        /// Until when sessions may stay, Unix ms.
        drain_until_ms: Option<i64>,
    },
    /// GPU time is accounted up to then.
    Accounted {
        /// Unix ms.
        at_ms: i64,
    },
    /// Limits of an owner.
    Quota {
        /// Who.
        owner: String,
        /// The limits.
        quota: Quota,
    },
    /// GPU seconds of an owner in a month (`2026-11`), the whole sum.
    Usage {
        /// Who.
        owner: String,
        /// Which month.
        month: String,
        /// The sum.
        gpu_seconds: f64,
    },
    /// A snapshot.
    Snapshot(SnapshotRow),
    /// A demonstration.
    Demonstration(DemonstrationRow),
    /// A demonstration whose files are gone: its id.
    DemonstrationGone(String),
}

/// Settings of the books.
#[derive(Debug, Clone, PartialEq)]
pub struct LedgerOptions {
    /// Limits of owners that have none of their own.
    pub default_quota: Quota,
    /// How many sessions may use one GPU at once, by pool; 1 where a pool is not named.
    pub slots_per_gpu: std::collections::BTreeMap<String, u32>,
    /// While the first in the queue has waited less, smaller ones behind it may pass; afterwards what comes free is kept for it.
    pub patience: Duration,
    /// Events kept of each session; older ones are dropped from the front.
    pub events_kept: usize,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        Self {
            default_quota: Quota::default(),
            slots_per_gpu: std::collections::BTreeMap::new(),
            patience: Duration::from_secs(30),
            events_kept: 10_000,
        }
    }
}

/// What a command leads to: an answer for its sender, rows for the store, notices for the rest of the house.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// For the sender.
    pub answer: Result<Outcome, FleetError>,
    /// For the store. Empty when the answer is an error.
    pub changes: Vec<Change>,
    /// For the house, after the commit.
    pub notices: Vec<Notice>,
}
