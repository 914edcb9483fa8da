//! The actor of an instance: it alone changes it, one operation after the other, whoever asked and whether they still wait.

mod create;
mod delete;
mod end;
mod recover;
mod start;
mod stop;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

use super::audit::{Entry, now_ms};
use super::common::Common;
use super::console::Source;
use super::driver::{Driver, Ground};
use super::error::AgentError;
use super::face::Face;
use super::id::InstanceId;
use super::record::{Exit, Record, State, Wanted};

/// Messages that wait while one is carried out.
const PENDING: usize = 64;

/// What is asked of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The record, once it is made.
    Create,
    /// It is to run.
    Start,
    /// It is not; killed after `grace`.
    Stop { grace: Duration },
    /// Both, one after the other.
    Restart { grace: Duration },
    /// It is to be gone.
    Delete { grace: Duration },
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Stop { .. } => "stop",
            Self::Restart { .. } => "restart",
            Self::Delete { .. } => "delete",
        }
    }

    /// Until what runs is killed, for orders that end it.
    fn grace(self) -> Option<Duration> {
        match self {
            Self::Create | Self::Start => None,
            Self::Stop { grace } | Self::Restart { grace } | Self::Delete { grace } => Some(grace),
        }
    }

    fn detail(self) -> String {
        match self.grace() {
            None => String::new(),
            Some(grace) if grace.is_zero() => "force".to_owned(),
            Some(grace) => format!("killed after {} ms", grace.as_millis()),
        }
    }
}

/// An order, and who waits for its outcome.
#[derive(Debug)]
pub(super) struct Message {
    pub order: Order,
    pub caller: String,
    pub asked: std::time::Instant,
    pub reply: oneshot::Sender<Result<Record, AgentError>>,
}

/// How an actor comes to its instance.
#[derive(Debug)]
pub(super) enum Begin {
    /// It is new.
    Create { caller: String, asked: std::time::Instant },
    /// It is of an earlier life; who waits hears when it is known how it stands.
    Recover(oneshot::Sender<()>),
}

/// Why a run could not be ended.
#[derive(Debug)]
enum Cut {
    /// The agent ends: the operation stays in the journal for its next life.
    Ending,
    Failed(AgentError),
}

enum Event {
    Asked(Message),
    Ended(Exit),
    Due,
    Ready,
    Leave,
}

