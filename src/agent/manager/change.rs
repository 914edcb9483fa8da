//! What changes something. All of it is in the audit log.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Agent;
use super::begin::DRAINING;
use crate::agent::actor::{Actor, Begin, Message, Order};
use crate::agent::audit::Entry as AuditEntry;
use crate::agent::cdi;
use crate::agent::error::AgentError;
use crate::agent::id::InstanceId;
use crate::agent::record::Record;
use crate::agent::registry::{Admitted, Entry, draining_refusal, other_spec};
use crate::agent::spec::{Spec, check};
use crate::agent::store::write_synced;
use crate::proto::hypervisor::v1;

/// Attempts to reach an actor that is just ending, because its instance was deleted and made anew.
const ATTEMPTS: usize = 16;
/// For an actor that ends to answer those that it still heard.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Longest time that a stop may give, in seconds.
const LONGEST_STOP_S: i32 = 24 * 3600;

/// Who refused a new instance: an actor writes down by itself what it was asked for.
enum Refused {
    Here(AgentError),
    ByActor(AgentError),
}

impl Agent {
    /// Makes an instance, or finds that it is there and was asked for in the same words. It does not run unless the request
    /// says so.
    ///
    /// # Errors
    /// `Invalid` for a field, `AlreadyExists` for an id of another spec, `NotFound` for an image, `Precondition` for a kind
    /// that does not run here, `Exhausted`, `Unavailable` while draining.
    pub async fn create(
        &self,
        request: v1::AgentCreateInstanceRequest,
        caller: &str,
    ) -> Result<Record, AgentError> {
        let asked = Instant::now();
        let named = request.instance_id.clone();
        let checked = self.alive().and_then(|()| check::check(&request, &self.inner.common.settings));
        let made = match checked {
            Ok((id, spec)) => self.made(&id, &spec, caller, asked).await,
            Err(error) => Err(Refused::Here(error)),
        };
        match made {
            Ok(made) => Ok(made),
            Err(Refused::ByActor(error)) => Err(error),
            Err(Refused::Here(error)) => {
                let outcome: Result<(), _> = Err(error.clone());
                self.audit(caller, "create", &named, &outcome).await;
                Err(error)
            }
        }
    }

    /// One that was just being deleted is made anew, once it is gone.
    async fn made(
        &self,
        id: &InstanceId,
        spec: &Spec,
        caller: &str,
        asked: Instant,
    ) -> Result<Record, Refused> {
        for _ in 0..ATTEMPTS {
            self.admit(id, spec.clone(), caller, asked).await.map_err(Refused::Here)?;
            match self.ask(id, Order::Create, caller).await {
                Err(AgentError::NotFound { what: "instance", .. }) => {
                    self.alive().map_err(Refused::ByActor)?;
                }
                // Deleted while it was asked for, and made anew by somebody else.
                Ok(made) if made.spec.request != spec.request => {
                    return Err(Refused::ByActor(other_spec(id)));
                }
                outcome => return outcome.map_err(Refused::ByActor),
            }
        }
        let error = format!("instance {id} is deleted again and again while it is asked for");
        Err(Refused::ByActor(AgentError::Unavailable(error)))
    }

    async fn admit(
        &self,
        id: &InstanceId,
        spec: Spec,
        caller: &str,
        asked: Instant,
    ) -> Result<(), AgentError> {
        let common = &self.inner.common;
        if spec.options.gpu_count > 0 || !spec.options.cdi_devices.is_empty() {
            let documents = common.settings.cdi.folders.clone();
            let read = tokio::task::spawn_blocking(move || cdi::Registry::read(&documents).inventory());
            common.registry.see(read.await.map_err(|error| AgentError::internal("CDI documents", error))?);
        }
        let draining = common.draining.load(Ordering::Relaxed);
        match common.registry.admit(id, spec, &common.settings, &common.store, draining)? {
            Admitted::Known => {}
            Admitted::Fresh(Entry { face, .. }, inbox) => {
                let actor = Actor::new(common.clone(), face, inbox);
                self.inner.spawn(actor.run(Begin::Create { caller: caller.to_owned(), asked }));
            }
        }
        Ok(())
    }

    /// Starts it. One that runs is left alone.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` while draining; what the driver says.
    pub async fn start(&self, id: &str, caller: &str) -> Result<Record, AgentError> {
        if self.inner.common.draining.load(Ordering::Relaxed) {
            return self.refused("start", id, caller, starts_nothing()).await;
        }
        self.order("start", id, Ok(Order::Start), caller).await
    }

    /// Stops it: asked to end, and killed after `timeout_s` (0 is the setting's) or at once with `force`. One that is stopped
    /// is left alone.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` for a negative time; what the driver says.
    pub async fn stop(
        &self,
        id: &str,
        force: bool,
        timeout_s: i32,
        caller: &str,
    ) -> Result<Record, AgentError> {
        let grace = match timeout_s {
            0..=LONGEST_STOP_S if force => Ok(Duration::ZERO),
            0 => Ok(self.usual_grace()),
            1..=LONGEST_STOP_S => Ok(Duration::from_secs(u64::from(timeout_s.unsigned_abs()))),
            _ => Err(AgentError::invalid(
                "timeout_seconds",
                format!("is {timeout_s}; expected 0 to {LONGEST_STOP_S}"),
            )),
        };
        self.order("stop", id, grace.map(|grace| Order::Stop { grace }), caller).await
    }

