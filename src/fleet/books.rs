//! The books, kept by one named thread that owns the ledger and the store. Whatever commands wait are carried out
//! together and made durable with one sync of the disk; only then does anybody hear of them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::error::FleetError;
use super::event::EventKind;
use super::ids::SessionId;
use super::ledger::{Change, Command, Ledger, LedgerOptions, Notice, Outcome, Tables};
use super::rows::EventRow;
use super::store::{Log, Store};
use crate::fleet::clock::now_ms;
use crate::proto::neuro::ext::LogGap;

/// Commands that wait for the writer at most; senders beyond that wait.
const WAITING: usize = 1024;
/// Commands of one commit at most.
const GROUP: usize = 256;
/// Notices that wait in the channel for the rest of the house.
const NOTICES: usize = 4096;
/// Notices beyond the channel that are kept before commands are refused.
const BACKLOG: usize = 262_144;
/// When asking again makes sense while the disk is full.
const RETRY_AFTER: Duration = Duration::from_secs(2);

type Reply = oneshot::Sender<Result<Outcome, FleetError>>;

/// What the writer is told.
enum Order {
    Apply(Box<Command>, Reply),
    Close(oneshot::Sender<()>),
}

/// A handle on the books; cheap to clone. The writer ends with the last one.
#[derive(Clone)]
pub struct Books {
    orders: mpsc::Sender<Order>,
    shared: Arc<Shared>,
}

/// What readers see.
struct Shared {
    committed: RwLock<Tables>,
    log: Mutex<Box<dyn Log>>,
    trouble: Mutex<Option<FleetError>>,
}

impl fmt::Debug for Books {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Books").finish_non_exhaustive()
    }
}

impl Books {
    /// Loads the store and starts the writer. Notices come in the order of commits; whoever reads them may send commands
    /// meanwhile: the writer never waits for the reader.
    ///
    /// # Errors
    /// When the store cannot be read or the thread not be started.
    pub fn open(
        mut store: Box<dyn Store>,
        options: LedgerOptions,
    ) -> Result<(Self, mpsc::Receiver<Notice>), FleetError> {
        let ledger = Ledger::new(store.load()?, options);
        let shared = Arc::new(Shared {
            committed: RwLock::new(ledger.tables().clone()),
            log: Mutex::new(store.log()?),
            trouble: Mutex::new(None),
        });
        let (sender, orders) = mpsc::channel(WAITING);
        let (notices, heard) = mpsc::channel(NOTICES);
        let writer = Writer { store, ledger, shared: Arc::clone(&shared), notices, backlog: VecDeque::new() };
        let thread = std::thread::Builder::new().name("neuro-books".to_owned());
        thread.spawn(move || writer.run(orders)).map_err(FleetError::internal)?;
        Ok((Self { orders: sender, shared }, heard))
    }

