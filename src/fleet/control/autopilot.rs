//! The policy drives: look, act, send, as often as it can and at most ten times a second, while the session runs and the
//! control lease is the policy's.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::camera;
use super::house::House;
use super::lease::Lease;
use super::look::{Place, Robot};
use super::policy::{PolicyDriver, for_robot};
use super::recording::{Recording, note};
use super::wheel::{Need, Wheel};
use crate::fleet::error::FleetError;
use crate::fleet::ids::Fence;
use crate::fleet::rows::Phase;
use crate::instance::contract::ToRobot;
use crate::proto::neuro::ext::Controller;

/// Shortest time between two actions.
const PERIOD: Duration = Duration::from_millis(100);
/// For one action, whoever computes it.
const ACT_TIME: Duration = Duration::from_secs(35);
/// Recordings of one session's policy: a gigabyte each, at most.
const MOST_RECORDINGS: u32 = 16;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Until it is aborted, with the session.
pub(super) async fn run(wheel: Arc<Wheel>, house: Arc<House>, place: Place) {
    let _need = Need::of(&wheel);
    let mut leases = wheel.lease.subscribe();
    let mut pilot =
        Pilot { wheel, house, place, recording: None, full: 0, trouble: String::new(), wait: FIRST_WAIT };
    loop {
        let lease = leases.borrow_and_update().clone();
        if lease.ended {
            break;
        }
        if !drives(&lease) {
            pilot.stop_recording().await;
            if leases.changed().await.is_err() {
                break;
            }
            continue;
        }
        let turn = pilot.turn(lease.fence);
        let other = leases.wait_for(|now| now.fence != lease.fence || !drives(now));
        tokio::select! {
            () = turn => {}
            // Whatever was being thought of is of no use to a robot that somebody else drives.
            _ = other => {}
        }
    }
    pilot.stop_recording().await;
}

fn drives(lease: &Lease) -> bool {
    lease.holder == Controller::Policy && lease.phase == Phase::Running && !lease.ended
}

struct Pilot {
    wheel: Arc<Wheel>,
    house: Arc<House>,
    place: Place,
    recording: Option<Recording>,
    /// Recordings that ended because they were full, or the disk was.
    full: u32,
    trouble: String,
    wait: Duration,
}

impl Pilot {
    /// One action, and the wait until the next.
    async fn turn(&mut self, fence: Fence) {
        let start = Instant::now();
        match self.step(fence).await {
            Ok(()) => {
                self.recovered().await;
                sleep_until(start + PERIOD).await;
            }
            Err(error) => {
                self.complain(&error).await;
                let wait = self.wait;
                self.wait = (wait * 2).min(LONGEST_WAIT);
                sleep(wait).await;
            }
        }
    }

    async fn step(&mut self, fence: Fence) -> Result<(), FleetError> {
        let now = Place::of(&self.house.books, &self.wheel.session, self.wheel.env);
        let robot = now.and_then(|place| place.robot).filter(|robot| robot.present);
        let robot = robot.ok_or_else(|| FleetError::Unavailable {
            message: "the session's simulator is away".to_owned(),
            retry_after: Duration::from_secs(1),
        })?;
        let driver: Arc<dyn PolicyDriver> = self.house.driver(&self.place.policy)?;
        let frame = camera::picture(&self.house.http, &robot, &self.wheel.session).await?;
        self.record(&robot).await;
        if let Some(recording) = &self.recording {
            recording.shutter().put(frame.clone());
        }
        let acting = driver.act(frame, &self.place.instruction);
        let action = timeout(ACT_TIME, acting).await.map_err(|_| {
            FleetError::Deadline(format!("the policy gave no action within {} s", ACT_TIME.as_secs()))
        })??;
        // A person who took over meanwhile has a newer fence: the bridge drops this.
        let command = ToRobot::Action { action: for_robot(action) };
        self.wheel.remember(command.clone());
        self.wheel.put(fence, command, false);
        Ok(())
    }

    async fn record(&mut self, robot: &Robot) {
        let over = self.recording.as_ref().is_some_and(Recording::is_over);
        self.full += u32::from(over);
        if over || self.recording.as_ref().is_some_and(|recording| recording.instance() != robot.id) {
            self.stop_recording().await;
        }
        if self.recording.is_none() && self.full < MOST_RECORDINGS {
            self.recording = Some(Recording::of_policy(&self.wheel, &self.house, &self.place, robot));
        }
    }

    async fn stop_recording(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.finish(&self.house).await;
        }
    }

    async fn complain(&mut self, error: &FleetError) {
        let trouble = error.to_string();
        tracing::warn!(session = %self.wheel.session, "the policy does not drive: {trouble}");
        if trouble != self.trouble {
            self.tell(&format!("policy failed: {trouble}")).await;
            self.trouble = trouble;
        }
    }

    async fn recovered(&mut self) {
        self.wait = FIRST_WAIT;
        if !std::mem::take(&mut self.trouble).is_empty() {
            self.tell("policy drives again").await;
        }
    }

    async fn tell(&self, sentence: &str) {
        let instance = self.wheel.lease.borrow().instance;
        if let Some(instance) = instance {
            note(&self.house, &self.wheel.session, instance, sentence).await;
        }
    }
}
