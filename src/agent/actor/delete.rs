//! Deleting: whatever is left is taken apart, tried again until it is.

use std::time::Duration;

use tracing::warn;

use super::stop::millis;
use super::{Actor, Cut};
use crate::agent::error::AgentError;
use crate::agent::record::{Operation, State, Wanted};

impl Actor {
    /// Ends it, takes it apart and forgets it. A failure is tried again later, also without another request.
    pub(super) async fn delete(&mut self, grace: Duration) -> Result<(), AgentError> {
        self.due = None;
        let doubtful = self.record.operation == Some(Operation::Start);
        let mut next = self.record.clone();
        (next.wanted, next.state) = (Wanted::Gone, State::Deleting);
        next.operation = Some(Operation::Delete { grace_ms: millis(grace) });
        "deleting".clone_into(&mut next.reason);
        self.intend_end(next, "delete.intended").await;
        match self.take_apart(grace, doubtful).await {
            Ok(()) => {
                self.common.registry.forget(&self.ground.id);
                self.inbox.close();
                Ok(())
            }
            Err(Cut::Ending) => {
                Err(AgentError::Unavailable("the agent ends; its next life goes on with this".to_owned()))
            }
            Err(Cut::Failed(error)) => {
                self.try_again();
                warn!(id = %self.id(), %error, attempts = self.attempts, "not deleted yet");
                self.say(format!("cannot be deleted yet: {error}"));
                Err(error)
            }
        }
    }

    async fn take_apart(&mut self, grace: Duration, doubtful: bool) -> Result<(), Cut> {
        if let Some(exit) = self.end_run(grace).await? {
            self.note_end(exit).await;
        }
        self.face.hub.finish(Duration::ZERO).await;
        // Nothing was made before a driver was chosen.
        if !self.record.driver.is_empty() {
            let driver = self.driver().map_err(Cut::Failed)?;
            if doubtful || self.attempts > 0 {
                self.take_away_half().await.map_err(Cut::Failed)?;
            }
            let destroyed = driver.destroy(&self.ground);
            let patience = self.common.patience.destroy;
            self.common.call("destroy", patience, destroyed).await.map_err(Cut::Failed)?;
        }
        self.common.store.step("delete.destroyed");
        self.common.store.remove(&self.ground.id).await.map_err(Cut::Failed)?;
        self.common.store.step("delete.done");
        Ok(())
    }
}
