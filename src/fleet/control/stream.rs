//! A connection to a robot, for whoever drives or watches it: a control websocket, a gRPC stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{broadcast, oneshot, watch};

use super::check::check;
use super::keeper::{Ask, TakeSeat};
use super::lease::Lease;
use super::seat::{SeatLife, Who};
use super::wheel::{Heard, Line, Need, Wheel};
use crate::fleet::clock::now_ms;
use crate::fleet::error::FleetError;
use crate::fleet::ids::{InstanceId, SessionId};
use crate::fleet::spec::Mode;
use crate::instance::contract::ToRobot;
use crate::telemetry::fleet::{CommandOutcome, commanded};

/// A place among the connections of a session; free when dropped.
#[derive(Debug)]
pub(super) struct Connection(pub Arc<AtomicU32>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// See the module. Dropping it frees the seat; the lease of a driver then waits for them to come back.
#[derive(Debug)]
pub struct RobotStream {
    pub(super) wheel: Arc<Wheel>,
    pub(super) seat: Arc<SeatLife>,
    pub(super) who: Who,
    pub(super) mode: Mode,
    pub(super) _need: Need,
    pub(super) _connection: Connection,
}

impl RobotStream {
    /// The session.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.wheel.session
    }

    /// The simulator, once there is one.
    #[must_use]
    pub fn instance(&self) -> Option<InstanceId> {
        self.wheel.lease.borrow().instance
    }

    /// Who drives now.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.wheel.lease.borrow().clone()
    }

    /// Hears of every change of who drives, and of the session's end.
    #[must_use]
    pub fn leases(&self) -> watch::Receiver<Lease> {
        self.wheel.lease.subscribe()
    }

    /// Hears of the line to the simulator.
    #[must_use]
    pub fn line(&self) -> watch::Receiver<Line> {
        self.wheel.line.subscribe()
    }

    /// Whether this stream's commands reach the robot.
    #[must_use]
    pub fn driving(&self) -> bool {
        self.wheel.lease.borrow().is_driven_by(self.seat.id, now_ms())
    }

    /// What the robot says from now on.
    #[must_use]
    pub fn listen(&self) -> Ears {
        Ears { heard: self.wheel.heard.subscribe(), lease: self.wheel.lease.subscribe(), skipped: 0 }
    }

    /// Sends a command, if this stream drives. In a manual session that nobody drives, the first command takes control;
    /// `mode` takes it (`manual`) or gives it back (`ai`).
    ///
    /// # Errors
    /// `Invalid` for a command that no robot gets; `Precondition` or `Denied`, saying who drives, for one that is not
    /// this stream's to give; what taking control answers.
    pub async fn send(&self, command: ToRobot) -> Result<(), FleetError> {
        check(&command)?;
        match command {
            ToRobot::Mode { mode } if mode == "manual" => self.take(false, None).await,
            ToRobot::Mode { .. } => self.give_back(true).await.map(drop),
            command => {
                if !self.driving()
                    && let Err(error) = self.take_if_free().await
                {
                    commanded(CommandOutcome::Refused);
                    return Err(error);
                }
                let lease = self.wheel.lease.borrow();
                if !lease.is_driven_by(self.seat.id, now_ms()) {
                    commanded(CommandOutcome::Refused);
                    return Err(refusal(&lease));
                }
                let fence = lease.fence;
                drop(lease);
                self.wheel.put(fence, command, true);
                Ok(())
            }
        }
    }

    async fn take_if_free(&self) -> Result<(), FleetError> {
        let lease = self.lease();
        let wants = self.seat.wants.load(Ordering::Relaxed);
        if !self.who.may_drive {
            return Err(FleetError::Denied("this token is for watching, not for driving".to_owned()));
        }
        if lease.is_human(now_ms()) || self.mode != Mode::Manual || !wants {
            return Err(refusal(&lease));
        }
        self.take(false, None).await
    }

    /// From now on the first command takes a robot that is free.
    pub fn want(&self) {
        self.seat.wants.store(true, Ordering::Relaxed);
    }

    /// Takes control for this stream; `force` also from another person. `record`: `None` is what the session says.
    ///
    /// # Errors
    /// `Denied` for those who may only watch; `Precondition` while another person drives or the scene is not loaded;
    /// `Unavailable` when the simulator does not answer.
    pub async fn take(&self, force: bool, record: Option<bool>) -> Result<(), FleetError> {
        if !self.who.may_drive {
            return Err(FleetError::Denied("this token is for watching, not for driving".to_owned()));
        }
        self.seat.wants.store(true, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        let take = TakeSeat {
            user: self.who.user.clone(),
            key: self.who.key,
            seat: Some(self.seat.id),
            ttl: Duration::ZERO,
            force,
            record,
        };
        self.ask(Ask::Take(take, reply)).await?;
        answer.await.map_err(|_| over())?.map(drop)
    }

    /// Gives control back; the demonstration's id, empty when none was recorded.
    ///
    /// # Errors
    /// `Precondition` when this stream does not drive.
    pub async fn give_back(&self, resume: bool) -> Result<String, FleetError> {
        self.seat.wants.store(false, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::GiveBack { seat: self.seat.id, resume, reply }).await?;
        answer.await.map_err(|_| over())?
    }

    /// Says goodbye: the lease does not wait for this person to come back.
    pub fn leave(self) {
        self.seat.left.store(true, Ordering::Relaxed);
    }

    async fn ask(&self, ask: Ask) -> Result<(), FleetError> {
        self.wheel.asks.send(ask).await.map_err(|_| over())
    }
}

pub(super) fn over() -> FleetError {
    FleetError::Precondition("the session is over".to_owned())
}

/// Why a command was not this stream's to give.
fn refusal(lease: &Lease) -> FleetError {
    use crate::proto::neuro::ext::Controller;
    if lease.ended {
        return over();
    }
    FleetError::Precondition(match lease.holder {
        Controller::Human if lease.is_human(now_ms()) => {
            let user = &lease.user;
            format!(
                "{user:?} drives: wait until they leave, or take over with {{\"mode\":\"manual\",\"force\":true}}"
            )
        }
        Controller::Policy => "the policy drives: take over with {\"mode\":\"manual\"}".to_owned(),
        _ if lease.instance.is_none() => "the session has no simulator yet".to_owned(),
        _ => "nobody drives: take over with {\"mode\":\"manual\"}".to_owned(),
    })
}

/// What a robot says. A reader that is slow skips what it could not read in time, and holds nobody up.
#[derive(Debug)]
pub struct Ears {
    heard: broadcast::Receiver<Arc<Heard>>,
    lease: watch::Receiver<Lease>,
    skipped: u64,
}

impl Ears {
    /// The next message; `None` when the session is over.
    pub async fn next(&mut self) -> Option<Arc<Heard>> {
        loop {
            if self.lease.borrow_and_update().ended {
                return None;
            }
            tokio::select! {
                heard = self.heard.recv() => match heard {
                    Ok(heard) => return Some(heard),
                    Err(broadcast::error::RecvError::Lagged(skipped)) => self.skipped += skipped,
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                changed = self.lease.changed() => changed.ok()?,
            }
        }
    }

    /// Messages that were skipped.
    #[must_use]
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }
}
