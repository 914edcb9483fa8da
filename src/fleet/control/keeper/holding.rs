//! Taking control, keeping it and giving it back; and what is recorded meanwhile.

use std::time::Duration;

use super::{Keeper, ORDER_TIME, TakeSeat};
use crate::fleet::clock::now_ms;
use crate::fleet::control::lease::Lease;
use crate::fleet::control::look::Place;
use crate::fleet::control::recording::Recording;
use crate::fleet::control::wheel::Need;
use crate::fleet::error::FleetError;
use crate::fleet::ids::{Fence, InstanceId};
use crate::fleet::ledger::{Command, Outcome};
use crate::fleet::rows::ControlRow;
use crate::fleet::spec::Mode;
use crate::instance::contract::{ToRobot, Velocity};
use crate::proto::neuro::ext::{self, Controller};

impl Keeper {
    pub(super) async fn take(&mut self, take: TakeSeat) -> Result<ControlRow, FleetError> {
        let place = self.place().ok_or_else(|| FleetError::not_found("session", &self.wheel.session))?;
        if place.mode == Mode::Training {
            let message = "the session trains without people: a hybrid session can be taken over";
            return Err(FleetError::Precondition(message.to_owned()));
        }
        if !place.active() || place.robot.is_none() {
            let phase = place.phase.as_str_name();
            return Err(FleetError::Precondition(format!("the session is {phase}: nothing to drive yet")));
        }
        let now = now_ms();
        let lease = self.wheel.lease.borrow().clone();
        let ttl = self.house.ttl(take.ttl);
        if lease.is_human(now) {
            let same_key = take.key.is_some() && take.key == self.key;
            let same_user = take.user == lease.user && (lease.driver.is_none() || take.seat.is_none());
            let same_seat = take.seat.is_some() && take.seat == lease.driver;
            if same_key || same_user || same_seat {
                let row = self.set(Controller::Human, &lease.user, later(ttl), true).await?;
                self.ttl = ttl;
                self.key = self.key.or(take.key);
                if let Some(seat) = take.seat {
                    self.wheel.lease.send_modify(|lease| lease.driver = Some(seat));
                }
                return Ok(row);
            }
            if !take.force {
                let (user, left) = (&lease.user, (lease.expires_ms - now).max(0));
                let message =
                    format!("{user:?} drives, for at least {left} ms more: wait, or take over by force");
                return Err(FleetError::Precondition(message));
            }
        }
        self.finish_recording().await;
        // From here on the driver before is cut off: its fence is not the one in force.
        let row = self.set(Controller::Human, &take.user, later(ttl), false).await?;
        self.wheel.forget_command();
        if let Err(error) = self.order(Controller::Human, &take.user).await {
            let back =
                if place.drives_itself() && !self.hands_off { Controller::Policy } else { Controller::None };
            drop(self.set(back, "", 0, false).await);
            return Err(error);
        }
        self.ttl = ttl;
        self.key = take.key;
        self.record = take.record.unwrap_or(place.human_demo && place.mode == Mode::Hybrid);
        self.wheel.lease.send_modify(|lease| lease.driver = take.seat);
        self.start_recording(&place);
        Ok(row)
    }

    pub(super) async fn renew(&mut self, fence: Fence, ttl: Duration) -> Result<ControlRow, FleetError> {
        let lease = self.held_under(fence)?;
        let ttl = self.house.ttl(ttl);
        let row = self.set(Controller::Human, &lease.user, later(ttl), true).await?;
        self.ttl = ttl;
        Ok(row)
    }

    pub(super) async fn release(&mut self, fence: Fence, resume: bool) -> Result<String, FleetError> {
        self.held_under(fence)?;
        self.end(resume).await
    }

    fn held_under(&self, fence: Fence) -> Result<Lease, FleetError> {
        let lease = self.wheel.lease.borrow().clone();
        if lease.fence != fence {
            let what = format!("control of session {}", self.wheel.session);
            return Err(FleetError::Stale { what, given: fence, current: lease.fence });
        }
        if !lease.is_human(now_ms()) {
            return Err(FleetError::Precondition("the control lease has ended".to_owned()));
        }
        Ok(lease)
    }

