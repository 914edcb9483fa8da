//! Orders that wait for an answer. One sent into a stream that breaks is sent once more if the instance comes back in
//! time: orders are idempotent under their fence, so twice is as good as once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Answer, Ask, ask_name};
use crate::fleet::error::FleetError;
use crate::fleet::ids::Fence;
use crate::proto::neuro::ext::{Order, OrderResult};

/// Most orders of one instance that wait at once.
const MOST: usize = 256;
/// How often one is sent at most.
const SENDINGS: u8 = 2;

#[derive(Debug)]
struct Waiting {
    order: Order,
    name: &'static str,
    fence: Fence,
    limit: Duration,
    deadline: Instant,
    sent: u8,
    answer: oneshot::Sender<Result<Answer, FleetError>>,
}

/// The orders of one instance that wait.
#[derive(Debug, Default)]
pub(super) struct Pending {
    last_id: i64,
    waiting: BTreeMap<i64, Waiting>,
}

/// What was asked, by whom and for how long.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) fence: Fence,
    pub(super) ask: Ask,
    pub(super) limit: Duration,
    pub(super) answer: oneshot::Sender<Result<Answer, FleetError>>,
}

/// An answer that came: whether it was to `Train`, and well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) trains: bool,
}

impl Pending {
    /// An id that was not used on this line before.
    pub(super) fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    /// Keeps an order until it is answered. `None`: too many wait, and it was answered with that.
    pub(super) fn add(&mut self, name: &str, asked: Asked) -> Option<i64> {
        if self.waiting.len() >= MOST {
            let message = format!("{name} has {MOST} orders unanswered");
            tell(asked.answer, Err(FleetError::Unavailable { message, retry_after: Duration::from_secs(1) }));
            return None;
        }
        let id = self.next_id();
        let Asked { fence, ask, limit, answer } = asked;
        let (ask_name, deadline) = (ask_name(&ask), Instant::now() + limit);
        let order = Order { order_id: id, fence: i64::try_from(fence.0).unwrap_or(i64::MAX), o: Some(ask) };
        self.waiting.insert(id, Waiting { order, name: ask_name, fence, limit, deadline, sent: 0, answer });
        Some(id)
    }

    /// The order as it goes over the wire, counted as sent. `None`: answered or given up meanwhile.
    pub(super) fn sending(&mut self, id: i64) -> Option<Order> {
        let waiting = self.waiting.get_mut(&id)?;
        waiting.sent += 1;
        Some(waiting.order.clone())
    }

    /// All that wait, oldest first.
    pub(super) fn ids(&self) -> Vec<i64> {
        self.waiting.keys().copied().collect()
    }

    /// Gives an answer to whoever waits for it. `None`: nobody does any more.
    pub(super) fn settle(&mut self, name: &str, result: OrderResult) -> Option<Settled> {
        let waiting = self.waiting.remove(&result.order_id)?;
        let trains = result.ok && matches!(waiting.order.o, Some(Ask::Train(_)));
        tell(waiting.answer, super::answer::from_result(name, waiting.name, waiting.fence, result));
        Some(Settled { trains })
    }

    /// When the next one runs out of time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.deadline).min()
    }

    /// Answers those whose time is over.
    pub(super) fn expire(&mut self, name: &str, now: Instant) {
        let late: Vec<i64> =
            self.waiting.iter().filter(|(_, one)| one.deadline <= now).map(|(id, _)| *id).collect();
        for id in late {
            self.fail(id, |one| {
                let what = if one.sent == 0 { "was away" } else { "did not answer" };
                format!("{name} {what} for {} ms: {} is not done", one.limit.as_millis(), one.name)
            });
        }
    }

    /// The stream broke: those that were sent twice are given up, the others wait for it to come back.
    pub(super) fn broken(&mut self, name: &str) {
        let spent: Vec<i64> =
            self.waiting.iter().filter(|(_, one)| one.sent >= SENDINGS).map(|(id, _)| *id).collect();
        for id in spent {
            self.fail(id, |one| format!("{name} went away twice over {}", one.name));
        }
    }

    /// Another grant is in force: older orders will never be carried out.
    pub(super) fn overtaken(&mut self, name: &str, current: Fence) {
        let stale: Vec<i64> =
            self.waiting.iter().filter(|(_, one)| one.fence < current).map(|(id, _)| *id).collect();
        for one in stale.into_iter().filter_map(|id| self.waiting.remove(&id)) {
            tell(one.answer, Err(FleetError::Stale { what: name.to_owned(), given: one.fence, current }));
        }
    }

    /// One was not taken: the instance does not read.
    pub(super) fn unread(&mut self, name: &str, id: i64) {
        self.fail(id, |one| format!("{name} does not read its orders: {} was not sent", one.name));
    }

    /// It will not come back.
    pub(super) fn lost(&mut self, name: &str, reason: &str) {
        for id in self.ids() {
            self.fail(id, |one| format!("{name} is lost ({reason}): {} is not done", one.name));
        }
    }

    fn fail(&mut self, id: i64, message: impl FnOnce(&Waiting) -> String) {
        if let Some(one) = self.waiting.remove(&id) {
            let message = message(&one);
            tell(one.answer, Err(FleetError::Unavailable { message, retry_after: Duration::from_secs(1) }));
        }
    }
}

/// Whoever asked may have gone meanwhile; that is their affair.
pub(super) fn tell<T>(answer: oneshot::Sender<T>, value: T) {
    drop(answer.send(value));
}
