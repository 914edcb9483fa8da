//! One command at a time: what it changes, whom it concerns, and what its sender hears.

use std::collections::{BTreeMap, BTreeSet};

use super::schedule::Scheduler;
use super::tables::{Tables, available};
use super::{Change, Command, Effect, LedgerOptions, Notice, Outcome};
use crate::fleet::error::FleetError;
use crate::fleet::event::EventKind;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::rows::{EventRow, InstanceRow, Phase, Role, SessionRow, ended};
use crate::proto::neuro::ext::PhaseChange;

/// The books. Commands are judged before anything is written: one that is refused leaves nothing behind.
#[derive(Debug)]
pub struct Ledger {
    pub(super) tables: Tables,
    pub(super) options: LedgerOptions,
    pub(super) now_ms: i64,
    pub(super) changes: Vec<Change>,
    pub(super) notices: Vec<Notice>,
    pub(super) scheduler: Scheduler,
    /// Whom a replacement replaces.
    pub(super) vacated: BTreeMap<(SessionId, Role, u32), InstanceId>,
    /// Taken from a session since it last stood: others are tried before they are given back.
    pub(super) avoided: BTreeMap<SessionId, BTreeSet<InstanceId>>,
    /// Something came free: look at the queue.
    pub(super) freed: bool,
}

impl Ledger {
    /// Books over what the store holds.
    #[must_use]
    pub fn new(mut tables: Tables, options: LedgerOptions) -> Self {
        tables.set_options(&options);
        Self {
            tables,
            options,
            now_ms: 0,
            changes: Vec::new(),
            notices: Vec::new(),
            scheduler: Scheduler::default(),
            vacated: BTreeMap::new(),
            avoided: BTreeMap::new(),
            freed: false,
        }
    }

    /// The rows as they are after the last command, durable or not.
    #[must_use]
    pub const fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Back to what is durable: what was written since could not be kept.
    pub fn reset(&mut self, durable: Tables) {
        let now_ms = self.now_ms;
        *self = Self::new(durable, std::mem::take(&mut self.options));
        self.now_ms = now_ms;
    }

    /// Carries out one command at `now_ms` (Unix). Time never goes back here, whatever the clock does.
    pub fn apply(&mut self, now_ms: i64, command: Command) -> Effect {
        self.now_ms = self.now_ms.max(now_ms);
        self.changes.clear();
        self.notices.clear();
        self.freed = false;
        let answer = self.dispatch(command);
        if answer.is_ok() && self.freed {
            self.run_queue();
        }
        debug_assert!(answer.is_ok() || self.changes.is_empty(), "{answer:?} left {:?}", self.changes);
        Effect {
            answer,
            changes: std::mem::take(&mut self.changes),
            notices: std::mem::take(&mut self.notices),
        }
    }

    fn dispatch(&mut self, command: Command) -> Result<Outcome, FleetError> {
        match command {
            Command::Register(registration) => self.register(registration),
            Command::Away(instance) => self.away(instance),
            Command::Lost { instance, reason } => self.lost(instance, &reason),
            Command::Evict { instance, reason } => self.evict(instance, &reason),
            Command::Forget(instance) => self.forget(instance),
            Command::Open(open) => self.open(open),
            Command::Abandon { session, reason } => self.abandon(&session, &reason),
            Command::Advance { session, from, to, reason } => self.advance(&session, &from, to, &reason),
            Command::Close { session, to, reason, requeue_from } => {
                self.close(&session, to, &reason, requeue_from)
            }
            Command::Repair(session) => self.repair_asked(&session),
            Command::Record { session, events } => self.record(&session, events),
            Command::Drain { instances, until_ms } => self.drain(&instances, Some(until_ms)),
            Command::Undrain(instances) => self.drain(&instances, None),
            Command::SetQuota { owner, quota } => self.set_quota(owner, quota),
            Command::SetControl { session, instance, holder, user, expires_ms, expect, renew } => {
                let lease = super::control::Lease { holder, user, expires_ms, renew };
                self.set_control(&session, instance, lease, expect)
            }
            Command::AddSnapshot(row) => {
                self.put(Change::Snapshot(row));
                Ok(Outcome::Done)
            }
            Command::AddDemonstration(row) => self.add_demonstration(row),
            Command::ForgetDemonstrations(ids) => {
                ids.into_iter().for_each(|id| self.put(Change::DemonstrationGone(id)));
                Ok(Outcome::Done)
            }
            Command::Prune { ended_before_ms } => self.prune(ended_before_ms),
            Command::Tick => self.tick(),
        }
    }

    pub(super) fn put(&mut self, change: Change) {
        match &change {
            Change::Instance(row) => self.freed |= available(row),
            Change::Session(row) => self.freed |= ended(row.phase),
            Change::Quota { .. } => self.freed = true,
            _ => {}
        }
        self.tables.apply(&change);
        self.changes.push(change);
    }

    pub(super) fn put_instance(&mut self, row: InstanceRow) {
        self.put(Change::Instance(row));
    }

    pub(super) fn put_session(&mut self, row: SessionRow) {
        self.put(Change::Session(row));
    }

    /// A higher fence for an instance that stays where it is.
    pub(super) fn raise(&mut self, id: InstanceId) {
        if let Some(mut row) = self.tables.instances.get(&id).cloned() {
            row.fence.0 += 1;
            self.put_instance(row);
        }
    }

    /// Adds to a session's log, and drops what is too old of it.
    pub(super) fn log(&mut self, id: &SessionId, kind: EventKind) {
        let Some(mut session) = self.tables.sessions.get(id).cloned() else { return };
        session.last_seq += 1;
        let event = EventRow { session: id.clone(), seq: session.last_seq, at_ms: self.now_ms, kind };
        let kept = i64::try_from(self.options.events_kept.max(1)).unwrap_or(i64::MAX);
        // In steps, so that a long log is not trimmed at every event.
        let step = (kept / 8).max(1);
        let upto = session.last_seq - kept;
        self.put_session(session);
        self.put(Change::Event(event.clone()));
        self.notices.push(Notice::Logged(event));
        if upto > 0 && upto % step == 0 {
            self.put(Change::EventsGone { session: id.clone(), upto });
        }
    }

    /// Moves a session to another phase, and says so in its log. Nothing when it is there already.
    pub(super) fn enter(&mut self, id: &SessionId, to: Phase, reason: &str) {
        let Some(mut session) = self.tables.sessions.get(id).cloned() else { return };
        let from = session.phase;
        if from == to {
            return;
        }
        session.phase = to;
        session.reason = reason.to_owned();
        self.put_session(session);
        let change = PhaseChange { from: from.into(), to: to.into(), reason: reason.to_owned() };
        self.log(id, EventKind::Phase(change));
    }

    pub(super) fn session(&self, id: &SessionId) -> Result<&SessionRow, FleetError> {
        self.tables.sessions.get(id).ok_or_else(|| FleetError::not_found("session", id))
    }

    pub(super) fn instance(&self, id: InstanceId) -> Result<&InstanceRow, FleetError> {
        self.tables.instances.get(&id).ok_or_else(|| FleetError::not_found("instance", id))
    }
}
