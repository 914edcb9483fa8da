//! What is asked of an actor, and who asked.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::PENDING;
use crate::agent::error::AgentError;
use crate::agent::record::Record;

/// What is asked of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent) enum Order {
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
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::Stop { .. } => "stop",
            Self::Restart { .. } => "restart",
            Self::Delete { .. } => "delete",
        }
    }

    /// Until what runs is killed, for orders that end it.
    pub(super) fn grace(self) -> Option<Duration> {
        match self {
            Self::Create | Self::Start => None,
            Self::Stop { grace } | Self::Restart { grace } | Self::Delete { grace } => Some(grace),
        }
    }

    pub(super) fn detail(self) -> String {
        match self.grace() {
            None => String::new(),
            Some(grace) if grace.is_zero() => "force".to_owned(),
            Some(grace) => format!("grace of {} ms", grace.as_millis()),
        }
    }
}

/// An order, and who waits for its outcome.
#[derive(Debug)]
pub(in crate::agent) struct Message {
    pub order: Order,
    pub caller: String,
    pub asked: std::time::Instant,
    pub reply: oneshot::Sender<Result<Record, AgentError>>,
}

/// How an actor comes to its instance.
#[derive(Debug)]
pub(in crate::agent) enum Begin {
    /// It is new.
    Create { caller: String, asked: std::time::Instant },
    /// It is of an earlier life; who waits hears when it is known how it stands.
    Recover(oneshot::Sender<()>),
}

/// Takes messages in until one wants an end at once that `cuts` short what goes on. They wait for their turn all the same.
pub(super) async fn hurried(
    inbox: &mut mpsc::Receiver<Message>,
    pending: &mut VecDeque<Message>,
    cuts: fn(Order) -> bool,
) {
    while pending.len() < PENDING {
        let Some(message) = inbox.recv().await else { break };
        let force = message.order.grace().is_some_and(|grace| grace.is_zero()) && cuts(message.order);
        pending.push_back(message);
        if force {
            return;
        }
    }
    std::future::pending::<()>().await;
}
