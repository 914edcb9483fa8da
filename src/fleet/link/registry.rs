//! All lines: finds the one of an instance, or opens it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};

use super::attach::Attachment;
use super::hello;
use super::line::{Line, Say};
use super::pending::Asked;
use super::{Answer, Ask, Link, Pulse, Report, ask_name, tally};
use crate::fleet::books::Books;
use crate::fleet::error::FleetError;
use crate::fleet::ids::{Fence, InstanceId};
use crate::fleet::ledger::Registration;
use crate::fleet::rows::Condition;
use crate::fleet::settings::Leases;
use crate::proto::neuro::ext;
use crate::telemetry::fleet::{OrderOutcome, ordered};

/// What may wait for one line to look at it.
const MAILBOX: usize = 64;
/// Reports that may wait for the house.
const REPORTS: usize = 256;
/// How long an instance that was freed is given to drop what it ran.
const DROP_LIMIT: Duration = Duration::from_secs(10);

/// What every line needs.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) books: Books,
    pub(super) leases: Leases,
    pub(super) reports: mpsc::Sender<Report>,
}

impl Shared {
    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.leases.lease_ms.into())
    }

    /// The fence of an instance that nobody holds.
    pub(super) fn free_under(&self, id: InstanceId) -> Option<Fence> {
        self.books
            .read(|tables| tables.instances.get(&id).filter(|row| row.holder.is_none()).map(|row| row.fence))
    }
}

/// An open line, as seen from outside.
#[derive(Debug, Clone)]
struct Entry {
    link: Arc<dyn Link>,
    pulse: watch::Receiver<Option<Pulse>>,
    mailbox: Option<mpsc::Sender<Say>>,
}

impl Entry {
    /// Asks, and counts what became of it.
    async fn order(&self, fence: Fence, ask: Ask, limit: Duration) -> Result<Answer, FleetError> {
        let (name, begun) = (ask_name(&ask), Instant::now());
        let answer = self.link.order(fence, ask, limit).await;
        ordered(name, tally::outcome(&answer, begun.elapsed(), limit));
        answer
    }
}

struct Inner {
    shared: Arc<Shared>,
    lines: Mutex<BTreeMap<InstanceId, Entry>>,
    labels: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

/// The ways to all instances. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    inner: Arc<Inner>,
}

impl fmt::Debug for Links {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner).len();
        out.debug_struct("Links").field("lines", &lines).finish_non_exhaustive()
    }
}

impl Links {
    /// Opens a line for every instance that the books hold: each has one lease to attach again. The receiver hears what
    /// instances say on their own. Needs a Tokio runtime.
    #[must_use]
    pub fn new(books: Books, leases: Leases) -> (Self, mpsc::Receiver<Report>) {
        let (reports, heard) = mpsc::channel(REPORTS);
        let known: Vec<(InstanceId, String)> = books.read(|tables| {
            let rows = tables.instances.values().filter(|row| row.condition != Condition::Lost);
            rows.map(|row| (row.id, row.name.clone())).collect()
        });
        let shared = Arc::new(Shared { books, leases, reports });
        let inner = Inner { shared, lines: Mutex::default(), labels: Mutex::default() };
        let links = Self { inner: Arc::new(inner) };
        for (id, name) in known {
            links.open(id, name, true);
        }
        (links, heard)
    }

    /// Labels that instances of a pool get besides their own.
    pub fn label_pool(&self, pool: &str, labels: BTreeMap<String, String>) {
        let mut all = self.inner.labels.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(pool.to_owned(), labels);
    }

    /// A stream of an instance opened with this. An older stream of the same instance ends.
    ///
    /// # Errors
    /// `Invalid` names the field of the hello that is wrong; else what the books answer to the registration.
    pub async fn attach(&self, hello: ext::Hello) -> Result<Attachment, FleetError> {
        let mut registration = hello::registration(hello)?;
        self.add_labels(&mut registration);
        // A line that ends at this very moment drops what it was told: then there is a new one.
        for _ in 0..3 {
            let mailbox = self.mailbox(registration.id, &registration.name);
            let (answer, answered) = oneshot::channel();
            let say = Say::Attach { registration: Box::new(registration.clone()), answer };
            if mailbox.send(say).await.is_ok()
                && let Ok(result) = answered.await
            {
                return result;
            }
        }
        let message = format!("{} is being given up: attach again", registration.name);
        Err(FleetError::Unavailable { message, retry_after: Duration::from_secs(1) })
    }

    pub(super) fn add_labels(&self, registration: &mut Registration) {
        let all = self.inner.labels.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in all.get(&registration.pool).into_iter().flatten() {
            registration.labels.insert(key.clone(), value.clone());
        }
    }

