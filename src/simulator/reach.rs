//! `reach`: the hand goes to a target. Seven joint velocities a step; the reward is the distance that is left, negated.

use glam::DVec3;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arm::{Arm, SavedArm};
use super::command::Command;
use super::error::SimulatorError;
use super::panda::{JOINTS, Joints, NAMES, READY_RAD, SPEEDS_RAD_S};
use super::random::Random;
use super::robot_sketch;
use super::sketch::Sketch;
use super::surroundings::Surroundings;
use super::world::{JointReadings, Outcome, World, save, saved};
use crate::geometry::Pose;
use crate::instance::step::{ActionSpace, Spec};

/// An episode is cut off after so many steps.
const MAX_STEPS: u32 = 200;
/// The target is reached this close, in metres.
const NEAR_M: f64 = 0.03;
/// Targets are in this box of the base's frame, in metres.
const TARGETS_M: [[f64; 2]; 3] = [[0.30, 0.60], [-0.35, 0.35], [0.15, 0.60]];
/// Joints, their velocities, hand, target.
const OBSERVATION: usize = 2 * JOINTS + 6;
/// Rays of the lidar, from the hand.
const RAYS: usize = 36;

/// The world.
#[derive(Debug)]
pub struct Reach {
    arm: Arm,
    random: Random,
    /// In the base's frame, in metres.
    target_m: DVec3,
    steps: u32,
    over: bool,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    target_m: [f64; 3],
    steps: u32,
    over: bool,
    random: u64,
    arm: SavedArm,
}

impl Reach {
    /// With the arm's base somewhere.
    #[must_use]
    pub fn new(base: Pose) -> Self {
        let mut world = Self {
            arm: Arm::new(base),
            random: Random::unseeded(),
            target_m: DVec3::ZERO,
            steps: 0,
            over: false,
        };
        world.reset(None);
        world
    }

    fn hand_m(&self) -> DVec3 {
        super::panda::hand(&self.arm.positions).translation_m
    }

    fn judged(&mut self, collision: bool) -> Outcome {
        let left_m = self.hand_m().distance(self.target_m);
        self.steps += 1;
        let success = left_m < NEAR_M;
        self.over |= success;
        Outcome {
            reward: -left_m,
            terminated: success,
            truncated: self.steps >= MAX_STEPS,
            success,
            collision,
        }
    }
}

fn in_actions(velocities: &Joints) -> Vec<f64> {
    velocities.iter().zip(SPEEDS_RAD_S).map(|(velocity, most)| (velocity / most).clamp(-1.0, 1.0)).collect()
}

impl World for Reach {
    fn spec(&self) -> Spec {
        Spec {
            environment: "reach".to_owned(),
            observation_size: OBSERVATION,
            action: ActionSpace::Continuous { continuous: JOINTS, low: -1.0, high: 1.0 },
            max_episode_steps: MAX_STEPS,
        }
    }

    fn reset(&mut self, seed: Option<u64>) {
        if let Some(seed) = seed {
            self.random = Random::new(seed);
        }
        self.arm.halt();
        self.arm.positions = READY_RAD;
        let mut draw = |[low, high]: [f64; 2]| self.random.between(low, high);
        self.target_m = DVec3::from_array(TARGETS_M.map(&mut draw));
        (self.steps, self.over) = (0, false);
    }

    fn observe(&self, _around: &Surroundings) -> Vec<f64> {
        let hand = self.hand_m();
        let parts = self.arm.positions.iter().chain(&self.arm.velocities).copied();
        parts.chain(hand.to_array()).chain(self.target_m.to_array()).collect()
    }

    fn act(&mut self, action: &[f64], around: &Surroundings) -> Result<Outcome, SimulatorError> {
        // An eighth number, a gripper's, is allowed and does nothing.
        let joints: Option<&[f64; JOINTS]> = action.first_chunk().filter(|_| action.len() <= JOINTS + 1);
        let joints =
            joints.filter(|joints| joints.iter().all(|value| value.is_finite())).ok_or_else(|| {
                SimulatorError::Invalid(format!(
                    "an action of reach is {JOINTS} numbers from -1 to 1, not {action:?}"
                ))
            })?;
        let velocities: Joints = std::array::from_fn(|i| joints[i].clamp(-1.0, 1.0) * SPEEDS_RAD_S[i]);
        let collision = self.arm.turn(&velocities, around);
        Ok(self.judged(collision))
    }

    fn command(&mut self, command: &Command) {
        self.arm.command(command);
    }

    fn release(&mut self) {
        self.arm.halt();
    }

