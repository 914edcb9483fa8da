//! The two ends of an attached instance's stream, without a transport: an edge carries [`Attachment::orders`] to the
//! instance and what the instance says to [`Inbox::deliver`].

use tokio::sync::mpsc;

use crate::fleet::error::FleetError;
use crate::fleet::ids::InstanceId;
use crate::proto::neuro::ext;

/// Orders that may lie unread in a stream before the instance counts as stuck.
pub(super) const ORDERS: usize = 64;
/// Messages of an instance that may lie unread here before its stream is slowed down.
pub(super) const MESSAGES: usize = 32;

/// An instance that is attached. Dropping it, or either half, starts the lease clock.
#[derive(Debug)]
pub struct Attachment {
    /// Which.
    pub instance: InstanceId,
    /// What to send it, from `Accepted` on. Ends when another attach of the same instance took over, when it was silent
    /// for too long, or when it does not read.
    pub orders: mpsc::Receiver<ext::Order>,
    /// Where what it says goes.
    pub inbox: Inbox,
}

/// Where what an attached instance says goes.
#[derive(Debug)]
pub struct Inbox {
    pub(super) instance: InstanceId,
    pub(super) messages: mpsc::Sender<ext::InstanceMessage>,
}

impl Inbox {
    /// Hands one message on. Waits while earlier ones lie unread: that slows this instance's stream and no other.
    ///
    /// # Errors
    /// `Unavailable` when this stream is not the instance's any more: end it.
    pub async fn deliver(&self, message: ext::InstanceMessage) -> Result<(), FleetError> {
        self.messages.send(message).await.map_err(|_| FleetError::Unavailable {
            message: format!("this stream of {} was replaced or given up: attach again", self.instance),
            retry_after: std::time::Duration::from_secs(1),
        })
    }
}
