//! One instance's line: a task that owns its stream, its unanswered orders, its reports and its lease clock, and tells
//! the books when it comes, goes away and is lost. Being one task, it never tells them two things in the wrong order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::attach::{Attachment, Inbox, MESSAGES, ORDERS};
use super::outbox::Outbox;
use super::pending::{Asked, Pending, tell};
use super::registry::Shared;
use super::{Ask, Pulse, Report};
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ids::{Fence, InstanceId};
use crate::fleet::ledger::{Command, Outcome, Registration};
use crate::proto::neuro::ext::{self, instance_message::M};

/// What a line is told.
#[derive(Debug)]
pub(super) enum Say {
    /// A stream of this instance opened.
    Attach { registration: Box<Registration>, answer: oneshot::Sender<Result<Attachment, FleetError>> },
    /// Ask it something.
    Order(Asked),
    /// Its process ended: it will not come back.
    Ended { reason: String },
}

/// An open stream.
#[derive(Debug)]
struct Stream {
    orders: mpsc::Sender<ext::Order>,
    messages: mpsc::Receiver<ext::InstanceMessage>,
}

/// Whether the line goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    End,
}

/// What happened.
enum Event {
    Said(Option<Say>),
    Message(Option<ext::InstanceMessage>),
    Unheard,
    Reported(Option<Report>),
    Silence,
    Late,
}

#[derive(Debug)]
pub(super) struct Line {
    id: InstanceId,
    name: String,
    shared: Arc<Shared>,
    mailbox: mpsc::Receiver<Say>,
    pulse: watch::Sender<Option<Pulse>>,
    stream: Option<Stream>,
    /// Lost when nothing is heard until then. `None`: it never registered.
    silent_at: Option<Instant>,
    pending: Pending,
    outbox: Outbox,
    /// What it reports belongs to a session that is over, until it has taken a new `Train`.
    muted: bool,
}

impl Line {
    pub(super) fn new(
        id: InstanceId,
        name: String,
        shared: Arc<Shared>,
        mailbox: mpsc::Receiver<Say>,
        pulse: watch::Sender<Option<Pulse>>,
    ) -> Self {
        Self {
            id,
            name,
            shared,
            mailbox,
            pulse,
            stream: None,
            silent_at: None,
            pending: Pending::default(),
            outbox: Outbox::default(),
            muted: false,
        }
    }

    /// It is in the books from an earlier life of this server: it has one lease to come back.
    pub(super) async fn run_from_books(mut self) {
        self.silent_at = Some(Instant::now() + self.shared.lease());
        self.tell_books(Command::Away(self.id)).await;
        self.run().await;
    }

    /// Until the instance is lost, or nobody holds the links any more.
    pub(super) async fn run(mut self) {
        while self.step().await == Go::On {}
        self.mailbox.close();
        while let Ok(say) = self.mailbox.try_recv() {
            if let Say::Order(asked) = say {
                let message = format!("{} is gone", self.name);
                let retry_after = Duration::from_secs(1);
                tell(asked.answer, Err(FleetError::Unavailable { message, retry_after }));
            }
        }
    }

    async fn step(&mut self) -> Go {
        match self.next().await {
            Event::Said(None) => Go::End,
            Event::Said(Some(Say::Attach { registration, answer })) => {
                self.attach(*registration, answer).await
            }
            Event::Said(Some(Say::Order(asked))) => self.order(asked).await,
            Event::Said(Some(Say::Ended { reason })) => self.lose(reason).await,
            Event::Message(Some(message)) => self.hear(message).await,
            Event::Message(None) | Event::Unheard => self.away("its stream broke").await,
            Event::Reported(Some(_)) => Go::On,
            Event::Reported(None) => {
                self.outbox.clear();
                Go::On
            }
            Event::Silence => self.silent().await,
            Event::Late => {
                self.pending.expire(&self.name, Instant::now());
                Go::On
            }
        }
    }

