//! A NuRec scenario to drive through: a base that starts where the recorded rig did, among what was recorded. Time in the
//! recording is simulated time.

use std::path::Path;
use std::sync::Arc;

use glam::{DQuat, DVec2, DVec3};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command::{Command, JointTarget};
use super::error::SimulatorError;
use super::robot_sketch::looking;
use super::shape::Shape;
use super::sketch::{Recording, Sketch};
use super::surroundings::Surroundings;
use super::world::{JointReadings, Outcome, STEP_S, World, save, saved};
use crate::geometry::Pose;
use crate::instance::step::{ActionSpace, Spec};
use crate::scene::{Camera, LoadLimits, Scenario};

/// Joints of a base.
const NAMES: [&str; 3] = ["base_x", "base_y", "base_yaw"];
/// Slowest (backwards) and fastest, in m/s.
const SPEEDS_M_S: [f64; 2] = [-5.0, 20.0];
/// Fastest turn, in rad/s.
const TURN_RAD_S: f64 = 0.8;
/// A ball of this radius in the middle of the base is what stops it.
const RADIUS_M: f64 = 1.2;
/// How high the ball and the lidar are over the ground, in metres.
const HEIGHT_M: f64 = 0.8;
/// Rays of the lidar.
const RAYS: usize = 16;
/// Forward, turn; place relative to the goal point, and the lidar.
const OBSERVATION: usize = 2 + 3 + RAYS;
/// The goal point is so far ahead on the recorded path, in metres.
const AHEAD_M: f64 = 10.0;
/// Further from the recorded path than this, the episode ends, in metres.
const LOST_M: f64 = 15.0;
/// Things further away are not looked at, in metres.
const NEAR_M: f64 = 40.0;
/// Closer than this to a target, a joint is there: metres, radians.
const THERE: f64 = 0.02;

/// The world.
pub struct Drive {
    scenario: Arc<Scenario>,
    name: String,
    camera: Option<Camera>,
    /// The recorded path and how far along each point is, in metres.
    path: Vec<(DVec3, f64)>,
    base: Base,
    steps: u32,
    over: bool,
    goal: Option<Goal>,
}

/// Where the base is and how it moves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Base {
    x_m: f64,
    y_m: f64,
    z_m: f64,
    yaw_rad: f64,
    speed_m_s: f64,
    turn_rad_s: f64,
    /// Of the path's points, the nearest.
    reached: usize,
    /// Since the recording's start.
    time_us: i64,
}

#[derive(Debug, Clone, PartialEq)]
enum Goal {
    Speeds { forward_m_s: f64, turn_rad_s: f64 },
    Joints(Vec<(usize, JointTarget)>),
}

#[derive(Serialize, Deserialize)]
struct Saved {
    base: Base,
    steps: u32,
    over: bool,
}

impl Drive {
    /// Opens a scenario. Blocks while it is read.
    ///
    /// # Errors
    /// When it is none, or has no recorded path.
    pub fn open(path: &Path, start: Option<Pose>) -> Result<Self, SimulatorError> {
        let invalid = |reason: String| SimulatorError::Invalid(reason);
        let scenario =
            Scenario::open(path, &LoadLimits::default()).map_err(|error| invalid(error.to_string()))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut along = 0.0;
        let mut points: Vec<(DVec3, f64)> = Vec::new();
        for pose in &scenario.ego.poses {
            along += points.last().map_or(0.0, |(before, _)| before.distance(pose.translation_m));
            points.push((pose.translation_m, along));
        }
        let first =
            *scenario.ego.poses.first().ok_or_else(|| invalid(format!("{name} has no recorded path")))?;
        let camera = scenario.cameras.first().cloned();
        let mut world = Self {
            base: Base::at(&start.unwrap_or(first)),
            scenario: Arc::new(scenario),
            name,
            camera,
            path: points,
            steps: 0,
            over: false,
            goal: None,
        };
        world.follow_path();
        Ok(world)
    }

    fn limit_steps(&self) -> u32 {
        let lasts_s = (self.scenario.end_us - self.scenario.start_us) as f64 / 1e6;
        (lasts_s / STEP_S).ceil().clamp(1.0, 1e6) as u32
    }

    fn now_us(&self) -> i64 {
        (self.scenario.start_us + self.base.time_us).min(self.scenario.end_us.saturating_sub(1))
    }

    /// What is recorded near the base now.
    fn others(&self) -> Vec<(Shape, Pose)> {
        let here = self.base.middle_m();
        let alive = self.scenario.tracks.alive_at(self.now_us());
        alive
            .filter(|(_, _, pose)| pose.translation_m.distance(here) < NEAR_M)
            .map(|(_, track, pose)| (Shape::Box(0.5 * track.dimensions_m.abs()), pose))
            .collect()
    }

