//! The simulation loop: one thread owns the session. Jobs come in by a bounded channel and are done between ticks; what
//! the robot says goes out by broadcast, how the simulator does by a watch.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{broadcast, watch};

use super::command::Command;
use super::error::SimulatorError;
use super::session::{Controller, Done, Phase, Session};
use super::sketch::Scenery;
use super::snapshot::Snapshot;
use super::surroundings::Surroundings;
use super::world::World;
use crate::instance::contract::{self, FromRobot, ToRobot};
use crate::instance::step::Spec;

/// Robot states are sent this often.
const STATE_EVERY: Duration = Duration::from_millis(20);
/// Of so many, one brings sensor data with it.
const STATES_A_SENSOR: u32 = 5;
/// The clock does not catch up with more than this.
const LATE: Duration = Duration::from_millis(250);
/// Between two publications of figures that change with every tick.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// Over which the speed is measured.
const SPEED_OVER: Duration = Duration::from_millis(500);

/// Something to be done by the loop.
pub(super) type Job = Box<dyn FnOnce(&mut Engine) + Send>;

/// What the robot of a session says, or that the session is gone.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// To everybody who listens to a session.
    Robot(FromRobot),
    /// The session is not here any more.
    Ended(Ending),
}

/// Why a session is not here any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Another one was loaded under this fence.
    Superseded(u64),
    /// It was deleted.
    Deleted,
}

/// Something said, and in which session.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// The session.
    pub session: Arc<str>,
    /// What.
    pub said: Said,
}

/// How the simulator does.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vitals {
    /// The session; empty for none.
    pub session: String,
    /// The session was loaded under.
    pub session_fence: u64,
    /// The highest fence seen.
    pub fence: u64,
    /// The session's task or scenario.
    pub environment: String,
    /// Whether time passes.
    pub phase: Phase,
    /// Who drives.
    pub controller: Controller,
    /// How long a step takes at least.
    pub pace: Option<Duration>,
    /// Steps and ticks since it was loaded.
    pub frame_count: i64,
    /// Simulated time, in ns.
    pub sim_ns: i64,
    /// Steps and ticks a second, measured.
    pub fps: f64,
    /// Unix ms; 0 for never.
    pub last_command_ms: i64,
    /// The picture asked for.
    pub stream: contract::Stream,
}

/// The loop's own state.
pub(super) struct Engine {
    session: Option<Session>,
    name: Arc<str>,
    fence: u64,
    last_command_ms: i64,
    next_tick: Instant,
    next_state: Instant,
    states: u32,
    speed: Speed,
    published: Instant,
    said: broadcast::Sender<Heard>,
    vitals: watch::Sender<Vitals>,
}

struct Speed {
    since: Instant,
    frames: u32,
    fps: f64,
}

impl Engine {
    pub fn new(said: broadcast::Sender<Heard>, vitals: watch::Sender<Vitals>) -> Self {
        let now = Instant::now();
        Self {
            session: None,
            name: Arc::from(""),
            fence: 0,
            last_command_ms: 0,
            next_tick: now,
            next_state: now,
            states: 0,
            speed: Speed { since: now, frames: 0, fps: 0.0 },
            published: now,
            said,
            vitals,
        }
    }

    /// Runs until nobody can send jobs any more.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let wait = self.next_due().map(|due| due.saturating_duration_since(Instant::now()));
            let next = match wait {
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => jobs.recv_timeout(wait),
            };
            match next {
                Ok(job) => job(&mut self),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.advance(Instant::now());
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        let tick = (session.phase == Phase::Running)
            .then(|| session.free_from().map_or(self.next_tick, |free| free.max(self.next_tick)));
        let state = (self.said.receiver_count() > 0).then_some(self.next_state);
        tick.into_iter().chain(state).min()
    }

    fn advance(&mut self, now: Instant) {
        let Some(session) = self.session.as_mut() else { return };
        let (said, name) = (&self.said, &self.name);
        let mut tell = |message| tell(said, name, message);
        if session.phase == Phase::Running && !session.stepped(now) {
            if now.saturating_duration_since(self.next_tick) > LATE {
                self.next_tick = now;
            }
            let step = session.tick_time();
            while self.next_tick <= now {
                session.tick(now, &mut tell);
                self.next_tick += step;
                self.speed.frames += 1;
            }
        }
        if self.next_state <= now {
            if said.receiver_count() > 0 {
                tell(session.robot_state());
                if self.states.is_multiple_of(STATES_A_SENSOR) {
                    tell(session.sensor_data());
                }
                self.states = self.states.wrapping_add(1);
            }
            self.next_state += STATE_EVERY;
            if now.saturating_duration_since(self.next_state) > LATE {
                self.next_state = now + STATE_EVERY;
            }
        }
        if now.duration_since(self.published) >= PUBLISH_EVERY {
            self.publish(now);
        }
    }