    async fn next(&mut self) -> Event {
        let (silent_at, late_at) = (self.silent_at, self.pending.next_deadline());
        let (orders, messages) = match &mut self.stream {
            Some(stream) => (Some(&stream.orders), Some(&mut stream.messages)),
            None => (None, None),
        };
        let read = messages.is_some() && !self.outbox.is_full();
        let attached = orders.is_some();
        let (outbox, id) = (&mut self.outbox, self.id);
        tokio::select! {
            say = self.mailbox.recv() => Event::Said(say),
            message = async { match messages { Some(messages) => messages.recv().await, None => None } }, if read => {
                Event::Message(message)
            }
            () = async { if let Some(orders) = orders { orders.closed().await } }, if attached => Event::Unheard,
            permit = self.shared.reports.reserve(), if !outbox.is_empty() => {
                let report = permit.ok().and_then(|permit| Some((permit, outbox.take(id)?)));
                Event::Reported(report.map(|(permit, report)| { permit.send(report.clone()); report }))
            }
            () = at(silent_at), if silent_at.is_some() => Event::Silence,
            () = at(late_at), if late_at.is_some() => Event::Late,
        }
    }

    async fn attach(
        &mut self,
        registration: Registration,
        answer: oneshot::Sender<Result<Attachment, FleetError>>,
    ) -> Go {
        let name = registration.name.clone();
        let (fence, keep) = match self.shared.books.apply(Command::Register(registration)).await {
            Ok(Outcome::Registered { fence, keep }) => (fence, keep),
            Ok(other) => {
                let error = FleetError::Internal(format!("the books answered {other:?} to a registration"));
                tell(answer, Err(error));
                return self.worth_keeping();
            }
            Err(error) => {
                tell(answer, Err(error));
                return self.worth_keeping();
            }
        };
        self.name = name;
        info!(instance = %self.id, name = %self.name, %fence, session = keep.as_ref().map(tracing::field::display),
            again = self.silent_at.is_some(), "attached");
        let (orders, to_send) = mpsc::channel(ORDERS);
        let (inbox, messages) = mpsc::channel(MESSAGES);
        self.stream = Some(Stream { orders, messages });
        self.heard();
        self.muted = keep.is_none();
        self.greet(fence, keep.is_none());
        self.pending.overtaken(&self.name, fence);
        for id in self.pending.ids() {
            self.send(id);
        }
        let inbox = Inbox { instance: self.id, messages: inbox };
        tell(answer, Ok(Attachment { instance: self.id, orders: to_send, inbox }));
        Go::On
    }

    /// A line that never registered anybody is for nobody.
    const fn worth_keeping(&self) -> Go {
        if self.silent_at.is_some() { Go::On } else { Go::End }
    }

    fn greet(&mut self, fence: Fence, drop_all: bool) {
        let shared = Arc::clone(&self.shared);
        let accepted = ext::Accepted {
            interval_ms: i32::try_from(shared.leases.interval_ms).unwrap_or(i32::MAX),
            lease_ms: i32::try_from(shared.leases.lease_ms).unwrap_or(i32::MAX),
        };
        self.post(0, fence, Ask::Accepted(accepted));
        if drop_all {
            self.drop_what_it_runs(fence);
        }
    }

    fn drop_what_it_runs(&mut self, fence: Fence) {
        let id = self.pending.next_id();
        self.post(id, fence, Ask::Stop(ext::Stop { cleanup: true, grace_ms: 0 }));
    }

    /// Sends what nobody waits for.
    fn post(&self, order_id: i64, fence: Fence, ask: Ask) {
        let order = ext::Order { order_id, fence: i64::try_from(fence.0).unwrap_or(i64::MAX), o: Some(ask) };
        if let Some(stream) = &self.stream
            && stream.orders.try_send(order).is_err()
        {
            warn!(instance = %self.id, name = %self.name, "does not read its orders");
        }
    }

