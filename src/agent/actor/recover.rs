//! A new life of the agent: what became of the run that the journal knows, and what was half done.

use std::time::Duration;

use tracing::{info, warn};

use super::Actor;
use super::end::unseen;
use super::turn::Stays;
use crate::agent::common::guarded;
use crate::agent::driver::{Handle, Observed};
use crate::agent::error::AgentError;
use crate::agent::record::{Operation, Record, State, Wanted};

impl Actor {
    /// Finds its run again, or how that ended. Begins nothing that takes long: what an ended run left is taken away later.
    pub(super) async fn look(&mut self) {
        match self.found().await {
            Ok(found) => {
                self.lost = false;
                self.attempts = 0;
                self.face.show(self.record.clone());
                self.take_up(found).await;
            }
            Err(error) => {
                self.lost = true;
                self.try_again();
                warn!(id = %self.id(), %error, "cannot be looked at");
                // Shown, not kept: the record still says what is known.
                let reason = format!("cannot be looked at: {error}");
                self.face.show(Record { reason, ..self.record.clone() });
            }
        }
    }

    async fn found(&self) -> Result<Option<(Handle, Observed)>, AgentError> {
        use Operation::{Create, Delete, Restart, Start, Stop};
        let (operation, handle) = (self.record.operation, self.record.handle.as_ref());
        let may_run = match operation {
            None => self.record.state == State::Running,
            Some(Create) => false,
            Some(Start | Stop { .. } | Restart { .. } | Delete { .. }) => true,
        };
        if !may_run || self.record.driver.is_empty() {
            return Ok(None);
        }
        let driver = self.driver()?;
        guarded("recover", self.common.patience.recover, driver.recover(&self.ground, handle)).await
    }

    async fn take_up(&mut self, found: Option<(Handle, Observed)>) {
        let wanted = self.record.wanted;
        let starting = self.record.operation == Some(Operation::Start);
        match found {
            // Left by a start that had failed: the next operation takes it away.
            Some(_) if starting && wanted != Wanted::Running => {}
            Some((handle, Observed::Running)) if starting => self.adopt(handle).await,
            Some((handle, Observed::Running)) => {
                let known = self.record.handle.as_ref() == Some(&handle);
                if !known || (self.record.state != State::Running && wanted != Wanted::Gone) {
                    let mut next = self.record.clone();
                    next.handle = Some(handle);
                    if wanted != Wanted::Gone {
                        next.state = State::Running;
                    }
                    self.conclude(next, "recover.found").await;
                }
                self.listen().await;
            }
            // Left of the run before: the start itself had not come so far.
            Some((handle, Observed::Ended(exit))) if starting && exit.at_ms < self.record.updated_ms => {
                self.record.handle = Some(handle);
            }
            Some((handle, Observed::Ended(exit))) => {
                info!(id = %self.id(), code = exit.code, "ended while no agent ran");
                self.record.handle = Some(handle);
                if starting {
                    self.record.operation = None;
                    self.record.started_ms = self.record.started_ms.saturating_add(1);
                }
                // What it said since is still to be had.
                self.listen().await;
                self.note_exit(exit).await;
            }
            None if self.record.operation.is_none() && self.record.state == State::Running => {
                self.note_exit(unseen()).await;
            }
            None if !starting
                && self.record.operation.is_some()
                && self.record.handle.is_some()
                && self.record.ended_ms < self.record.started_ms =>
            {
                self.note_exit(unseen()).await;
            }
            None => {}
        }
    }

    /// Goes on with what was half done, and with what its policy wants.
    pub(super) async fn resume(&mut self) -> Stays {
        if self.lost {
            return Stays::Yes;
        }
        self.settle_left().await;
        let outcome = match self.record.operation {
            _ if self.record.wanted == Wanted::Gone => {
                let grace_ms = match self.record.operation {
                    Some(Operation::Delete { grace_ms }) => grace_ms,
                    _ => 0,
                };
                return match self.delete(Duration::from_millis(grace_ms)).await {
                    Ok(()) => Stays::No,
                    Err(_) => Stays::Yes,
                };
            }
            Some(Operation::Create) => match self.make().await {
                Ok(()) => {
                    self.resume_policy().await;
                    Ok(())
                }
                Err(error) => return self.undo(error).await,
            },
            Some(Operation::Start) if self.record.wanted == Wanted::Running => self.launch(false).await,
            Some(Operation::Start) => self.clear_doubt().await,
            Some(Operation::Stop { grace_ms }) => self.finish_stop(Duration::from_millis(grace_ms)).await,
            Some(Operation::Restart { grace_ms }) => {
                self.finish_restart(Duration::from_millis(grace_ms)).await
            }
            Some(Operation::Delete { .. }) | None => {
                self.resume_policy().await;
                Ok(())
            }
        };
        if let Err(error) = outcome {
            warn!(id = %self.id(), %error, "what was half done could not be finished");
        }
        Stays::Yes
    }

    async fn resume_policy(&mut self) {
        if !self.at_rest() {
            return;
        }
        let never_ran = self.record.started_ms == 0 && self.record.failures == 0;
        if never_ran && self.record.wanted == Wanted::Running {
            self.autostart().await;
        } else {
            self.plan_restart();
        }
    }
}
