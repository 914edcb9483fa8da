//! Who drives, as callers ask for it.

use std::time::Duration;

use super::Orchestrator;
use crate::fleet::error::FleetError;
use crate::fleet::ids::SessionId;
use crate::fleet::request::{ControlHandle, TakeControl};
use crate::fleet::rows::DemonstrationRow;
use crate::proto::neuro::ext;

impl Orchestrator {
    /// A person takes control: a fenced lease, and a token for the control websocket.
    ///
    /// # Errors
    /// As [`Controls::take`](crate::fleet::control::Controls::take).
    pub async fn take_control(&self, request: TakeControl) -> Result<ext::ControlLease, FleetError> {
        self.live(&request.session)?;
        self.controls().take(request).await
    }

    /// The person goes on.
    ///
    /// # Errors
    /// `Stale` when somebody else took over, `Precondition` when the lease has ended.
    pub async fn renew_control(
        &self,
        by: ControlHandle,
        ttl: Duration,
    ) -> Result<ext::ControlLease, FleetError> {
        self.live(&by.session)?;
        self.controls().renew(by, ttl).await
    }

    /// The demonstration's id; empty when none was recorded.
    ///
    /// # Errors
    /// As [`renew_control`](Self::renew_control).
    pub async fn release_control(
        &self,
        by: ControlHandle,
        resume_policy: bool,
    ) -> Result<String, FleetError> {
        self.live(&by.session)?;
        self.controls().release(by, resume_policy).await
    }

    /// Recorded take-overs of a session, oldest first: those whose files are still there. What was recorded in an earlier
    /// session of the same id, of another owner, is not its.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn demonstrations(&self, session: &SessionId) -> Result<Vec<DemonstrationRow>, FleetError> {
        self.live(session)?;
        let mut rows = self.books().read(|tables| tables.demonstrations_of(session));
        rows.retain(DemonstrationRow::is_kept);
        rows.sort_by_key(|row| row.demonstration.started_at_ms);
        Ok(rows)
    }
}
