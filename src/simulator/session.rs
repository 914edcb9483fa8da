//! A loaded session: its world, its clock, who drives it.

use std::time::{Duration, Instant};

use glam::EulerRot;

use super::command::Command;
use super::error::SimulatorError;
use super::surroundings::Surroundings;
use super::world::{Outcome, STEP_S, World};
use crate::geometry::{Pose, rotation};
use crate::instance::contract::{self, FromRobot, Step};

/// A speed that is not said again is forgotten after this.
pub const COMMAND_HOLD: Duration = Duration::from_millis(200);
/// A place to go to is pursued for so long.
pub const AIM_HOLD: Duration = Duration::from_secs(2);
/// A trainer that asked for no step for so long does not step the task any more: the clock goes on by itself.
const STEPPED_FOR: Duration = Duration::from_secs(1);
/// A trainer's steps are told to watchers no more often than this.
const TELL_EVERY: Duration = Duration::from_millis(20);
/// Slowest and fastest clock, in simulated seconds a second.
const SCALES: [f64; 2] = [0.001, 100.0];

/// Whether time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Not started yet.
    #[default]
    Loaded,
    /// Time passes.
    Running,
    /// Time stands still until it is started again; steps wait.
    Paused,
    /// Time stands still; steps are refused.
    Stopped,
}

/// Who drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Controller {
    /// Whoever sends something.
    #[default]
    Nobody,
    /// A policy or a trainer.
    Policy,
    /// A person.
    Human,
}

impl Controller {
    /// Reads `policy`, `human` or `none`.
    ///
    /// # Errors
    /// On anything else.
    pub fn read(name: &str) -> Result<Self, SimulatorError> {
        match name {
            "policy" | "ai" => Ok(Self::Policy),
            "human" | "manual" => Ok(Self::Human),
            "none" | "" => Ok(Self::Nobody),
            _ => Err(SimulatorError::Invalid(format!(
                "controller {name:?} is not known; expected policy, human or none"
            ))),
        }
    }

    /// The websocket's word: `manual` or `ai`.
    #[must_use]
    pub fn mode(self) -> &'static str {
        if self == Self::Human { "manual" } else { "ai" }
    }
}

/// A step that was done.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// After it.
    pub observation: Vec<f64>,
    /// What it led to.
    pub outcome: Outcome,
    /// What was really done.
    pub action: Vec<f64>,
    /// Who chose it.
    pub controller: &'static str,
}

/// A command in force.
#[derive(Debug, Clone, Copy)]
struct Held {
    until: Instant,
    by: &'static str,
    /// It is an action of a policy's kind.
    acts: bool,
}

/// A loaded session.
pub struct Session {
    /// Its id.
    pub id: String,
    /// It was loaded under.
    pub fence: u64,
    /// As loaded.
    pub scene: contract::Scene,
    /// As loaded.
    pub stream: contract::Stream,
    /// The prim paths of the obstacles it was loaded with.
    pub loaded_paths: Vec<String>,
    /// What is simulated.
    pub world: Box<dyn World>,
    /// What stands around.
    pub around: Surroundings,
    /// Whether time passes.
    pub phase: Phase,
    /// Steps keep to the wall clock.
    pub real_time: bool,
    /// Simulated seconds a second.
    pub scale: f64,
    /// Who drives.
    pub controller: Controller,
    /// Simulated time, in ns.
    pub sim_ns: i64,
    /// Steps and ticks since it was loaded.
    pub frames: i64,
    held: Option<Held>,
    policy_action: Option<Vec<f64>>,
    stepped: Option<Instant>,
    told: Option<Instant>,
    reward: f64,
    done: bool,
}

