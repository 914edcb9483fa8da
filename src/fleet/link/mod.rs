//! How orders reach an instance, and what it says back, whether it holds a stream open ([`attach`]) or is polled over
//! REST ([`rest`]). Keeps the lease clock: an instance that is silent for `lease` is lost.
//!
//! Every instance has one task here ([`line`]) that owns its stream, its unanswered orders and its clock, so nothing is
//! locked while the books are written and one noisy instance slows only itself.

pub mod answer;
pub mod attach;
pub mod hello;
mod line;
mod outbox;
mod pending;
pub mod registry;
pub mod rest;
mod tally;
#[cfg(test)]
pub(in crate::fleet) mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::error::FleetError;
use super::ids::{Fence, InstanceId};
use crate::proto::neuro::ext;

pub use attach::{Attachment, Inbox};
pub use registry::Links;

/// What is asked of an instance; the wire's own form.
pub type Ask = ext::order::O;

/// What an instance answered to an order.
pub type Answer = BTreeMap<String, String>;

/// A way to one instance. Orders are idempotent under their fence, so they may be sent again.
pub trait Link: Send + Sync + std::fmt::Debug {
    /// Sends an order and waits for its result, at most `limit`.
    ///
    /// Errors: `Stale` when the instance has seen a higher fence, `Unavailable` when it is away or does not answer in
    /// time, `Precondition` with the instance's own sentence when it refuses.
    fn order(&self, fence: Fence, ask: Ask, limit: Duration) -> BoxFuture<'_, Result<Answer, FleetError>>;
}

/// What is known of an instance beyond its row: from its last heartbeat or poll. Not stored.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pulse {
    /// The last heartbeat.
    pub heartbeat: ext::Heartbeat,
    /// When it came, Unix ms.
    pub at_ms: i64,
}

/// What instances say on their own.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// A trainer's progress.
    Progress(InstanceId, ext::Progress),
    /// A trainer is done.
    TrainingEnd(InstanceId, ext::TrainingEnd),
}

/// What an order is called in messages.
const fn ask_name(ask: &Ask) -> &'static str {
    match ask {
        Ask::Load(_) => "load",
        Ask::Start(_) => "start",
        Ask::Stop(_) => "stop",
        Ask::Controller(_) => "controller",
        Ask::Snapshot(_) => "snapshot",
        Ask::Train(_) => "train",
        Ask::Accepted(_) => "accepted",
        Ask::Terminate(_) => "terminate",
        Ask::Update(_) => "update",
        Ask::Pause(_) => "pause",
        Ask::ReplaceEnv(_) => "replace_env",
        Ask::Restore(_) => "restore",
        Ask::LearnFrom(_) => "learn_from",
    }
}
