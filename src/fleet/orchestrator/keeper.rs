//! Once a second: the queue, lifetimes, drains, preemption, and how much the pools should grow.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{Orchestrator, WeakOrchestrator};
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ids::SessionId;
use crate::fleet::ledger::Command;
use crate::fleet::rows::{Phase, Role, SessionRow};
use crate::fleet::session::house::seconds;
use crate::fleet::spec::{Mode, Priority};

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// A session that could not be stopped for another is left alone for so long.
const PREEMPT_AGAIN: Duration = Duration::from_secs(30);
/// Between two looks for sessions that ended long ago.
const PRUNE: Duration = Duration::from_secs(60);

/// Until the orchestrator is gone.
pub(super) async fn run(this: WeakOrchestrator) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pruned = Instant::now();
    let busy = Busy::default();
    loop {
        rounds.tick().await;
        let Some(this) = this.upgrade() else { return };
        if let Err(error) = this.books().apply(Command::Tick).await {
            warn!(%error, "the queue was not looked at");
            continue;
        }
        this.end_lives(&busy);
        this.preempt_for_waiting(&busy);
        this.drain_round(&busy);
        this.tell_pools();
        if pruned.elapsed() >= PRUNE {
            pruned = Instant::now();
            this.prune().await;
        }
    }
}

/// Sessions that something is being done to in the background: nothing is begun twice.
#[derive(Debug, Clone, Default)]
pub(super) struct Busy {
    at: Arc<Mutex<HashSet<SessionId>>>,
    /// Those that were not preempted when they should have been, and when that was.
    refused: Arc<Mutex<HashMap<SessionId, Instant>>>,
}

impl Busy {
    /// Does it beside the rounds, unless something is being done to this session already.
    pub(super) fn spawn(
        &self,
        session: &SessionId,
        what: &'static str,
        work: impl Future<Output = Result<(), FleetError>> + Send + 'static,
    ) {
        if !self.at.lock().unwrap_or_else(PoisonError::into_inner).insert(session.clone()) {
            return;
        }
        let (busy, session) = (Arc::clone(&self.at), session.clone());
        tokio::spawn(async move {
            match work.await {
                Ok(()) => info!(%session, what, "done"),
                Err(error) => warn!(%session, what, %error, "not done"),
            }
            busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&session);
        });
    }

    /// Sessions that are not asked to make way again so soon.
    fn refused(&self) -> BTreeSet<SessionId> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.retain(|_, at| at.elapsed() < PREEMPT_AGAIN);
        refused.keys().cloned().collect()
    }
}

impl Orchestrator {
    fn end_lives(&self, busy: &Busy) {
        let now = now_ms();
        let active: Vec<SessionRow> = self.books().read(|tables| tables.active().cloned().collect());
        for row in active {
            let (id, this) = (row.id.clone(), self.clone());
            if row.queued_ms != 0 {
                if let Some(reason) = self.waited_too_long(&row, now) {
                    let abandon = Command::Abandon { session: row.id, reason };
                    busy.spawn(&id, "abandon", async move { this.books().apply(abandon).await.map(|_| ()) });
                }
            } else if row.phase != Phase::Stopping
                && let Some(reason) = self.lived_too_long(&row, now)
            {
                busy.spawn(&id, "end", async move { this.end(&row, reason).await });
            }
        }
    }

    fn waited_too_long(&self, row: &SessionRow, now: i64) -> Option<String> {
        let queue = &self.fleet_settings().queue;
        let waited = since(now, row.queued_ms);
        if row.mode == Mode::Manual {
            let asked = self.house().known(&row.id).map_or(0, |live| live.touched_ms()).max(row.queued_ms);
            let alone = since(now, asked);
            return seconds(queue.abandon_s)
                .filter(|limit| alone > *limit)
                .map(|limit| format!("nobody asked about it for {} s while it waited", limit.as_secs()));
        }
        let limit = seconds(queue.timeout_s).filter(|limit| waited > *limit)?;
        Some(format!("it waited longer than {} s", limit.as_secs()))
    }

    fn lived_too_long(&self, row: &SessionRow, now: i64) -> Option<String> {
        let life = self.life_of(row.mode);
        let mode = row.mode;
        if let Some(limit) = life.most.filter(|limit| since(now, row.granted_ms) > *limit) {
            return Some(format!("a {mode} session lives {} s at most", limit.as_secs()));
        }
        let idle = life.idle?;
        let live = self.house().live(&row.id)?;
        (since(now, self.last_life_ms(row, &live, now)) > idle)
            .then(|| format!("it was idle for {} s", idle.as_secs()))
    }

    async fn end(&self, row: &SessionRow, reason: String) -> Result<(), FleetError> {
        if row.mode.trains() {
            self.last_checkpoint(&row.id).await;
        }
        self.close(&row.id, Phase::Stopped, reason).await.map(|_| ())
    }