    fn blocked(&self, to: &Base, around: &Surroundings) -> bool {
        let (from_m, to_m) = (self.base.middle_m(), to.middle_m());
        around.stops(from_m, to_m, RADIUS_M)
            || around.solid
                && self.others().iter().any(|(shape, pose)| {
                    let at = |point: DVec3| shape.distance_m(pose.inverse().transform_point(point));
                    at(to_m) < RADIUS_M && at(to_m) < at(from_m)
                })
    }

    /// Moves for one step; the outcome of the task.
    fn advance(&mut self, forward_m_s: f64, turn_rad_s: f64, around: &Surroundings) -> Outcome {
        let [slowest, fastest] = SPEEDS_M_S;
        let before = self.along();
        let mut next = self.base;
        next.speed_m_s = forward_m_s.clamp(slowest, fastest);
        next.turn_rad_s = turn_rad_s.clamp(-TURN_RAD_S, TURN_RAD_S);
        next.yaw_rad = wrapped(next.yaw_rad + next.turn_rad_s * STEP_S);
        next.x_m += next.speed_m_s * next.yaw_rad.cos() * STEP_S;
        next.y_m += next.speed_m_s * next.yaw_rad.sin() * STEP_S;
        let collision = next.speed_m_s != 0.0 && self.blocked(&next, around);
        self.base = if collision { Base { speed_m_s: 0.0, turn_rad_s: 0.0, ..self.base } } else { next };
        self.follow_path();
        self.pass();
        let off_m = self.off_path_m();
        let success = self.base.reached + 1 >= self.path.len();
        let terminated = success || off_m > LOST_M;
        self.over |= terminated;
        Outcome {
            reward: self.along() - before - 0.01 * off_m - if collision { 0.1 } else { 0.0 },
            terminated,
            truncated: self.steps >= self.limit_steps(),
            success,
            collision,
        }
    }

    fn pass(&mut self) {
        self.steps = self.steps.saturating_add(1);
        self.base.time_us = self.base.time_us.saturating_add((STEP_S * 1e6) as i64);
    }

    /// Takes the nearest point of the path from where it was, and the height there.
    fn follow_path(&mut self) {
        let here = DVec2::new(self.base.x_m, self.base.y_m);
        let far = |index: usize| {
            self.path.get(index).map_or(f64::INFINITY, |(point, _)| point.truncate().distance(here))
        };
        let mut nearest = self.base.reached.min(self.path.len().saturating_sub(1));
        let begin = nearest.saturating_sub(50);
        for index in begin..(nearest + 50).min(self.path.len()) {
            if far(index) < far(nearest) {
                nearest = index;
            }
        }
        self.base.reached = nearest;
        if let Some((point, _)) = self.path.get(nearest) {
            self.base.z_m = point.z;
        }
    }

    fn along(&self) -> f64 {
        self.path.get(self.base.reached).map_or(0.0, |(_, along)| *along)
    }

    fn off_path_m(&self) -> f64 {
        let here = DVec2::new(self.base.x_m, self.base.y_m);
        self.path.get(self.base.reached).map_or(0.0, |(point, _)| point.truncate().distance(here))
    }

    /// In the base's axes: forward and left of it, in metres.
    fn ahead_m(&self) -> DVec2 {
        let wanted = self.along() + AHEAD_M;
        let index =
            self.path.partition_point(|(_, along)| *along < wanted).min(self.path.len().saturating_sub(1));
        let point = self.path.get(index).map_or(DVec3::ZERO, |(point, _)| *point);
        DVec2::from_angle(-self.base.yaw_rad)
            .rotate(point.truncate() - DVec2::new(self.base.x_m, self.base.y_m))
    }

    /// The speeds that the command asks for now.
    fn speeds(&self) -> [f64; 2] {
        match &self.goal {
            None => [0.0, 0.0],
            Some(Goal::Speeds { forward_m_s, turn_rad_s }) => [*forward_m_s, *turn_rad_s],
            Some(Goal::Joints(targets)) => {
                let mut plane = DVec2::ZERO;
                let mut turn = 0.0;
                for (joint, target) in targets {
                    let now = [self.base.x_m, self.base.y_m, self.base.yaw_rad];
                    let speed = match target {
                        JointTarget::Velocity(speed) => *speed,
                        // A light base on a strong damper.
                        JointTarget::Effort(effort) => effort / 500.0,
                        JointTarget::Position(target) => {
                            let left = target - now.get(*joint).copied().unwrap_or(*target);
                            let left = if *joint == 2 { wrapped(left) } else { left };
                            if left.abs() < THERE { 0.0 } else { 2.0 * left }
                        }
                    };
                    match joint {
                        0 => plane.x = speed,
                        1 => plane.y = speed,
                        _ => turn = speed,
                    }
                }
                [plane.dot(DVec2::from_angle(self.base.yaw_rad)), turn]
            }
        }
    }
}