impl Session {
    /// Just loaded.
    pub fn new(id: String, load: contract::Load, world: Box<dyn World>, around: Surroundings) -> Self {
        Self {
            id,
            fence: load.fence,
            loaded_paths: around.iter().map(|placed| placed.path.clone()).collect(),
            scene: load.scene_config,
            stream: load.stream_config,
            world,
            around,
            phase: Phase::Loaded,
            real_time: false,
            scale: 1.0,
            controller: Controller::Nobody,
            sim_ns: 0,
            frames: 0,
            held: None,
            policy_action: None,
            stepped: None,
            told: None,
            reward: 0.0,
            done: false,
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// When the scale is no sensible number.
    pub fn start(&mut self, real_time: bool, time_scale: f64) -> Result<(), SimulatorError> {
        let scale = if time_scale == 0.0 { 1.0 } else { time_scale };
        let [slowest, fastest] = SCALES;
        if !(slowest..=fastest).contains(&scale) {
            return Err(SimulatorError::Invalid(format!(
                "time_scale is {time_scale}; expected {slowest} to {fastest}, or 0 for 1"
            )));
        }
        (self.real_time, self.scale, self.phase) = (real_time, scale, Phase::Running);
        Ok(())
    }

    /// Time stands still; nothing is commanded any more.
    pub fn stand_still(&mut self, phase: Phase) {
        self.phase = phase;
        self.let_go();
    }

    /// How long a tick takes on the wall clock.
    #[must_use]
    pub fn tick_time(&self) -> Duration {
        Duration::try_from_secs_f64(STEP_S / self.scale).unwrap_or(Duration::from_millis(20))
    }

    /// Whether steps wait for the wall clock.
    #[must_use]
    pub fn paced(&self) -> bool {
        self.real_time || self.controller == Controller::Human
    }

    /// Whether a trainer steps the task now.
    #[must_use]
    pub fn stepped(&self, now: Instant) -> bool {
        self.stepped.is_some_and(|last| now.duration_since(last) < STEPPED_FOR)
    }

    /// When the clock goes on by itself again: now, or when a trainer has been silent long enough.
    #[must_use]
    pub fn free_from(&self) -> Option<Instant> {
        self.stepped.map(|last| last + STEPPED_FOR)
    }

    /// Says who drives; what another one commanded ends.
    pub fn drive(&mut self, controller: Controller) {
        if self.controller != controller {
            self.let_go();
        }
        self.controller = controller;
    }

    /// Takes up a command.
    ///
    /// # Errors
    /// When time stands still, or a trainer drives.
    pub fn command(&mut self, command: &Command, now: Instant) -> Result<(), SimulatorError> {
        if self.phase != Phase::Running {
            return Err(SimulatorError::WrongPhase("time stands still: start the session first".to_owned()));
        }
        if self.controller != Controller::Human && self.stepped(now) {
            return Err(SimulatorError::WrongPhase(
                "a trainer steps this simulator: take control first".to_owned(),
            ));
        }
        let policy = matches!(command, Command::Action { .. });
        let by = match self.controller {
            Controller::Human => "human",
            Controller::Policy => "policy",
            Controller::Nobody if policy => "policy",
            Controller::Nobody => "human",
        };
        self.policy_action = match command {
            Command::Action { translation_m, rotation_rad, gripper } => {
                let numbers = translation_m.to_array().into_iter().chain(rotation_rad.to_array());
                Some(numbers.chain([*gripper]).collect())
            }
            _ => None,
        };
        let hold = if command.aims() { AIM_HOLD } else { COMMAND_HOLD };
        self.held = Some(Held { until: now + hold, by, acts: self.policy_action.is_some() });
        self.world.command(command);
        Ok(())
    }

    /// A new episode.
    pub fn reset(&mut self, seed: Option<u64>, now: Instant) -> Vec<f64> {
        self.stepped = Some(now);
        self.world.reset(seed);
        self.world.observe(&self.around)
    }

    /// One step that a trainer asked for; a person's action in its place while a person drives.
    ///
    /// # Errors
    /// When the action is none of the task's.
    pub fn step(
        &mut self,
        action: &[f64],
        now: Instant,
        tell: &mut dyn FnMut(FromRobot),
    ) -> Result<Done, SimulatorError> {
        let watched = self.controller == Controller::Human
            || self.told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY);
        let before = if watched { self.world.observe(&self.around) } else { Vec::new() };
        let (action, by) = if self.controller == Controller::Human {
            if self.held.is_some_and(|held| held.until <= now) {
                self.held = None;
                self.world.release();
            }
            (self.world.intended(), "human")
        } else {
            if self.held.take().is_some() {
                self.world.release();
            }
            (action.to_vec(), "trainer")
        };
        let outcome = self.world.act(&action, &self.around)?;
        self.stepped = Some(now);
        if watched {
            self.told = Some(now);
            tell(self.as_step(before, &action, outcome, by));
        }
        self.passed(outcome);
        Ok(Done { observation: self.world.observe(&self.around), outcome, action, controller: by })
    }

    /// One tick of the clock.
    pub fn tick(&mut self, now: Instant, tell: &mut dyn FnMut(FromRobot)) {
        if self.held.is_some_and(|held| held.until <= now) {
            self.let_go();
        }
        let Some(Held { by, acts, .. }) = self.held else {
            self.world.tick(&self.around);
            self.passed(Outcome::default());
            return;
        };
        let before = self.world.observe(&self.around);
        let (hand, _) = self.world.hand();
        let done = self.world.tick(&self.around);
        let asked = self.policy_action.take();
        let seen = match &done {
            Some((action, outcome)) => Some((action.clone(), *outcome)),
            // A task that has no word for it. An action is told once, as it was asked for; anything else as the motion
            // that it led to, in an action's terms.
            None if acts => asked.map(|action| (action, Outcome::default())),
            None => Some((motion(&hand, self.world.hand()), Outcome::default())),
        };
        if let Some((action, outcome)) = seen {
            tell(self.as_step(before, &action, outcome, by));
        }
        self.passed(done.map(|(_, outcome)| outcome).unwrap_or_default());
    }

    /// What the robot's joints do.
    #[must_use]
    pub fn robot_state(&self) -> FromRobot {
        let joints = self.world.joints();
        let pose = self.world.pose();
        let [x, y, z, w] = pose.quaternion_xyzw();
        FromRobot::RobotState {
            timestamp: self.sim_ns,
            names: self.world.joint_names().iter().map(|name| (*name).to_owned()).collect(),
            positions: joints.positions,
            velocities: joints.velocities,
            pose: pose.translation_m.to_array().into_iter().chain([w, x, y, z]).collect(),
        }
    }

    /// What its sensors see, and what happened since the last time.
    pub fn sensor_data(&mut self) -> FromRobot {
        FromRobot::SensorData {
            timestamp: self.sim_ns,
            lidar: self.world.lidar(&self.around),
            reward: std::mem::take(&mut self.reward),
            done: std::mem::take(&mut self.done),
        }
    }

    /// Nobody commands any more.
    fn let_go(&mut self) {
        if self.held.take().is_some() {
            self.world.halt();
        }
        self.policy_action = None;
    }

    fn passed(&mut self, outcome: Outcome) {
        self.sim_ns += (STEP_S * 1e9) as i64;
        self.frames += 1;
        self.reward += outcome.reward;
        self.done |= outcome.done();
    }

    fn as_step(&self, before: Vec<f64>, action: &[f64], outcome: Outcome, by: &str) -> FromRobot {
        FromRobot::Step(Step {
            timestamp: self.sim_ns,
            observation: before,
            action: action.to_vec(),
            reward: outcome.reward,
            done: outcome.done(),
            controller: by.to_owned(),
        })
    }
}

/// How a hand moved, in the seven numbers of an action: metres and roll, pitch, yaw (radians, about fixed axes) in the
/// base's frame, and the gripper.
fn motion(before: &Pose, (hand, gripper): (Pose, f64)) -> Vec<f64> {
    let turn = rotation::product(hand.rotation, before.rotation.conjugate());
    let (yaw, pitch, roll) = turn.to_euler(EulerRot::ZYX);
    let moved = hand.translation_m - before.translation_m;
    vec![moved.x, moved.y, moved.z, roll, pitch, yaw, gripper]
}