    fn publish(&mut self, now: Instant) {
        let over = now.duration_since(self.speed.since);
        if over >= SPEED_OVER {
            let fps = f64::from(self.speed.frames) / over.as_secs_f64();
            self.speed = Speed { since: now, frames: 0, fps };
        }
        self.published = now;
        let mut vitals =
            Vitals { fence: self.fence, last_command_ms: self.last_command_ms, ..Vitals::default() };
        if let Some(session) = &self.session {
            vitals.session.clone_from(&session.id);
            vitals.session_fence = session.fence;
            vitals.environment = session.world.spec().environment;
            vitals.phase = session.phase;
            vitals.controller = session.controller;
            vitals.pace = session.paced().then(|| session.tick_time());
            vitals.frame_count = session.frames;
            vitals.sim_ns = session.sim_ns;
            vitals.fps = if session.phase == Phase::Running { self.speed.fps } else { 0.0 };
            vitals.stream.clone_from(&session.stream);
        }
        self.vitals.send_replace(vitals);
    }

    /// Refuses a stale fence and remembers a higher one.
    fn check(&mut self, fence: u64) -> Result<(), SimulatorError> {
        if fence < self.fence {
            return Err(SimulatorError::Stale { given: fence, highest: self.fence });
        }
        self.fence = fence;
        Ok(())
    }

    /// The session that an order under a fence is about.
    fn held(&mut self, id: &str, fence: u64) -> Result<&mut Session, SimulatorError> {
        self.check(fence)?;
        let session = self.session.as_mut().filter(|session| session.id == id);
        let session = session.ok_or_else(|| SimulatorError::NotFound(id.to_owned()))?;
        if session.fence != fence {
            return Err(SimulatorError::WrongPhase(format!(
                "session {id:?} is loaded under fence {}, and this order is of fence {fence}: load the scene first",
                session.fence
            )));
        }
        Ok(session)
    }

    pub fn has(&mut self, id: &str, fence: u64) -> Result<(), SimulatorError> {
        self.held(id, fence).map(|_| ())
    }

    /// Whether a load has nothing left to do; the paths it would answer.
    pub fn loaded(&self, id: &str, load: &contract::Load) -> Result<Option<Vec<String>>, SimulatorError> {
        if load.fence < self.fence {
            return Err(SimulatorError::Stale { given: load.fence, highest: self.fence });
        }
        let Some(session) = self.session.as_ref().filter(|session| session.fence == load.fence) else {
            return Ok(None);
        };
        if session.id != id {
            return Err(SimulatorError::WrongPhase(format!(
                "session {:?} is loaded under fence {}: load another under a higher fence, or delete it first",
                session.id, session.fence
            )));
        }
        let same = session.scene == load.scene_config && session.stream == load.stream_config;
        Ok(same.then(|| session.loaded_paths.clone()))
    }

    pub fn load(
        &mut self,
        id: String,
        load: contract::Load,
        world: Box<dyn World>,
        around: Surroundings,
    ) -> Result<Vec<String>, SimulatorError> {
        if let Some(paths) = self.loaded(&id, &load)? {
            return Ok(paths);
        }
        self.check(load.fence)?;
        if self.session.as_ref().is_some_and(|before| before.id != id || before.fence != load.fence) {
            self.end(Ending::Superseded(load.fence));
        }
        self.name = Arc::from(id.as_str());
        let session = Session::new(id, load, world, around);
        tracing::info!(
            session = session.id,
            fence = session.fence,
            environment = session.scene.environment,
            "loaded"
        );
        let paths = session.loaded_paths.clone();
        self.session = Some(session);
        self.publish(Instant::now());
        Ok(paths)
    }

    fn end(&mut self, ending: Ending) {
        if let Some(session) = self.session.take() {
            tracing::info!(session = session.id, ?ending, "ended");
            drop(self.said.send(Heard { session: Arc::clone(&self.name), said: Said::Ended(ending) }));
        }
    }

    pub fn delete(&mut self, id: &str, fence: u64) -> Result<(), SimulatorError> {
        let here = self.session.as_ref().is_some_and(|session| session.id == id);
        if here {
            self.check(fence)?;
            self.end(Ending::Deleted);
        } else {
            self.fence = self.fence.max(fence);
        }
        self.publish(Instant::now());
        Ok(())
    }