    /// Asks an instance and waits for its answer, at most `limit`. While it is away the order waits for it to come back.
    ///
    /// # Errors
    /// As [`Link::order`].
    pub async fn order(
        &self,
        instance: InstanceId,
        fence: Fence,
        ask: Ask,
        limit: Duration,
    ) -> Result<Answer, FleetError> {
        let Some(entry) = self.entry(instance) else {
            ordered(ask_name(&ask), OrderOutcome::Away);
            let message = format!("instance {instance} is not attached");
            return Err(FleetError::Unavailable { message, retry_after: Duration::from_secs(1) });
        };
        entry.order(fence, ask, limit).await
    }

    /// What an instance last said. `None` before its first heartbeat, and once it is lost.
    #[must_use]
    pub fn pulse(&self, instance: InstanceId) -> Option<Pulse> {
        self.entry(instance).and_then(|entry| entry.pulse.borrow().clone())
    }

    /// An instance is nobody's now: tells it to drop what it ran. Does not wait. One that is away hears it when it comes
    /// back, from the books.
    pub fn freed(&self, instance: InstanceId, fence: Fence) {
        let Some(entry) = self.entry(instance) else { return };
        tokio::spawn(async move {
            let stop = Ask::Stop(ext::Stop { cleanup: true, grace_ms: 0 });
            if let Err(error) = entry.order(fence, stop, DROP_LIMIT).await {
                tracing::debug!(%instance, %fence, %error, "did not drop what it ran");
            }
        });
    }

    /// Its process ended: no use waiting for the lease.
    pub async fn ended(&self, instance: InstanceId, reason: &str) {
        let mailbox = self.entry(instance).and_then(|entry| entry.mailbox);
        if let Some(mailbox) = mailbox {
            drop(mailbox.send(Say::Ended { reason: reason.to_owned() }).await);
        }
    }

    /// Whether an instance can be reached, or may come back within its lease.
    #[must_use]
    pub fn knows(&self, instance: InstanceId) -> bool {
        self.entry(instance).is_some()
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.inner.shared)
    }

    pub(super) fn put(&self, id: InstanceId, link: Arc<dyn Link>, pulse: watch::Receiver<Option<Pulse>>) {
        let mut lines = self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.insert(id, Entry { link, pulse, mailbox: None });
    }

    pub(super) fn take_off(&self, id: InstanceId) {
        self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    fn entry(&self, id: InstanceId) -> Option<Entry> {
        self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn mailbox(&self, id: InstanceId, name: &str) -> mpsc::Sender<Say> {
        let open = self.entry(id).and_then(|entry| entry.mailbox).filter(|mailbox| !mailbox.is_closed());
        open.unwrap_or_else(|| self.open(id, name.to_owned(), false))
    }

    fn open(&self, id: InstanceId, name: String, in_books: bool) -> mpsc::Sender<Say> {
        let mut lines = self.inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let open = lines.get(&id).and_then(|entry| entry.mailbox.clone());
        if let Some(mailbox) = open.filter(|mailbox| !mailbox.is_closed()) {
            return mailbox;
        }
        let (mailbox, said) = mpsc::channel(MAILBOX);
        let (pulse, felt) = watch::channel(None);
        let line = Line::new(id, name, self.shared(), said, pulse);
        let link = Arc::new(StreamLink { id, mailbox: mailbox.downgrade() });
        lines.insert(id, Entry { link, pulse: felt, mailbox: Some(mailbox.clone()) });
        let (inner, mine) = (Arc::downgrade(&self.inner), mailbox.downgrade());
        tokio::spawn(async move {
            if in_books {
                line.run_from_books().await;
            } else {
                line.run().await;
            }
            remove(&inner, id, &mine);
        });
        mailbox
    }
}

/// Takes a line off that ended, unless another one is there for the same instance already.
fn remove(inner: &Weak<Inner>, id: InstanceId, mailbox: &mpsc::WeakSender<Say>) {
    let Some(inner) = inner.upgrade() else { return };
    let mut lines = inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
    let mine = lines.get(&id).and_then(|entry| entry.mailbox.as_ref());
    if mine.is_some_and(|open| mailbox.upgrade().is_some_and(|ended| open.same_channel(&ended))) {
        lines.remove(&id);
    }
}

/// The way to an instance that attached.
#[derive(Debug)]
struct StreamLink {
    id: InstanceId,
    mailbox: mpsc::WeakSender<Say>,
}

impl Link for StreamLink {
    fn order(&self, fence: Fence, ask: Ask, limit: Duration) -> BoxFuture<'_, Result<Answer, FleetError>> {
        async move {
            let gone = || FleetError::Unavailable {
                message: format!("instance {} is gone", self.id),
                retry_after: Duration::from_secs(1),
            };
            let mailbox = self.mailbox.upgrade().ok_or_else(gone)?;
            let (answer, answered) = oneshot::channel();
            let asked = Asked { fence, ask, limit, answer };
            let told = tokio::time::timeout(limit, mailbox.send(Say::Order(asked))).await;
            if !matches!(told, Ok(Ok(()))) {
                return Err(gone());
            }
            drop(mailbox);
            answered.await.unwrap_or_else(|_| Err(gone()))
        }
        .boxed()
    }
}