    fn halt(&mut self) {
        self.arm.halt();
    }

    fn intended(&self) -> Vec<f64> {
        in_actions(&self.arm.intended())
    }

    fn tick(&mut self, around: &Surroundings) -> Option<(Vec<f64>, Outcome)> {
        if !self.arm.busy() {
            self.arm.tick(around);
            return None;
        }
        if self.over || self.steps >= MAX_STEPS {
            // The arm stays where it is: a new target, not a jump.
            let arm = self.arm.clone();
            self.reset(None);
            self.arm = arm;
        }
        let action = self.intended();
        let collision = self.arm.tick(around);
        Some((action, self.judged(collision)))
    }

    fn joint_names(&self) -> &'static [&'static str] {
        &NAMES
    }

    fn joints(&self) -> JointReadings {
        JointReadings { positions: self.arm.positions.to_vec(), velocities: self.arm.velocities.to_vec() }
    }

    fn pose(&self) -> Pose {
        self.arm.hand()
    }

    fn hand(&self) -> (Pose, f64) {
        (self.arm.hand_in_base(), self.arm.gripper)
    }

    fn place(&mut self, position_m: DVec3) {
        self.arm.base.translation_m = position_m;
    }

    fn lidar(&self, around: &Surroundings) -> Vec<f64> {
        around.lidar(self.arm.hand().translation_m, self.arm.base.yaw_rad(), RAYS, &[])
    }

    fn save(&self) -> Value {
        save(&Saved {
            target_m: self.target_m.to_array(),
            steps: self.steps,
            over: self.over,
            random: self.random.standing(),
            arm: self.arm.save(),
        })
    }

    fn restore(&mut self, value: &Value) -> Result<(), SimulatorError> {
        let Saved { target_m, steps, over, random, arm } = saved(value)?;
        self.target_m = DVec3::from_array(target_m);
        (self.steps, self.over) = (steps, over);
        self.random = Random::new(random);
        self.arm.restore(&arm);
        Ok(())
    }

    fn sketch(&self) -> Sketch {
        robot_sketch::reach(&self.arm, self.arm.base.transform_point(self.target_m), NEAR_M)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_driven_straight_to_the_target_succeeds() {
        for seed in 0..20 {
            let mut world = Reach::new(Pose::IDENTITY);
            world.reset(Some(seed));
            let around = Surroundings::default();
            let reached = (0..MAX_STEPS).any(|_| {
                let left = world.target_m - world.hand_m();
                world.command(&Command::Drive { linear_m_s: left * 4.0, yaw_rad_s: 0.0 });
                let action = world.intended();
                world.act(&action, &around).unwrap().success
            });
            assert!(reached, "seed {seed}: {} from {}", world.hand_m(), world.target_m);
        }
    }

    #[test]
    fn what_a_person_does_is_what_a_trainer_would_have_asked_for() {
        let (mut driven, mut asked) = (Reach::new(Pose::IDENTITY), Reach::new(Pose::IDENTITY));
        let around = Surroundings::default();
        driven.reset(Some(1));
        asked.reset(Some(1));
        driven.command(&Command::Drive { linear_m_s: DVec3::new(0.2, 0.1, -0.1), yaw_rad_s: 0.2 });
        for _ in 0..30 {
            let (action, outcome) = driven.tick(&around).unwrap();
            assert_eq!(asked.act(&action, &around).unwrap().success, outcome.success);
        }
        let off = driven.hand_m().distance(asked.hand_m());
        assert!(off < 1e-9, "{off}");
    }

    #[test]
    fn observations_have_the_size_that_is_told_and_rewards_are_distances() {
        let mut world = Reach::new(Pose::IDENTITY);
        world.reset(Some(5));
        let around = Surroundings::default();
        assert_eq!(world.observe(&around).len(), world.spec().observation_size);
        let outcome = world.act(&[0.0; 7], &around).unwrap();
        assert!((outcome.reward + world.hand_m().distance(world.target_m)).abs() < 1e-12);
        assert!(world.act(&[0.0; 8], &around).is_ok(), "a gripper is ignored");
        assert!(world.act(&[0.0; 3], &around).is_err());
        assert!(world.act(&[f64::NAN; 7], &around).is_err());
    }

    #[test]
    fn a_restored_world_is_the_saved_one() {
        let mut world = Reach::new(Pose::IDENTITY);
        world.act(&[0.5; 7], &Surroundings::default()).unwrap();
        let saved = world.save();
        let mut other = Reach::new(Pose::IDENTITY);
        other.restore(&saved).unwrap();
        assert_eq!(other.save(), saved);
    }
}