    /// Stops and starts it; one that does not run is started.
    ///
    /// # Errors
    /// As [`Agent::stop`] and [`Agent::start`]. When the start fails it is down, and says so.
    pub async fn restart(&self, id: &str, force: bool, caller: &str) -> Result<Record, AgentError> {
        let grace = if force { Duration::ZERO } else { self.usual_grace() };
        let draining = self.inner.common.draining.load(Ordering::Relaxed);
        if draining && self.entry(id).is_ok_and(|entry| entry.face.running().is_none()) {
            return self.refused("restart", id, caller, starts_nothing()).await;
        }
        self.order("restart", id, Ok(Order::Restart { grace }), caller).await
    }

    /// Ends it and takes it apart; `force` does not wait for it to end by itself. The record that is given is its last.
    ///
    /// # Errors
    /// `NotFound`, also for the second time; `Precondition` without `force` for one whose record cannot be read or whose
    /// keeper broke; what the driver says, and then it is tried again without being asked.
    pub async fn delete(&self, id: &str, force: bool, caller: &str) -> Result<Record, AgentError> {
        if force
            && let Ok(id) = id.parse::<InstanceId>()
            && self.inner.common.registry.unkept(&id).is_some()
        {
            self.alive()?;
            return self.clear(&id, caller).await;
        }
        let grace = if force { Duration::ZERO } else { self.usual_grace() };
        self.order("delete", id, Ok(Order::Delete { grace }), caller).await
    }

    /// Takes no new instances and starts none, until [`Agent::undrain`]; also in the agent's next life.
    ///
    /// # Errors
    /// The disk.
    pub async fn drain(&self, caller: &str) -> Result<(), AgentError> {
        self.set_draining(true, caller).await
    }

    /// Takes instances again.
    ///
    /// # Errors
    /// The disk.
    pub async fn undrain(&self, caller: &str) -> Result<(), AgentError> {
        self.set_draining(false, caller).await
    }

    async fn set_draining(&self, draining: bool, caller: &str) -> Result<(), AgentError> {
        let common = &self.inner.common;
        let path = common.house.data.join(DRAINING);
        let written = tokio::task::spawn_blocking(move || match draining {
            true => write_synced(&path, b""),
            false => std::fs::remove_file(&path).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        });
        let written = written.await.map_err(std::io::Error::other).and_then(|written| written);
        let outcome = written.map_err(|error| AgentError::internal(DRAINING, error));
        if outcome.is_ok() {
            common.draining.store(draining, Ordering::Relaxed);
        }
        self.audit(caller, if draining { "drain" } else { "undrain" }, "", &outcome).await;
        outcome
    }

    fn usual_grace(&self) -> Duration {
        let seconds = self.inner.common.settings.limits.stop_s;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(30))
    }

    async fn order(
        &self,
        what: &str,
        id: &str,
        order: Result<Order, AgentError>,
        caller: &str,
    ) -> Result<Record, AgentError> {
        let ready = self.alive().and_then(|()| id.parse::<InstanceId>()).and_then(|id| Ok((id, order?)));
        match ready {
            Ok((id, order)) if self.inner.common.registry.get(&id).is_some() => {
                self.ask(&id, order, caller).await
            }
            Ok((id, _)) => self.refused(what, id.as_str(), caller, self.nobody(&id)).await,
            Err(error) => self.refused(what, id, caller, error).await,
        }
    }

    pub(super) async fn refused(
        &self,
        what: &str,
        id: &str,
        caller: &str,
        error: AgentError,
    ) -> Result<Record, AgentError> {
        let outcome = Err(error);
        self.audit(caller, what, id, &outcome).await;
        outcome
    }

    /// Asks the actor of an instance. From the moment the message is in its box the outcome does not depend on who waits.
    async fn ask(&self, id: &InstanceId, order: Order, caller: &str) -> Result<Record, AgentError> {
        for _ in 0..ATTEMPTS {
            let Some(entry) = self.inner.common.registry.get(id) else { break };
            let (reply, answer) = oneshot::channel();
            let caller = caller.to_owned();
            let message = Message { order, caller, asked: Instant::now(), reply };
            if entry.inbox.send(message).await.is_ok()
                && let Some(outcome) = answered(&entry, answer).await
            {
                return outcome;
            }
            self.alive()?;
            tokio::task::yield_now().await;
        }
        match self.inner.common.registry.get(id) {
            Some(_) => Err(AgentError::Internal(format!("the keeper of instance {id} has ended"))),
            None => Err(self.nobody(id)),
        }
    }

    async fn audit<T>(&self, caller: &str, what: &str, id: &str, outcome: &Result<T, AgentError>) {
        self.inner.common.audit.write(&AuditEntry::new(caller, what, id, outcome)).await;
    }
}

fn starts_nothing() -> AgentError {
    draining_refusal("it starts nothing")
}

/// Waits for an answer; `None` when the actor has ended without one. A message that comes in the moment in which its box is
/// closed is read by nobody, and would keep the box alive as long as its sender waits.
async fn answered(
    entry: &Entry,
    mut answer: oneshot::Receiver<Result<Record, AgentError>>,
) -> Option<Result<Record, AgentError>> {
    tokio::select! {
        biased;
        outcome = &mut answer => outcome.ok(),
        () = entry.inbox.closed() => tokio::time::timeout(LAST_ANSWERS, answer).await.ok()?.ok(),
    }
}