impl Base {
    fn at(pose: &Pose) -> Self {
        let DVec3 { x, y, z } = pose.translation_m;
        Self {
            x_m: x,
            y_m: y,
            z_m: z,
            yaw_rad: pose.yaw_rad(),
            speed_m_s: 0.0,
            turn_rad_s: 0.0,
            reached: 0,
            time_us: 0,
        }
    }

    fn pose(&self) -> Pose {
        Pose {
            translation_m: DVec3::new(self.x_m, self.y_m, self.z_m),
            rotation: DQuat::from_rotation_z(self.yaw_rad),
        }
    }

    fn middle_m(&self) -> DVec3 {
        self.pose().transform_point(DVec3::new(RADIUS_M, 0.0, HEIGHT_M))
    }
}

fn wrapped(angle_rad: f64) -> f64 {
    let turns = (angle_rad + std::f64::consts::PI).rem_euclid(std::f64::consts::TAU);
    turns - std::f64::consts::PI
}

impl World for Drive {
    fn spec(&self) -> Spec {
        Spec {
            environment: self.name.clone(),
            observation_size: OBSERVATION,
            action: ActionSpace::Continuous { continuous: 2, low: -1.0, high: 1.0 },
            max_episode_steps: self.limit_steps(),
        }
    }

    fn reset(&mut self, _seed: Option<u64>) {
        if let Some(first) = self.scenario.ego.poses.first() {
            self.base = Base::at(first);
        }
        (self.steps, self.over, self.goal) = (0, false, None);
        self.follow_path();
    }

    fn observe(&self, around: &Surroundings) -> Vec<f64> {
        let ahead = self.ahead_m();
        let own = [self.base.speed_m_s, self.base.turn_rad_s, ahead.x, ahead.y, self.off_path_m()];
        own.into_iter().chain(self.lidar(around)).collect()
    }

    fn act(&mut self, action: &[f64], around: &Surroundings) -> Result<Outcome, SimulatorError> {
        let &[forward, turn] = action else {
            return Err(SimulatorError::Invalid(format!(
                "an action of {} is 2 numbers from -1 to 1 (speed, turn), not {action:?}",
                self.name
            )));
        };
        if !forward.is_finite() || !turn.is_finite() {
            return Err(SimulatorError::Invalid(format!("the action {action:?} is not finite")));
        }
        let fastest = SPEEDS_M_S[1];
        Ok(self.advance(forward.clamp(-1.0, 1.0) * fastest, turn.clamp(-1.0, 1.0) * TURN_RAD_S, around))
    }

    fn command(&mut self, command: &Command) {
        self.goal = Some(match command {
            Command::Drive { linear_m_s, yaw_rad_s } => {
                Goal::Speeds { forward_m_s: linear_m_s.x, turn_rad_s: *yaw_rad_s }
            }
            Command::Joints(targets) => Goal::Joints(targets.clone()),
            // A policy's step takes a fifth of a second.
            Command::Action { translation_m, rotation_rad, .. } => {
                Goal::Speeds { forward_m_s: translation_m.x / 0.2, turn_rad_s: rotation_rad.z / 0.2 }
            }
        });
    }

    fn release(&mut self) {
        self.goal = None;
    }

    fn halt(&mut self) {
        self.goal = None;
        (self.base.speed_m_s, self.base.turn_rad_s) = (0.0, 0.0);
    }

    fn intended(&self) -> Vec<f64> {
        let [forward, turn] = self.speeds();
        vec![(forward / SPEEDS_M_S[1]).clamp(-1.0, 1.0), (turn / TURN_RAD_S).clamp(-1.0, 1.0)]
    }

    fn tick(&mut self, around: &Surroundings) -> Option<(Vec<f64>, Outcome)> {
        if self.goal.is_none() {
            (self.base.speed_m_s, self.base.turn_rad_s) = (0.0, 0.0);
            self.pass();
            return None;
        }
        let action = self.intended();
        let [forward, turn] = self.speeds();
        Some((action, self.advance(forward, turn, around)))
    }

