//! One prepared request on its way to the network.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::policy::backend::{Inference, Input};
use crate::policy::request::PredictError;

/// What came back from the model thread.
#[derive(Debug)]
pub struct Done {
    /// The network's answer.
    pub inference: Inference,
    /// Time in the queue.
    pub queued: Duration,
    /// Requests that shared the step.
    pub batch: usize,
}

/// A prepared request and where its answer goes.
#[derive(Debug)]
pub struct Job {
    /// What the network sees.
    pub input: Input,
    /// Jobs of one robot supersede each other.
    pub robot_id: Option<String>,
    /// An answer after this moment is of no use.
    pub deadline: Option<Instant>,
    /// When it was queued.
    pub enqueued: Instant,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Done, PredictError>>,
}

impl Job {
    /// Whether anybody still waits for it.
    pub(super) fn is_wanted(&self) -> bool {
        !self.reply.is_closed() && !self.input.cancel.is_cancelled()
    }

    /// Answers it without an action.
    pub(super) fn refuse(self, error: PredictError) {
        // A caller that went away needs no answer.
        self.reply.send(Err(error)).ok();
    }
}
