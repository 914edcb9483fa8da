//! Stopping, and stopping to start again.

use std::time::Duration;

use super::{Actor, Cut};
use crate::agent::error::AgentError;
use crate::agent::record::{Operation, State, Wanted};

pub(super) fn millis(grace: Duration) -> u64 {
    u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)
}

impl Actor {
    /// Stops it. Whatever policy it has, only a start by hand makes it run again.
    pub(super) async fn stop(&mut self, grace: Duration) -> Result<(), AgentError> {
        self.due = None;
        let mut next = self.record.clone();
        next.wanted = Wanted::Stopped;
        if self.in_doubt() {
            self.intend_end(next, "stop.wished").await;
            self.clear_doubt().await?;
            next = self.record.clone();
        }
        if self.running.is_none() {
            // Also out of the journal: a restart whose second half could not be written.
            (next.state, next.operation) = (State::Stopped, None);
            if next != self.record {
                self.intend_end(next, "stop.done").await;
            }
            return Ok(());
        }
        next.operation = Some(Operation::Stop { grace_ms: millis(grace) });
        "stopping".clone_into(&mut next.reason);
        self.intend_end(next, "stop.intended").await;
        self.finish_stop(grace).await
    }

    /// The act of a stop whose intent is in the journal.
    pub(super) async fn finish_stop(&mut self, grace: Duration) -> Result<(), AgentError> {
        self.bring_down(grace).await?;
        let mut next = self.record.clone();
        (next.state, next.operation) = (State::Stopped, None);
        self.conclude(next, "stop.done").await;
        Ok(())
    }

    pub(super) async fn restart(&mut self, grace: Duration) -> Result<(), AgentError> {
        if self.running.is_none() {
            return self.start(true).await;
        }
        let mut next = self.record.clone();
        next.wanted = Wanted::Running;
        (next.restarts, next.failures) = (0, 0);
        next.operation = Some(Operation::Restart { grace_ms: millis(grace) });
        "restarting".clone_into(&mut next.reason);
        self.due = None;
        self.intend(next, "restart.intended").await?;
        self.finish_restart(grace).await
    }

    /// The act of a restart whose intent is in the journal.
    pub(super) async fn finish_restart(&mut self, grace: Duration) -> Result<(), AgentError> {
        self.bring_down(grace).await?;
        let mut next = self.record.clone();
        next.operation = Some(Operation::Start);
        "starting".clone_into(&mut next.reason);
        if let Err(error) = self.intend(next, "restart.stopped").await {
            self.try_again();
            self.say(format!("stopped, and cannot be started again yet: {error}"));
            return Err(error);
        }
        self.attempts = 0;
        self.launch(true).await
    }

    /// Ends what runs, for an operation that is in the journal and stays there when the agent ends meanwhile.
    pub(super) async fn bring_down(&mut self, grace: Duration) -> Result<(), AgentError> {
        match self.end_run(grace).await {
            Ok(None) => Ok(()),
            Ok(Some(exit)) => {
                self.note_end(exit).await;
                Ok(())
            }
            Err(Cut::Ending) => {
                Err(AgentError::Unavailable("the agent ends; its next life goes on with this".to_owned()))
            }
            Err(Cut::Failed(error)) => {
                let mut next = self.record.clone();
                next.operation = None;
                next.reason = format!("cannot be ended: {error}");
                self.conclude(next, "stop.failed").await;
                Err(error)
            }
        }
    }
}