    fn joint_names(&self) -> &'static [&'static str] {
        &NAMES
    }

    fn joints(&self) -> JointReadings {
        let Base { x_m, y_m, yaw_rad, speed_m_s, turn_rad_s, .. } = self.base;
        JointReadings {
            positions: vec![x_m, y_m, yaw_rad],
            velocities: vec![speed_m_s * yaw_rad.cos(), speed_m_s * yaw_rad.sin(), turn_rad_s],
        }
    }

    fn pose(&self) -> Pose {
        self.base.pose()
    }

    fn hand(&self) -> (Pose, f64) {
        (self.base.pose(), 0.0)
    }

    fn place(&mut self, position_m: DVec3) {
        (self.base.x_m, self.base.y_m, self.base.reached) = (position_m.x, position_m.y, 0);
        let here = position_m.truncate();
        let far = |index: &usize| {
            self.path.get(*index).map_or(f64::INFINITY, |(point, _)| point.truncate().distance(here))
        };
        let nearest = (0..self.path.len()).min_by(|a, b| far(a).total_cmp(&far(b)));
        self.base.reached = nearest.unwrap_or(0);
        self.follow_path();
    }

    fn lidar(&self, around: &Surroundings) -> Vec<f64> {
        around.lidar(self.base.middle_m(), self.base.yaw_rad, RAYS, &self.others())
    }

    fn save(&self) -> Value {
        save(&Saved { base: self.base, steps: self.steps, over: self.over })
    }

    fn restore(&mut self, value: &Value) -> Result<(), SimulatorError> {
        let Saved { base, steps, over } = saved(value)?;
        let numbers = [base.x_m, base.y_m, base.z_m, base.yaw_rad, base.speed_m_s, base.turn_rad_s];
        if numbers.iter().any(|number| !number.is_finite()) || base.time_us < 0 {
            return Err(SimulatorError::Invalid("the snapshot's base is nowhere".to_owned()));
        }
        (self.base, self.steps, self.over) = (base, steps, over);
        self.base.reached = base.reached.min(self.path.len().saturating_sub(1));
        Ok(())
    }

    fn sketch(&self) -> Sketch {
        let base = self.base.pose();
        let recording = self.camera.as_ref().map(|camera| Recording {
            scenario: Arc::clone(&self.scenario),
            at_us: self.now_us(),
            lens: camera.model.clone(),
        });
        let camera = match &self.camera {
            Some(camera) => base.compose(&camera.rig_from_sensor),
            None => looking(
                base.transform_point(DVec3::new(-6.0, 0.0, 4.0)),
                base.transform_point(DVec3::X * 6.0),
            ),
        };
        Sketch { things: Vec::new(), camera, ground_m: self.base.z_m, recording }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::contract;

    fn town() -> Drive {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenes/town.usdz");
        Drive::open(&path, None).unwrap()
    }

    fn forward(speed: f64, turn: f64) -> Command {
        Command::Drive { linear_m_s: DVec3::X * speed, yaw_rad_s: turn }
    }

    #[test]
    fn the_base_starts_where_the_rig_did_and_drives_ahead() {
        let mut world = town();
        let start = world.scenario.ego.poses[0];
        assert!(world.pose().translation_m.distance(start.translation_m) < 0.2, "{:?}", world.pose());
        let ahead = start.rotation * DVec3::X;
        world.command(&forward(5.0, 0.0));
        for _ in 0..50 {
            world.tick(&Surroundings::default());
        }
        let moved = world.pose().translation_m - start.translation_m;
        assert!((moved.with_z(0.0).length() - 5.0).abs() < 1e-6, "{moved}");
        assert!(moved.normalize_or_zero().dot(ahead) > 0.99);
        assert_eq!(world.base.time_us, 1_000_000);
    }

    #[test]
    fn without_a_command_time_passes_and_the_base_stands() {
        let mut world = town();
        let before = world.pose();
        assert!(world.tick(&Surroundings::default()).is_none());
        assert_eq!(world.pose(), before);
        assert_eq!(world.base.time_us, 20_000);
    }

    #[test]
    fn an_obstacle_stops_the_base() {
        let mut world = town();
        let ahead = world.pose().transform_point(DVec3::new(12.0, 0.0, 0.5));
        let wall = contract::Obstacle {
            r#type: "CYLINDER".into(),
            position: contract::Position { x: ahead.x, y: ahead.y, z: ahead.z },
            size: vec![1.0, 2.0],
            ..contract::Obstacle::default()
        };
        let around = Surroundings::new(&[wall], true).unwrap();
        world.command(&forward(10.0, 0.0));
        let collided = (0..200).any(|_| world.tick(&around).unwrap().1.collision);
        assert!(collided);
        let gap = world.base.middle_m().truncate().distance(ahead.truncate()) - 1.0;
        assert!((RADIUS_M - 0.01..RADIUS_M + 0.3).contains(&gap), "{gap}");
    }

    #[test]
    fn observations_have_the_size_that_is_told_and_a_restored_world_is_the_saved_one() {
        let mut world = town();
        let around = Surroundings::default();
        world.act(&[0.5, 0.1], &around).unwrap();
        assert_eq!(world.observe(&around).len(), world.spec().observation_size);
        let saved = world.save();
        world.act(&[0.5, -1.0], &around).unwrap();
        world.restore(&saved).unwrap();
        assert_eq!(world.save(), saved);
        assert!(world.act(&[1.0], &around).is_err());
    }
}
