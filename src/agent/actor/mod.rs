//! The actor of an instance: it alone changes it, one operation after the other, whoever asked and whether they still wait.

mod create;
mod delete;
mod end;
mod order;
mod recover;
mod start;
mod stop;
mod turn;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, warn};

use super::audit::{Entry, now_ms};
use super::common::Common;
use super::console::Source;
use super::driver::{Driver, Ground};
use super::error::AgentError;
use super::face::Face;
use super::id::InstanceId;
use super::record::{Record, State};

pub(super) use order::{Begin, Message, Order};

/// Messages that wait while one is carried out.
const PENDING: usize = 64;

/// Why a run could not be ended.
#[derive(Debug)]
enum Cut {
    /// The agent ends: the operation stays in the journal for its next life.
    Ending,
    Failed(AgentError),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Actor {
    common: Arc<Common>,
    face: Arc<Face>,
    record: Record,
    ground: Ground,
    driver: Option<Arc<dyn Driver>>,
    inbox: mpsc::Receiver<Message>,
    pending: VecDeque<Message>,
    running: Option<Source>,
    /// When something is tried again: a start by policy, a deletion, a look at what could not be seen.
    due: Option<Instant>,
    /// Attempts in a row that failed, of what `due` is about.
    attempts: u32,
    /// Its driver could not say how it stands.
    lost: bool,
    /// When to write again what could not be written.
    unwritten: Option<Instant>,
}

impl Actor {
    pub(super) fn new(common: Arc<Common>, face: Arc<Face>, inbox: mpsc::Receiver<Message>) -> Self {
        let record = Record::clone(&face.record());
        let ground = Ground {
            id: record.id.clone(),
            spec: face.spec.clone(),
            folder: common.store.folder(&record.id),
            sockets: common.store.sockets(&record.id),
            devices: record.devices.clone(),
        };
        let driver = common.driver_named(record.spec.kind, &record.driver);
        Self {
            common,
            face,
            record,
            ground,
            driver,
            inbox,
            pending: VecDeque::new(),
            running: None,
            due: None,
            attempts: 0,
            lost: false,
            unwritten: None,
        }
    }

    /// Until the instance is gone or the agent ends.
    pub(super) async fn run(mut self, begin: Begin) {
        if let Err(panic) = AssertUnwindSafe(self.keep(begin)).catch_unwind().await {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words");
            error!(id = %self.id(), words, "the keeper of an instance broke");
            let reason =
                format!("its keeper broke ({words}): how it stands is known when the agent is restarted");
            self.common.registry.lose(&self.face, reason);
            self.face.runs(None);
        }
        // What is said from here on is for the next life.
        self.face.hub.finish(Duration::ZERO).await;
    }

    async fn audit<T>(
        &self,
        caller: &str,
        order: Order,
        asked: std::time::Instant,
        outcome: &Result<T, AgentError>,
    ) {
        let mut entry = Entry::new(caller, order.name(), self.id().as_str(), outcome);
        entry.detail = order.detail();
        entry.took_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.common.audit.write(&entry).await;
    }

    fn id(&self) -> &InstanceId {
        &self.ground.id
    }

    fn driver(&self) -> Result<Arc<dyn Driver>, AgentError> {
        self.driver.clone().ok_or_else(|| {
            let Record { id, driver, spec, .. } = &self.record;
            let kind = spec.kind.name();
            AgentError::Precondition(format!(
                "instance {id} is of driver {driver:?} for {kind}, which this agent does not have"
            ))
        })
    }

    /// Writes what is about to be done. When that fails, nothing was done.
    async fn intend(&mut self, mut next: Record, step: &str) -> Result<(), AgentError> {
        next.updated_ms = now_ms();
        self.common.store.write(&next).await?;
        (self.record, self.unwritten) = (next, None);
        self.face.show(self.record.clone());
        self.common.store.step(step);
        Ok(())
    }

    /// Writes that something is to end. That is done also when it cannot be written: a disk that is full is no reason to let
    /// something run, and what ends may be what fills it. What is wished is then said by a mark that takes no space.
    async fn intend_end(&mut self, mut next: Record, step: &str) {
        next.updated_ms = now_ms();
        self.record = next;
        if !self.write_down(step).await
            && let Err(error) = self.common.store.mark(self.id(), self.record.wanted).await
        {
            warn!(id = %self.id(), %error, step, "what is wished is not in its folder");
        }
        self.face.show(self.record.clone());
        self.common.store.step(step);
    }

    /// Whether the record is in the journal; when not, that is tried again.
    async fn write_down(&mut self, step: &str) -> bool {
        match self.common.store.write(&self.record).await {
            Ok(()) => {
                self.unwritten = None;
                true
            }
            Err(error) => {
                warn!(id = %self.id(), %error, step, "not in the journal: written again later");
                self.unwritten = Some(Instant::now() + self.common.patience.longest_delay);
                false
            }
        }
    }

    /// Writes what was done. It was done also when that fails: the journal then says less than the truth, and the next life
    /// looks for itself.
    async fn conclude(&mut self, mut next: Record, step: &str) {
        next.updated_ms = now_ms();
        self.record = next;
        self.write_down(step).await;
        self.face.show(self.record.clone());
        self.common.store.step(step);
    }

    /// Shows a reason while something goes on; not in the journal.
    fn say(&mut self, reason: impl Into<String>) {
        self.record.reason = reason.into();
        self.face.show(self.record.clone());
    }

    /// Sets the time of another attempt at what has just failed.
    fn try_again(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
        self.due = Some(Instant::now() + self.common.patience.delay(self.attempts));
    }

    /// Nothing runs, nothing is wished.
    fn at_rest(&self) -> bool {
        self.running.is_none()
            && self.record.operation.is_none()
            && matches!(self.record.state, State::Stopped | State::Failed)
    }
}
