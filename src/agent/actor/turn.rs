//! What an actor does next, one thing after the other.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::order::{Begin, Message, Order};
use super::{Actor, end};
use crate::agent::error::AgentError;
use crate::agent::record::{Exit, Operation, Wanted};

enum Event {
    Asked(Message),
    Ended(Exit),
    Due,
    Ready,
    Unwritten,
    Leave,
}

/// Whether there is still something to look after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stays {
    Yes,
    No,
}

impl Actor {
    pub(super) async fn keep(&mut self, begin: Begin) {
        let stays = match begin {
            Begin::Create { caller, asked } => self.begin(&caller, asked).await,
            Begin::Recover(seen) => {
                self.look().await;
                seen.send(()).ok();
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
                Event::Unwritten => {
                    self.write_down("written.again").await;
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
        let now = Instant::now();
        let (due, again) = (self.due.unwrap_or(now), self.unwritten.unwrap_or(now));
        tokio::select! {
            () = self.common.ended() => Event::Leave,
            message = self.inbox.recv() => message.map_or(Event::Leave, Event::Asked),
            exit = end::watch(run, patience), if running => Event::Ended(exit),
            () = tokio::time::sleep_until(due), if self.due.is_some() => Event::Due,
            () = tokio::time::sleep_until(again), if self.unwritten.is_some() => Event::Unwritten,
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
                reply.send(Ok(self.record.clone())).ok();
                Stays::No
            }
            Ok(Stays::Yes) => {
                reply.send(Ok(self.record.clone())).ok();
                Stays::Yes
            }
            Err(error) => {
                reply.send(Err(error)).ok();
                Stays::Yes
            }
        }
    }

    async fn carry_out(&mut self, order: Order) -> Result<Stays, AgentError> {
        if self.lost && order != Order::Create {
            self.look().await;
            self.settle_left().await;
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
        if self.running.is_some() {
            return Stays::Yes;
        }
        if self.record.operation.is_some_and(|operation| matches!(operation, Operation::Restart { .. })) {
            if let Err(error) = self.finish_restart(Duration::ZERO).await {
                warn!(id = %self.id(), %error, "the second half of its restart is not done yet");
            }
            return Stays::Yes;
        }
        let patience = self.common.patience;
        if patience.verdict(&self.record).is_none() {
            if let Err(error) = self.clear_doubt().await {
                warn!(id = %self.id(), %error, "what its start left is not gone yet");
            }
        } else if let Err(error) = self.start(false).await {
            warn!(id = %self.id(), %error, "not restarted");
            // What stopped it may have been the journal: that does not end a policy.
            let again = || patience.verdict(&self.record).map(|delay| Instant::now() + delay);
            self.due = self.due.or_else(again);
        } else {
            info!(id = %self.id(), restarts = self.record.restarts, "restarted by its policy");
        }
        Stays::Yes
    }
}