    async fn order(&mut self, asked: Asked) -> Go {
        if matches!(&asked.ask, Ask::Stop(stop) if stop.cleanup) {
            self.muted = true;
            self.outbox.clear();
        }
        if let Some(id) = self.pending.add(&self.name, asked)
            && !self.send(id)
        {
            self.pending.unread(&self.name, id);
            return self.away("it does not read its orders").await;
        }
        Go::On
    }

    /// `false`: the stream is full. Without a stream the order waits for one.
    fn send(&mut self, id: i64) -> bool {
        let Some(stream) = &self.stream else { return true };
        let Some(order) = self.pending.sending(id) else { return true };
        !matches!(stream.orders.try_send(order), Err(mpsc::error::TrySendError::Full(_)))
    }

    async fn hear(&mut self, message: ext::InstanceMessage) -> Go {
        self.heard();
        match message.m {
            Some(M::Heartbeat(heartbeat)) => self.beat(heartbeat),
            Some(M::Result(result)) => {
                if self.pending.settle(&self.name, result).is_some_and(|settled| settled.trains) {
                    self.muted = false;
                }
            }
            Some(M::Progress(progress)) if !self.muted => self.outbox.progress(progress),
            Some(M::TrainingEnd(end)) if !self.muted => self.outbox.end(end),
            Some(M::Progress(_) | M::TrainingEnd(_)) => {
                debug!(instance = %self.id, name = %self.name, "reports on a session that is over");
            }
            Some(M::Hello(_)) => {
                warn!(instance = %self.id, name = %self.name, "says hello in the middle of a stream");
                return self.away("it said hello twice on one stream").await;
            }
            None => debug!(instance = %self.id, name = %self.name, "said something unknown"),
        }
        Go::On
    }

    /// One that runs a session although it is nobody's is told again to drop it.
    fn beat(&mut self, heartbeat: ext::Heartbeat) {
        if !heartbeat.session_id.is_empty()
            && let Some(fence) = self.shared.free_under(self.id)
        {
            self.drop_what_it_runs(fence);
        }
        self.pulse.send_replace(Some(Pulse { heartbeat, at_ms: now_ms() }));
    }

    fn heard(&mut self) {
        self.silent_at = Some(Instant::now() + self.shared.lease());
    }

    async fn away(&mut self, why: &str) -> Go {
        self.stream = None;
        self.heard();
        info!(instance = %self.id, name = %self.name, why, "away");
        self.pending.broken(&self.name);
        self.tell_books(Command::Away(self.id)).await;
        Go::On
    }

    async fn silent(&mut self) -> Go {
        let unread = self.stream.as_ref().is_some_and(|stream| !stream.messages.is_empty());
        if unread {
            self.heard();
            return Go::On;
        }
        let lease_ms = self.shared.leases.lease_ms;
        let reason = if self.stream.is_some() {
            format!("{} was silent for {lease_ms} ms on an open stream", self.name)
        } else {
            format!("{} went away and did not come back within {lease_ms} ms", self.name)
        };
        self.lose(reason).await
    }

    async fn lose(&mut self, reason: String) -> Go {
        self.stream = None;
        if self.silent_at.is_none() {
            return Go::End;
        }
        info!(instance = %self.id, name = %self.name, reason, "lost");
        self.pending.lost(&self.name, &reason);
        if self.tell_books(Command::Lost { instance: self.id, reason }).await {
            return Go::End;
        }
        self.silent_at = Some(Instant::now() + Duration::from_secs(1));
        Go::On
    }

    /// `false`: the books could not be written, ask again.
    async fn tell_books(&self, command: Command) -> bool {
        match self.shared.books.apply(command).await {
            Ok(_) => true,
            Err(error @ (FleetError::Internal(_) | FleetError::Unavailable { .. })) => {
                warn!(instance = %self.id, name = %self.name, %error, "the books did not take it");
                false
            }
            Err(error) => {
                debug!(instance = %self.id, name = %self.name, %error, "the books do not know it");
                true
            }
        }
    }
}

async fn at(when: Option<Instant>) {
    if let Some(when) = when {
        sleep_until(when).await;
    }
}
