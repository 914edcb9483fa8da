//! What a simulator simulates: a robot, its task, and what can be seen of both. Every world advances in steps of
//! [`STEP_S`], so that one tick of the clock is one step of the task.

use glam::DVec3;
use serde::Deserialize;
use serde_json::Value;

use super::balance::Balance;
use super::cartpole;
use super::command::Command;
use super::drive::Drive;
use super::error::SimulatorError;
use super::reach::Reach;
use super::shape;
use super::sketch::Sketch;
use super::surroundings::Surroundings;
use crate::geometry::Pose;
use crate::instance::contract;
use crate::instance::step::Spec;
use crate::scene::shelf::Shelf;

/// One tick and one step, in seconds.
pub const STEP_S: f64 = cartpole::STEP_S;

/// What a step of the task led to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    /// For the step.
    pub reward: f64,
    /// The task ended the episode.
    pub terminated: bool,
    /// The episode was cut off.
    pub truncated: bool,
    /// The task is done.
    pub success: bool,
    /// An obstacle stopped the robot.
    pub collision: bool,
}

impl Outcome {
    /// Whether the episode is over.
    #[must_use]
    pub fn done(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// What a robot's joints do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JointReadings {
    /// rad or m.
    pub positions: Vec<f64>,
    /// rad/s or m/s.
    pub velocities: Vec<f64>,
}

/// A robot and its task.
pub trait World: Send {
    /// Sizes and name of the task.
    fn spec(&self) -> Spec;

    /// A new episode; the same seed begins the same one.
    fn reset(&mut self, seed: Option<u64>);

    /// What the task shows.
    fn observe(&self, around: &Surroundings) -> Vec<f64>;

    /// One step of the task, as a trainer asks for it.
    ///
    /// # Errors
    /// When the action is none of this task's.
    fn act(&mut self, action: &[f64], around: &Surroundings) -> Result<Outcome, SimulatorError>;

    /// Takes up a command; the one before is forgotten.
    fn command(&mut self, command: &Command);

    /// The command is forgotten; what the task was doing goes on.
    fn release(&mut self);

    /// Nobody commands any more: the robot stops.
    fn halt(&mut self);

    /// The command in the task's terms: what a trainer would have to ask for to have the same done.
    fn intended(&self) -> Vec<f64>;

    /// One tick of the clock under the command. What was done in the task's terms and what it led to; `None` without a
    /// command, and under one that the task has no word for.
    fn tick(&mut self, around: &Surroundings) -> Option<(Vec<f64>, Outcome)>;

    /// Names of the joints.
    fn joint_names(&self) -> &'static [&'static str];

    /// What they do.
    fn joints(&self) -> JointReadings;

    /// The hand or the base: `world_from_hand`.
    fn pose(&self) -> Pose;

    /// The hand in its base's frame and its gripper, 0 closed to 1 open: what a policy's action is about. A vehicle is
    /// its own hand.
    fn hand(&self) -> (Pose, f64);

    /// Puts the robot somewhere.
    fn place(&mut self, position_m: DVec3);

    /// Distances to what stands around, at most [`super::surroundings::LIDAR_REACH_M`].
    fn lidar(&self, around: &Surroundings) -> Vec<f64>;

    /// Everything that [`World::restore`] needs.
    fn save(&self) -> Value;

    /// Goes back to what was saved.
    ///
    /// # Errors
    /// When it was saved of another world.
    fn restore(&mut self, saved: &Value) -> Result<(), SimulatorError>;

    /// What a picture of it shows, obstacles excepted.
    fn sketch(&self) -> Sketch;
}

/// Opens the world that a scene names. Blocks while a scenario is read.
///
/// # Errors
/// When there is no such world, or a value of the scene makes no sense.
pub fn open(scene: &contract::Scene, shelf: &Shelf) -> Result<Box<dyn World>, SimulatorError> {
    let start = match scene.start_position {
        None if scene.start_rotation.is_none() => None,
        position => Some((shape::pose(position, scene.start_rotation)?, scene.start_rotation.is_some())),
    };
    match scene.environment.trim() {
        "" | "balance" => Ok(Box::new(Balance::new(arm_base(start))?)),
        "reach" => Ok(Box::new(Reach::new(arm_base(start)))),
        name => {
            let path = shelf.find(name).map_err(|_| {
                SimulatorError::Invalid(format!(
                    "environment {name:?} is not known; expected balance, reach or the name of a USDZ file in --scenes"
                ))
            })?;
            Ok(Box::new(Drive::open(&path, start.map(|(pose, _)| pose))?))
        }
    }
}

/// Where an arm stands: behind the origin, its front to negative y, so that its left is positive x.
fn arm_base(start: Option<(Pose, bool)>) -> Pose {
    let turned = glam::DQuat::from_rotation_z(-std::f64::consts::FRAC_PI_2);
    match start {
        None => Pose { translation_m: DVec3::Y * 0.5, rotation: turned },
        Some((pose, true)) => pose,
        Some((pose, false)) => Pose { rotation: turned, ..pose },
    }
}

/// Reads what a world saved.
pub(super) fn saved<T: for<'de> Deserialize<'de>>(value: &Value) -> Result<T, SimulatorError> {
    T::deserialize(value)
        .map_err(|error| SimulatorError::Invalid(format!("the snapshot is not of this world: {error}")))
}

/// Writes what a world saves.
pub(super) fn save<T: serde::Serialize>(state: &T) -> Value {
    serde_json::to_value(state).unwrap_or(Value::Null)
}
