//! The end of a run: waited for, brought about, written down.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::{Actor, Cut, PENDING};
use crate::agent::audit::now_ms;
use crate::agent::common::guarded;
use crate::agent::console::Source;
use crate::agent::driver::Observed;
use crate::agent::record::{Exit, Record, State, Wanted};
use crate::agent::restart::{Patience, describe};

/// For ever, as far as a run is concerned.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// An end that nobody saw.
pub(super) fn unseen() -> Exit {
    Exit { code: 255, signal: None, oom: false, at_ms: now_ms(), unseen: true }
}

/// Waits until a run has ended, however often its driver cannot say.
pub(super) async fn watch(run: Option<Source>, patience: Patience) -> Exit {
    let Some(Source { driver, ground, handle, .. }) = run else { return std::future::pending().await };
    loop {
        match guarded("ended", FOR_EVER, driver.ended(&ground, &handle)).await {
            Ok(exit) => return exit,
            Err(error) => warn!(id = %ground.id, %error, "cannot wait for its end: looking again"),
        }
        tokio::time::sleep(patience.first_delay).await;
        match guarded("recover", patience.recover, driver.recover(&ground, Some(&handle))).await {
            Ok(Some((_, Observed::Ended(exit)))) => return exit,
            Ok(None) => return unseen(),
            Ok(Some((_, Observed::Running))) | Err(_) => {}
        }
    }
}

impl Actor {
    /// Ends what runs: asks, waits up to `grace` or until somebody is in more of a hurry, kills.
    pub(super) async fn end_run(&mut self, grace: Duration) -> Result<Option<Exit>, Cut> {
        let Some(source) = self.running.clone() else { return Ok(None) };
        let (driver, ground, handle) = (source.driver.clone(), &source.ground, &source.handle);
        let patience = self.common.patience;
        if !grace.is_zero() {
            let mut deadline = Instant::now() + grace;
            let asked = guarded("stop", patience.ask.min(grace), driver.ask_to_stop(ground, handle)).await;
            self.common.store.step("stop.asked");
            let ended = watch(Some(source.clone()), patience);
            tokio::pin!(ended);
            match asked {
                Err(error) => warn!(id = %ground.id, %error, "cannot be asked to end: killed"),
                Ok(()) => loop {
                    tokio::select! {
                        exit = &mut ended => return Ok(Some(exit)),
                        () = tokio::time::sleep_until(deadline) => break,
                        () = self.common.ended() => return Err(Cut::Ending),
                        message = self.inbox.recv(), if self.pending.len() < PENDING => {
                            let Some(message) = message else { return Err(Cut::Ending) };
                            if let Some(grace) = message.order.grace() {
                                deadline = deadline.min(Instant::now() + grace);
                            }
                            self.pending.push_back(message);
                        }
                    }
                },
            }
        }
        let killed = self.common.end("kill", patience.kill, driver.kill(ground, handle)).await;
        self.common.store.step("stop.killed");
        killed.map_err(Cut::Failed)?;
        let ended = tokio::time::timeout(patience.ask, watch(Some(source.clone()), patience)).await;
        Ok(Some(ended.unwrap_or_else(|_| unseen())))
    }

    /// Writes how a run ended and takes away what it left. `operation` stays as it is.
    pub(super) async fn note_end(&mut self, exit: Exit) {
        self.note_exit(exit).await;
        self.settle().await;
    }

    /// Writes how a run ended.
    pub(super) async fn note_exit(&mut self, exit: Exit) {
        self.face.hub.finish(self.common.patience.last_words).await;
        self.running = None;
        self.face.runs(None);
        let mut next = self.record.clone();
        let wished = next.wanted != Wanted::Running || next.operation.is_some();
        next.state = match next.state {
            State::Deleting => State::Deleting,
            _ if wished || exit.code == 0 => State::Stopped,
            _ => State::Failed,
        };
        let long_ms = u64::try_from(exit.at_ms - next.started_ms).unwrap_or(0);
        next.failures = match (wished, Duration::from_millis(long_ms) >= self.common.patience.calm_run) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => next.failures.saturating_add(1),
        };
        next.reason = describe(&exit);
        if next.state == State::Failed
            && let Some(line) = self.face.hub.last_line()
        {
            next.reason = format!("{}; its last line: {line}", next.reason);
        }
        (next.ended_ms, next.ready) = (exit.at_ms, false);
        next.ip.clear();
        next.exit = Some(exit);
        self.conclude(next, "end.noted").await;
    }

    /// Takes away what is left of a run whose end was found.
    pub(super) async fn settle_left(&mut self) {
        if self.running.is_none() && !self.lost && self.record.handle.is_some() {
            self.settle().await;
        }
    }

    /// Takes away what the run of the record left.
    pub(super) async fn settle(&mut self) {
        let (Some(driver), Some(handle)) = (self.driver.clone(), self.record.handle.clone()) else { return };
        let settled = driver.settle(&self.ground, &handle);
        if let Err(error) = self.common.end("settle", self.common.patience.settle, settled).await {
            warn!(id = %self.id(), %error, "something of its run stays until it is deleted");
        }
        let mut next = self.record.clone();
        next.handle = None;
        self.conclude(next, "end.settled").await;
    }

    /// A run ended and nobody had asked for it.
    pub(super) async fn ended_unasked(&mut self, exit: Exit) {
        self.note_end(exit).await;
        info!(id = %self.id(), how = self.record.reason, "ended");
        self.plan_restart();
    }

    /// Sets the time of the next start, if its policy wants one.
    pub(super) fn plan_restart(&mut self) {
        if let Some(delay) = self.common.patience.verdict(&self.record) {
            self.due = Some(Instant::now() + delay);
            let reason = format!("{}; started again in {} ms", self.record.reason, delay.as_millis());
            // Shown, not kept: a stop that comes before leaves how it ended.
            self.face.show(Record { reason, ..self.record.clone() });
        }
    }
}