    /// Ends a person's lease: the robot stands still, then what drove before drives again, or nobody. The
    /// demonstration's id.
    pub(super) async fn end(&mut self, resume: bool) -> Result<String, FleetError> {
        let place = self.place().ok_or_else(|| FleetError::not_found("session", &self.wheel.session))?;
        let next = if resume && place.drives_itself() { Controller::Policy } else { Controller::None };
        self.hands_off = !resume;
        let row = self.set(next, "", 0, false).await?;
        self.key = None;
        self.wheel.lease.send_modify(|lease| lease.driver = None);
        self.wheel.forget_command();
        self.wheel.put(row.fence, ToRobot::RobotControl { velocity: Velocity::default() }, false);
        self.order_or_warn(next, "").await;
        Ok(self.finish_recording().await)
    }

    /// Writes the books, then publishes.
    pub(super) async fn set(
        &self,
        holder: Controller,
        user: &str,
        expires_ms: i64,
        renew: bool,
    ) -> Result<ControlRow, FleetError> {
        let lease = self.wheel.lease.borrow().clone();
        let instance = lease.instance.ok_or_else(no_robot)?;
        let command = Command::SetControl {
            session: self.wheel.session.clone(),
            instance,
            holder,
            user: user.to_owned(),
            expires_ms,
            expect: renew.then_some(lease.fence),
            renew,
        };
        match self.house.books.apply(command).await? {
            Outcome::Control(row) => {
                self.wheel.lease.send_modify(|lease| {
                    if !renew {
                        lease.driver = None;
                    }
                    lease.take_over(&row);
                });
                Ok(row)
            }
            other => {
                Err(FleetError::Internal(format!("the books answered {other:?} to a change of control")))
            }
        }
    }

    pub(super) async fn order(&self, controller: Controller, user: &str) -> Result<(), FleetError> {
        let robot = self.place().and_then(|place| place.robot).ok_or_else(no_robot)?;
        let set = ext::SetController { controller: controller.into(), user: user.to_owned() };
        let ask = ext::order::O::Controller(set);
        self.house.links.order(robot.id, robot.fence, ask, ORDER_TIME).await.map(drop)
    }

    pub(super) async fn order_or_warn(&self, controller: Controller, user: &str) {
        if let Err(error) = self.order(controller, user).await {
            let session = &self.wheel.session;
            tracing::warn!(%session, "the simulator was not told who drives: {error}");
        }
    }

    pub(super) fn start_recording(&mut self, place: &Place) {
        if !self.record || self.recording.is_some() {
            return;
        }
        let Some(robot) = &place.robot else { return };
        let user = self.wheel.lease.borrow().user.clone();
        self.recording_need = Some(Need::of(&self.wheel));
        self.recording = Some(Recording::of_person(&self.wheel, &self.house, place, robot, &user));
        self.wheel.lease.send_modify(|lease| lease.recording = true);
    }

    /// The id of what was recorded; empty when that was nothing.
    pub(super) async fn finish_recording(&mut self) -> String {
        self.recording_need = None;
        let Some(recording) = self.recording.take() else { return String::new() };
        self.wheel.lease.send_modify(|lease| lease.recording = false);
        recording.finish(&self.house).await
    }

    /// A recording that ended by itself (a full disk) ends without the drive.
    pub(super) async fn tend_recording(&mut self, place: &Place) {
        if self.recording.as_ref().is_some_and(Recording::is_over) {
            let id = self.finish_recording().await;
            self.record = false;
            tracing::warn!(session = %self.wheel.session, demonstration = id, "the recording ended, the drive goes on");
        }
        let instance: Option<InstanceId> = place.robot.as_ref().map(|robot| robot.id);
        if self.recording.as_ref().is_some_and(|recording| Some(recording.instance()) != instance) {
            self.finish_recording().await;
        }
    }
}

fn no_robot() -> FleetError {
    FleetError::Precondition("the session has no simulator now".to_owned())
}

pub(super) fn later(ttl: Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX))
}