    /// Stops low sessions for one that is high and has waited long enough. Those that a person is at are passed over: if
    /// the others are not enough, it waits.
    fn preempt_for_waiting(&self, busy: &Busy) {
        let Some(after) = seconds(self.fleet_settings().queue.preempt_after_s) else { return };
        let now = now_ms();
        let found = self.books().read(|tables| {
            let mut waiting = tables.queue().iter().filter_map(|id| tables.sessions.get(id));
            let waiting = waiting
                .find(|row| row.priority == Priority::High && since(now, row.queued_ms) > after)?
                .id
                .clone();
            let low = tables.active().filter(|row| row.priority == Priority::Low && row.mode == Mode::Manual);
            Some((waiting, low.cloned().collect::<Vec<_>>()))
        });
        let Some((waiting, low)) = found else { return };
        let mut spared = busy.refused();
        spared.extend(low.into_iter().filter(|row| self.attended(row, now)).map(|row| row.id));
        let victims = self.books().read(|tables| tables.victims_for(&waiting, &spared));
        for victim in victims.unwrap_or_default() {
            let (this, id, refused) = (self.clone(), victim.clone(), Arc::clone(&busy.refused));
            let reason = format!("{waiting} has a higher priority");
            busy.spawn(&victim, "preempt", async move {
                let preempted = this.preempt(&id, &reason, true).await.map(|_| ());
                if preempted.is_err() {
                    refused.lock().unwrap_or_else(PoisonError::into_inner).insert(id, Instant::now());
                }
                preempted
            });
        }
    }

    /// What waiting and recovering sessions lack beyond what is idle.
    fn tell_pools(&self) {
        let [simulators, trainers] = self.books().read(|tables| {
            let mut lack = [0_u32; 2];
            for row in tables.active() {
                if row.queued_ms != 0 && tables.waiting_for(&row.id).starts_with("quota") {
                    continue;
                }
                let members = tables.members(&row.id);
                let has = |role| members.iter().filter(|member| member.role == role).count();
                let lacks =
                    |wanted: u32, role| wanted.saturating_sub(u32::try_from(has(role)).unwrap_or(u32::MAX));
                if row.phase != Phase::Stopping {
                    lack[0] = lack[0].saturating_add(lacks(row.gang.simulators, Role::Simulator));
                    lack[1] = lack[1].saturating_add(lacks(row.gang.trainers, Role::Trainer));
                }
            }
            let idle = |role| u32::try_from(tables.idle(role)).unwrap_or(u32::MAX);
            [lack[0].saturating_sub(idle(Role::Simulator)), lack[1].saturating_sub(idle(Role::Trainer))]
        });
        self.inner.pools.demand(Role::Simulator, simulators);
        self.inner.pools.demand(Role::Trainer, trainers);
    }

    /// Sessions that ended long ago go with their logs and checkpoints; snapshots and demonstrations stay.
    pub(super) async fn prune(&self) {
        let Some(kept) = seconds(self.fleet_settings().sessions.keep_ended_s) else { return };
        let ended_before_ms = now_ms().saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX));
        let old: Vec<SessionId> = self.books().read(|tables| {
            let old = tables.sessions.values();
            old.filter(|row| row.ended_ms != 0 && row.ended_ms < ended_before_ms)
                .map(|row| row.id.clone())
                .collect()
        });
        if old.is_empty() {
            return;
        }
        // Before the row, so that nothing is left of it that nobody remembers.
        for session in &old {
            self.remove_checkpoints(session).await;
        }
        match self.books().apply(Command::Prune { ended_before_ms }).await {
            Err(error) => warn!(%error, "old sessions stay"),
            Ok(_) => {
                for session in &old {
                    self.house().forget(session);
                    self.house().memos.forget(session);
                }
                info!(sessions = old.len(), "forgot sessions that ended long ago");
                self.forget_demonstrations().await;
            }
        }
    }

    /// Demonstrations that no session shows any more stay in the books for as long as their files are there.
    async fn forget_demonstrations(&self) {
        let orphans = self.books().read(|tables| {
            let rows = tables.demonstrations.values();
            let orphans = rows.filter(|row| !tables.sessions.contains_key(&row.session));
            orphans.cloned().collect::<Vec<_>>()
        });
        let gone = move || orphans.into_iter().filter(|row| !row.is_kept()).map(|row| row.demonstration.id);
        let gone = tokio::task::spawn_blocking(|| gone().collect::<Vec<_>>()).await.unwrap_or_default();
        if !gone.is_empty()
            && let Err(error) = self.books().apply(Command::ForgetDemonstrations(gone)).await
        {
            warn!(%error, "demonstrations without files stay in the books");
        }
    }
}

/// Time since, as the wall clock has it.
fn since(now_ms: i64, then_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(now_ms.saturating_sub(then_ms)).unwrap_or(0))
}