    /// Ends whatever runs, under a fence.
    pub fn clear(&mut self, fence: u64) -> Result<(), SimulatorError> {
        self.check(fence)?;
        self.end(Ending::Deleted);
        self.publish(Instant::now());
        Ok(())
    }

    pub fn start(&mut self, id: &str, order: contract::Start) -> Result<(), SimulatorError> {
        self.held(id, order.fence)?.start(order.real_time, order.time_scale)?;
        let now = Instant::now();
        (self.next_tick, self.speed.since, self.speed.frames) = (now, now, 0);
        self.publish(now);
        Ok(())
    }

    pub fn stand_still(&mut self, id: &str, fence: u64, phase: Phase) -> Result<(), SimulatorError> {
        self.held(id, fence)?.stand_still(phase);
        self.publish(Instant::now());
        Ok(())
    }

    pub fn drive(&mut self, id: &str, fence: u64, controller: Controller) -> Result<(), SimulatorError> {
        let session = self.held(id, fence)?;
        let before = session.controller;
        session.drive(controller);
        if before != controller {
            tell(&self.said, &self.name, FromRobot::Mode { mode: controller.mode().to_owned() });
        }
        self.publish(Instant::now());
        Ok(())
    }

    pub fn change(&mut self, id: &str, patch: &contract::ScenePatch) -> Result<Vec<String>, SimulatorError> {
        let position =
            patch.robot_position.map(|position| super::shape::pose(Some(position), None)).transpose()?;
        let session = self.held(id, patch.fence)?;
        let paths = session.around.change(&patch.add, &patch.remove)?;
        if let Some(position) = position {
            session.world.place(position.translation_m);
        }
        Ok(paths)
    }

    pub fn snapshot(&mut self, id: &str, fence: u64) -> Result<Snapshot, SimulatorError> {
        Ok(Snapshot::of(self.held(id, fence)?))
    }

    pub fn restore(&mut self, id: &str, fence: u64, snapshot: &Snapshot) -> Result<(), SimulatorError> {
        snapshot.put_into(self.held(id, fence)?)?;
        self.publish(Instant::now());
        Ok(())
    }

    pub fn command(&mut self, id: &str, fence: u64, message: &ToRobot) -> Result<(), SimulatorError> {
        if let ToRobot::Mode { mode } = message {
            return self.drive(id, fence, Controller::read(mode)?);
        }
        let session = self.held(id, fence)?;
        if let Some(command) = Command::read(message, session.world.joint_names())? {
            session.command(&command, Instant::now())?;
            self.last_command_ms = unix_ms();
        }
        Ok(())
    }

    fn stepping(&mut self) -> Result<&mut Session, SimulatorError> {
        let session = self.session.as_mut();
        let session = session.ok_or_else(|| SimulatorError::WrongPhase("no session is loaded".to_owned()))?;
        if session.phase == Phase::Stopped {
            return Err(SimulatorError::WrongPhase(format!("session {:?} is stopped", session.id)));
        }
        Ok(session)
    }

    pub fn spec(&mut self) -> Result<Spec, SimulatorError> {
        Ok(self.stepping()?.world.spec())
    }

    pub fn reset(&mut self, seed: Option<u64>) -> Result<(Vec<f64>, Controller), SimulatorError> {
        let session = self.stepping()?;
        Ok((session.reset(seed, Instant::now()), session.controller))
    }

    pub fn step(&mut self, action: &[f64]) -> Result<Done, SimulatorError> {
        let (said, name) = (self.said.clone(), Arc::clone(&self.name));
        let done =
            self.stepping()?.step(action, Instant::now(), &mut |message| tell(&said, &name, message))?;
        self.speed.frames += 1;
        Ok(done)
    }

    /// What a picture of a session shows.
    pub fn scenery(&self, id: &str) -> Result<Scenery, SimulatorError> {
        let session = self.session.as_ref().filter(|session| session.id == id);
        let session = session.ok_or_else(|| SimulatorError::NotFound(id.to_owned()))?;
        Ok(session.world.sketch().with(&session.around, session.scene.enable_shadows))
    }
}

fn tell(said: &broadcast::Sender<Heard>, session: &Arc<str>, message: FromRobot) {
    if said.receiver_count() > 0 {
        drop(said.send(Heard { session: Arc::clone(session), said: Said::Robot(message) }));
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
