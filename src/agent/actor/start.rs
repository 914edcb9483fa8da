//! Starting an instance, and what is kept of a run while it lasts.

use futures_util::FutureExt;
use tokio::time::Instant;

use super::Actor;
use super::order::hurried;
use crate::agent::audit::now_ms;
use crate::agent::console::Source;
use crate::agent::driver::{Handle, Observed};
use crate::agent::error::AgentError;
use crate::agent::record::{Operation, State, Wanted};

impl Actor {
    /// Starts it unless it runs. By hand, its restarts are counted anew and a failure is the caller's; by its policy, a
    /// failure is followed by another attempt.
    pub(super) async fn start(&mut self, by_hand: bool) -> Result<(), AgentError> {
        let mut next = self.record.clone();
        next.wanted = Wanted::Running;
        if self.running.is_some() {
            if self.record.wanted != Wanted::Running {
                self.intend(next, "start.wished").await?;
            }
            return Ok(());
        }
        self.driver()?;
        self.clear_doubt().await?;
        next.operation = Some(Operation::Start);
        "starting".clone_into(&mut next.reason);
        if by_hand {
            (next.restarts, next.failures) = (0, 0);
        } else if next.started_ms > 0 {
            next.restarts = next.restarts.saturating_add(1);
        }
        self.due = None;
        self.intend(next, "start.intended").await?;
        self.launch(by_hand).await
    }

    /// The act of a start whose intent is in the journal.
    pub(super) async fn launch(&mut self, by_hand: bool) -> Result<(), AgentError> {
        let driver = self.driver()?;
        let started = driver.start(&self.ground);
        let started = tokio::select! {
            started = self.common.call("start", self.common.patience.start, started) => started,
            () = hurried(&mut self.inbox, &mut self.pending, |_| true) => {
                Err(AgentError::Unavailable(format!("the start of {} was cut short by a forced end", self.ground.id)))
            }
        };
        self.common.store.step("start.acted");
        let error = match started {
            Ok(handle) => {
                self.adopt(handle).await;
                return Ok(());
            }
            Err(error) => error,
        };
        let cleared = self.take_away_half().await;
        let mut next = self.record.clone();
        next.state = State::Failed;
        next.exit = None;
        next.failures = next.failures.saturating_add(1);
        next.reason = format!("start failed: {error}");
        if cleared.is_ok() {
            next.operation = None;
        }
        if by_hand {
            next.wanted = Wanted::Stopped;
        }
        self.due = self.common.patience.verdict(&next).map(|delay| Instant::now() + delay);
        if cleared.is_err() && self.due.is_none() {
            self.try_again();
        }
        self.conclude(next, "start.failed").await;
        Err(error)
    }

    /// A run that has just begun, or one whose handle was not written.
    pub(super) async fn adopt(&mut self, handle: Handle) {
        let Some(driver) = self.driver.clone() else { return };
        let mut next = self.record.clone();
        (next.state, next.operation, next.exit) = (State::Running, None, None);
        next.started_ms = now_ms().max(self.record.started_ms + 1);
        next.ip = driver.address(&self.ground, &handle);
        next.ready = self.record.spec.options.ready_line.is_none();
        next.reason = if next.ready { String::new() } else { "waiting for its ready line".to_owned() };
        next.handle = Some(handle);
        // Whoever sees that it runs finds its console and its figures.
        self.record = next.clone();
        self.listen().await;
        self.conclude(next, "start.done").await;
    }

    /// Watches, samples and hears the run of the record.
    pub(super) async fn listen(&mut self) {
        let (Some(driver), Some(handle)) = (self.driver.clone(), self.record.handle.clone()) else { return };
        let source = Source { driver, ground: self.ground.clone(), handle, run: self.record.started_ms };
        self.running = Some(source.clone());
        self.face.runs(Some(source.clone()));
        let line = self.record.spec.options.ready_line.as_deref().filter(|_| !self.record.ready);
        self.face.hub.open(source, line).await;
    }

    /// An earlier start may have left a run that nobody knows.
    pub(super) fn in_doubt(&self) -> bool {
        self.record.operation == Some(Operation::Start) && self.running.is_none()
    }

    /// Such a run goes before anything else is begun. When it does not, that is tried again without being asked.
    pub(super) async fn clear_doubt(&mut self) -> Result<(), AgentError> {
        if !self.in_doubt() {
            return Ok(());
        }
        if let Err(error) = self.take_away_half().await {
            self.try_again();
            return Err(error);
        }
        self.attempts = 0;
        let mut next = self.record.clone();
        next.operation = None;
        self.conclude(next, "start.cleared").await;
        Ok(())
    }

    pub(super) async fn take_away_half(&self) -> Result<(), AgentError> {
        let (driver, patience) = (self.driver()?, &self.common.patience);
        let looked = driver.recover(&self.ground, None).boxed();
        let Some((handle, observed)) = self.common.end("recover", patience.recover, looked).await? else {
            return Ok(());
        };
        if observed == Observed::Running {
            self.common.end("kill", patience.kill, driver.kill(&self.ground, &handle)).await?;
        }
        self.common.end("settle", patience.settle, driver.settle(&self.ground, &handle)).await
    }
}
