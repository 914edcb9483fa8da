//! Keeps one pool's sizes: looks at what is there, makes a [`plan`](super::plan) and carries it out, about once a second
//! and whenever something happened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};

use super::backoff::Backoff;
use super::members::{Member, Members, Over};
use super::plan::{self, Limits, Seen};
use super::{Board, Kept, Standing};
use crate::fleet::backend::Birth;
use crate::fleet::books::Books;
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ids::InstanceId;
use crate::fleet::ledger::Command;
use crate::fleet::link::Links;
use crate::fleet::rows::{Condition, InstanceRow, Role};

/// How often it looks without a cause.
const LOOK: Duration = Duration::from_secs(1);
/// How long an instance may take to attach where the pool does not say.
const START_LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Keeper {
    index: usize,
    pools: Arc<Vec<Kept>>,
    board: Arc<Board>,
    books: Books,
    links: Links,
    limits: Limits,
    start_limit: Duration,
    members: Members,
    backoff: Backoff,
    trouble: String,
    /// The trouble is that the backend does not answer.
    unasked: bool,
    /// Ended here; the books can forget them once nobody holds them.
    ashes: Vec<InstanceId>,
}

impl Keeper {
    pub(super) fn new(
        index: usize,
        pools: Arc<Vec<Kept>>,
        board: Arc<Board>,
        books: Books,
        links: Links,
    ) -> Self {
        let settings = pools.get(index).map(|kept| kept.settings.clone()).unwrap_or_default();
        let start_limit = Duration::try_from_secs_f64(settings.start_limit_s).unwrap_or_default();
        let start_limit = if start_limit.is_zero() { START_LIMIT } else { start_limit };
        Self {
            index,
            limits: Limits::of(&settings),
            start_limit,
            pools,
            board,
            books,
            links,
            members: Members::default(),
            backoff: Backoff::default(),
            trouble: String::new(),
            unasked: false,
            ashes: Vec::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let pools = Arc::clone(&self.pools);
        let Some(kept) = pools.get(self.index) else { return };
        if !kept.backend.elastic() {
            return;
        }
        let board = Arc::clone(&self.board);
        let (stopped, mut failures) = mpsc::channel(16);
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wake = board.wake.notified();
            self.look(kept, &stopped).await;
            tokio::select! {
                _ = ticks.tick() => {}
                () = wake => {}
                () = kept.backend.changed() => {}
                Some(failure) = failures.recv() => self.trouble = failure,
            }
        }
    }

    async fn look(&mut self, kept: &Kept, stopped: &mpsc::Sender<String>) {
        let now = Instant::now();
        match kept.backend.list().await {
            Ok(provided) => {
                if std::mem::take(&mut self.unasked) {
                    self.trouble.clear();
                }
                for over in self.members.provided(provided, now) {
                    self.over(over, now).await;
                }
            }
            Err(error) => {
                // What is not known is not added to: it might be there already.
                self.unasked = true;
                self.complain(format!("{} can not be asked: {error}", kept.backend.kind()));
                self.publish(kept, &[]);
                return;
            }
        }
        self.bury().await;
        let rows = self.rows(&kept.settings.name);
        let (seen, settled) = self.members.seen(&rows, now);
        if settled && self.backoff.doubts() {
            self.backoff.succeeded();
            self.trouble.clear();
        }
        for (id, trouble) in self.members.too_slow(self.start_limit, now) {
            self.complain(trouble);
            self.backoff.failed(now);
            self.stop(kept, id, stopped);
        }
        self.publish(kept, &seen);
        // While the whole fleet drains, nothing is started and nothing retired: it is to be there again afterwards.
        let fleet_drains = self.books.read(|tables| tables.drain_until_ms.is_some());
        if fleet_drains || self.board.closed.load(Ordering::Relaxed) {
            return;
        }
        let plan = plan::plan(self.limits, self.needed(kept), &seen);
        for id in plan.stop {
            let attached = rows.iter().any(|row| row.id == id);
            let started_here = self.members.all.contains_key(&id);
            if started_here && (!attached || self.retire(id).await) {
                self.stop(kept, id, stopped);
            }
        }
        self.grow(kept, plan.start, &rows, now).await;
        let (seen, _) = self.members.seen(&rows, now);
        self.publish(kept, &seen);
    }

    async fn grow(&mut self, kept: &Kept, wanted: u32, rows: &[InstanceRow], now: Instant) {
        if self.backoff.waits(now) {
            return;
        }
        let starting =
            self.members.all.values().any(|member| member.attached_at.is_none() && !member.stopping);
        let wanted = match (self.backoff.doubts(), starting) {
            (true, true) => 0,
            (true, false) => wanted.min(1),
            (false, _) => wanted,
        };
        let mut births = Vec::new();
        for _ in 0..wanted {
            let name = self.members.free_name(&kept.settings.name, rows);
            let instance = InstanceId::new();
            self.members.all.insert(instance, Member::new(name.clone(), now));
            births.push(Birth { instance, name });
        }
        let (seen, _) = self.members.seen(rows, now);
        self.publish(kept, &seen);
        let starts = births.into_iter().map(|birth| async {
            let instance = birth.instance;
            (instance, kept.backend.start(birth).await)
        });
        for (instance, started) in join_all(starts).await {
            if let Err(error) = started {
                self.members.all.remove(&instance);
                self.complain(error.to_string());
                self.backoff.failed(now);
            }
        }
    }