    /// Carries out a command. Answers when it is durable; a command whose caller has gone away meanwhile is carried out
    /// all the same.
    ///
    /// # Errors
    /// What the books say, or `Unavailable` when nothing can be written now: then nothing has happened.
    pub async fn apply(&self, command: Command) -> Result<Outcome, FleetError> {
        let (reply, answer) = oneshot::channel();
        let ended = || FleetError::Internal("the books are closed".to_owned());
        self.orders.send(Order::Apply(Box::new(command), reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Ends the writer after what it has been told already, and closes the store; the file is free when this returns.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.orders.send(Order::Close(reply)).await.is_ok() {
            // An error is a writer that has ended by itself: closed all the same.
            closed.await.unwrap_or_default();
        }
    }

    /// Looks at what is durable. Short, and never across an await.
    pub fn read<R>(&self, look: impl FnOnce(&Tables) -> R) -> R {
        look(&self.shared.committed.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why the last commit failed; `None` when it did not.
    #[must_use]
    pub fn trouble(&self) -> Option<FleetError> {
        self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Events of a session after `after`, at most `limit`. Where retention has dropped some, the first is a `LogGap` up to
    /// the last one that is gone.
    ///
    /// # Errors
    /// When there is no such session or its log cannot be read.
    pub async fn events(
        &self,
        session: &SessionId,
        after: i64,
        limit: usize,
    ) -> Result<Vec<EventRow>, FleetError> {
        let after = after.max(0);
        let known = self.read(|tables| {
            tables.sessions.get(session).map(|row| (row.created_ms, tables.recent(session, after, limit)))
        });
        let Some((created_ms, recent)) = known else { return Err(FleetError::not_found("session", session)) };
        if let Some(recent) = recent {
            return Ok(recent);
        }
        let (shared, id) = (Arc::clone(&self.shared), session.clone());
        let read =
            move || shared.log.lock().unwrap_or_else(PoisonError::into_inner).events(&id, after, limit);
        let mut events = tokio::task::spawn_blocking(read).await.map_err(FleetError::internal)??;
        if let Some(first) = events.first()
            && first.seq > after + 1
        {
            let kind = EventKind::Gap(LogGap { upto: first.seq - 1 });
            let gap = EventRow {
                session: session.clone(),
                seq: after + 1,
                at_ms: created_ms.max(first.at_ms),
                kind,
            };
            events.insert(0, gap);
        }
        Ok(events)
    }
}

/// The thread's own.
struct Writer {
    store: Box<dyn Store>,
    ledger: Ledger,
    shared: Arc<Shared>,
    notices: mpsc::Sender<Notice>,
    backlog: VecDeque<Notice>,
}

impl Writer {
    fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        while let Some(first) = orders.blocking_recv() {
            let mut group = Vec::new();
            let mut next = Some(first);
            let mut closing = None;
            while let Some(order) = next.take() {
                match order {
                    Order::Apply(command, reply) => group.push((*command, reply)),
                    Order::Close(reply) => closing = Some(reply),
                }
                if closing.is_none() && group.len() < GROUP {
                    next = orders.try_recv().ok();
                }
            }
            self.carry_out(group);
            if let Some(reply) = closing {
                drop(self);
                // Whoever asked may have gone away.
                reply.send(()).unwrap_or_default();
                return;
            }
        }
    }

    fn carry_out(&mut self, group: Vec<(Command, Reply)>) {
        self.pass_on();
        if self.backlog.len() >= BACKLOG {
            let message = format!("{} notices wait to be heard", self.backlog.len());
            let error = FleetError::Unavailable { message, retry_after: RETRY_AFTER };
            refuse(group.into_iter().map(|(_, reply)| reply), &error);
            return;
        }
        let mut changes = Vec::new();
        let mut notices = Vec::new();
        let mut answers = Vec::with_capacity(group.len());
        for (command, reply) in group {
            let effect = self.ledger.apply(now_ms(), command);
            changes.extend(effect.changes);
            notices.extend(effect.notices);
            answers.push((effect.answer, reply));
        }
        if let Err(error) = self.commit(&changes) {
            refuse(answers.into_iter().map(|(_, reply)| reply), &error);
            return;
        }
        self.backlog.extend(notices);
        self.pass_on();
        for (answer, reply) in answers {
            // A caller that went away finds what it asked for by asking again.
            drop(reply.send(answer));
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), FleetError> {
        if changes.is_empty() {
            return Ok(());
        }
        let result = self.store.commit(changes);
        if let Err(error) = result {
            tracing::error!(%error, changes = changes.len(), "a commit failed: its commands are refused");
            let durable = self.shared.committed.read().unwrap_or_else(PoisonError::into_inner).clone();
            self.ledger.reset(durable);
            let error = FleetError::Unavailable { message: error.to_string(), retry_after: RETRY_AFTER };
            *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
            return Err(error);
        }
        *self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        {
            let mut tables = self.shared.committed.write().unwrap_or_else(PoisonError::into_inner);
            changes.iter().for_each(|change| tables.apply(change));
        }
        Ok(())
    }

    /// Hands notices over as far as there is room.
    fn pass_on(&mut self) {
        while let Some(notice) = self.backlog.pop_front() {
            match self.notices.try_send(notice) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(notice)) => {
                    self.backlog.push_front(notice);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => self.backlog.clear(),
            }
        }
    }
}

fn refuse(replies: impl Iterator<Item = Reply>, error: &FleetError) {
    for reply in replies {
        drop(reply.send(Err(error.clone())));
    }
}