/// Whether there is still something to look after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stays {
    Yes,
    No,
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
        }
    }

    /// Until the instance is gone or the agent ends.
    pub(super) async fn run(mut self, begin: Begin) {
        self.keep(begin).await;
        // What is said from here on is for the next life.
        self.face.hub.finish(Duration::ZERO).await;
    }

    async fn keep(&mut self, begin: Begin) {
        let stays = match begin {
            Begin::Create { caller, asked } => self.begin(&caller, asked).await,
            Begin::Recover(seen) => {
                self.look().await;
                let _ = seen.send(());
                self.resume().await
            }
        };
        if stays == Stays::No {
            return;
        }
        loop {
            let stays = match self.next().await {
                Event::Asked(message) => self.serve(message).await,
                Event::Ended(exit) => {
                    self.ended_unasked(exit).await;
                    Stays::Yes
                }
                Event::Due => self.due().await,
                Event::Ready => {
                    let mut next = self.record.clone();
                    (next.ready, next.reason) = (true, "ready".to_owned());
                    self.conclude(next, "ready").await;
                    Stays::Yes
                }
                Event::Leave => return,
            };
            if stays == Stays::No {
                return;
            }
        }
    }

    async fn next(&mut self) -> Event {
        if let Some(message) = self.pending.pop_front() {
            return Event::Asked(message);
        }
        let run = self.running.clone();
        let running = run.is_some();
        let unready = running && !self.record.ready;
        let started = self.record.started_ms;
        let patience = self.common.patience;
        let due = self.due.unwrap_or_else(Instant::now);
        tokio::select! {
            () = self.common.ended() => Event::Leave,
            message = self.inbox.recv() => message.map_or(Event::Leave, Event::Asked),
            exit = end::watch(run, patience), if running => Event::Ended(exit),
            () = tokio::time::sleep_until(due), if self.due.is_some() => Event::Due,
            () = self.face.hub.until_ready(started), if unready => Event::Ready,
        }
    }

    async fn serve(&mut self, message: Message) -> Stays {
        let Message { order, caller, asked, reply } = message;
        let outcome = self.carry_out(order).await;
        if order != Order::Create {
            self.audit(&caller, order, asked, &outcome).await;
        }
        match outcome {
            Ok(Stays::No) => {
                let _ = reply.send(Ok(self.record.clone()));
                Stays::No
            }
            Ok(Stays::Yes) => {
                let _ = reply.send(Ok(self.record.clone()));
                Stays::Yes
            }
            Err(error) => {
                let _ = reply.send(Err(error));
                Stays::Yes
            }
        }
    }

    async fn carry_out(&mut self, order: Order) -> Result<Stays, AgentError> {
        if self.lost && order != Order::Create {
            self.look().await;
            if self.lost {
                let (id, reason) = (self.id(), &self.face.record().reason);
                return Err(AgentError::Unavailable(format!("instance {id}: {reason}")));
            }
        }
        if self.record.wanted == Wanted::Gone && !matches!(order, Order::Delete { .. }) {
            return Err(AgentError::Unavailable(format!("instance {} is being deleted", self.id())));
        }
        match order {
            Order::Create => Ok(Stays::Yes),
            Order::Start => self.start(true).await.map(|()| Stays::Yes),
            Order::Stop { grace } => self.stop(grace).await.map(|()| Stays::Yes),
            Order::Restart { grace } => self.restart(grace).await.map(|()| Stays::Yes),
            Order::Delete { grace } => self.delete(grace).await.map(|()| Stays::No),
        }
    }

    /// Something waited for another attempt.
    async fn due(&mut self) -> Stays {
        self.due = None;
        if self.lost {
            self.look().await;
            return if self.lost { Stays::Yes } else { self.resume().await };
        }
        if self.record.wanted == Wanted::Gone {
            let deleted = self.delete(Duration::ZERO).await;
            return if deleted.is_ok() { Stays::No } else { Stays::Yes };
        }
        if self.record.wanted == Wanted::Running && self.running.is_none() {
            if let Err(error) = self.start(false).await {
                warn!(id = %self.id(), %error, "not restarted");
            } else {
                info!(id = %self.id(), restarts = self.record.restarts, "restarted by its policy");
            }
        }
        Stays::Yes
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
        self.record = next;
        self.face.show(self.record.clone());
        self.common.store.step(step);
        Ok(())
    }

    /// Writes what was done. It was done also when that fails: the journal then says less than the truth, and the next life
    /// looks for itself.
    async fn conclude(&mut self, mut next: Record, step: &str) {
        next.updated_ms = now_ms();
        self.record = next;
        if let Err(error) = self.common.store.write(&self.record).await {
            warn!(id = %self.id(), %error, step, "outcome is not in the journal");
        }
        self.face.show(self.record.clone());
        self.common.store.step(step);
    }

    /// Shows a reason while something goes on; not in the journal.
    fn say(&mut self, reason: impl Into<String>) {
        self.record.reason = reason.into();
        self.face.show(self.record.clone());
    }

    /// Nothing runs, nothing is wished.
    fn at_rest(&self) -> bool {
        self.running.is_none()
            && self.record.operation.is_none()
            && matches!(self.record.state, State::Stopped | State::Failed)
    }
}

/// Takes messages in until one wants an end at once. They wait for their turn all the same.
async fn hurried(inbox: &mut mpsc::Receiver<Message>, pending: &mut VecDeque<Message>) {
    while pending.len() < PENDING {
        let Some(message) = inbox.recv().await else { break };
        let force = message.order.grace().is_some_and(|grace| grace.is_zero());
        pending.push_back(message);
        if force {
            return;
        }
    }
    std::future::pending::<()>().await;
}