    /// Takes an idle one out of use. `false`: a session was quicker.
    async fn retire(&self, id: InstanceId) -> bool {
        let drained = self.books.read(|tables| tables.instances.get(&id).map(|row| row.drain_until_ms));
        if drained == Some(None) {
            let drain = Command::Drain { instances: vec![id], until_ms: now_ms() };
            if let Err(error) = self.books.apply(drain).await {
                warn!(instance = %id, %error, "not drained");
                return false;
            }
        }
        let held =
            self.books.read(|tables| tables.instances.get(&id).is_some_and(|row| row.holder.is_some()));
        if held && let Err(error) = self.books.apply(Command::Undrain(vec![id])).await {
            warn!(instance = %id, %error, "stays drained although a session was quicker");
        }
        !held
    }

    fn stop(&mut self, kept: &Kept, id: InstanceId, failures: &mpsc::Sender<String>) {
        let Some(member) = self.members.all.get_mut(&id) else { return };
        member.stopping = true;
        info!(instance = %id, name = member.name, pool = kept.settings.name, "stopping");
        let (backend, failures, name) = (Arc::clone(&kept.backend), failures.clone(), member.name.clone());
        tokio::spawn(async move {
            if let Err(error) = backend.stop(id).await {
                drop(failures.send(format!("{name} was not stopped: {error}")).await);
            }
        });
    }

    async fn over(&mut self, over: Over, now: Instant) {
        if over.failure {
            self.complain(over.reason.clone());
            self.backoff.failed(now);
        }
        self.links.ended(over.instance, &over.reason).await;
        self.ashes.push(over.instance);
    }

    /// The books forget those that ended, once they are nobody's.
    async fn bury(&mut self) {
        let mut left = Vec::new();
        for id in std::mem::take(&mut self.ashes) {
            let row = self
                .books
                .read(|tables| tables.instances.get(&id).map(|row| (row.condition, row.holder.is_some())));
            let forget = match row {
                None => continue,
                Some((Condition::Lost, false)) => self.books.apply(Command::Forget(id)).await,
                Some(_) => Err(FleetError::internal("not lost yet")),
            };
            if forget.is_err() {
                left.push(id);
            }
        }
        self.ashes = left;
    }

    fn rows(&self, pool: &str) -> Vec<InstanceRow> {
        let mine = |row: &&InstanceRow| row.pool == pool || self.members.all.contains_key(&row.id);
        self.books.read(|tables| tables.instances.values().filter(mine).cloned().collect())
    }

    /// What waiting sessions want of this pool, after what others of its role have and what those before it can start.
    fn needed(&self, kept: &Kept) -> u32 {
        let wanted = self.board.wanted.get(&kept.role).map_or(0, |slot| slot.load(Ordering::Relaxed));
        let others = self.pools.iter().enumerate().filter(|(_, other)| other.role == kept.role);
        let theirs = others.filter(|(index, _)| *index != self.index).map(|(index, other)| {
            let standing = other.standing();
            let first = index < self.index && standing.trouble.is_empty();
            let growing = if first { standing.starting.saturating_add(standing.room) } else { 0 };
            standing.idle.saturating_add(growing)
        });
        wanted.min(self.lacked(kept.role)).saturating_sub(theirs.fold(0, u32::saturating_add))
    }

    /// What sessions lack by the books: what was granted a moment ago is not wanted any more, whatever was said before.
    fn lacked(&self, role: Role) -> u32 {
        self.books.read(|tables| {
            let lacked = tables.active().map(|row| {
                let gang = if role == Role::Trainer { row.gang.trainers } else { row.gang.simulators };
                let has = tables.members(&row.id).iter().filter(|member| member.role == role).count();
                gang.saturating_sub(u32::try_from(has).unwrap_or(u32::MAX))
            });
            lacked.fold(0, u32::saturating_add)
        })
    }

    fn publish(&self, kept: &Kept, seen: &[Seen]) {
        let live = plan::live(seen);
        let standing = Standing {
            starting: plan::starting(seen),
            idle: plan::idle(seen),
            room: self.limits.max.saturating_sub(live),
            trouble: self.trouble.clone(),
        };
        *kept.standing.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = standing;
    }

    fn complain(&mut self, trouble: String) {
        if self.trouble != trouble {
            warn!(pool = self.pools.get(self.index).map(|kept| kept.settings.name.as_str()), trouble, "pool");
        }
        self.trouble = trouble;
    }
}
