//! `balance`: the arm's hand is the cart, and carries a pole on a hinge.
//!
//! Steps of the task, whoever asks for them, are those of [`CartPole`]; the arm follows the cart. Between them a clamp
//! holds the pole upright and the hand rests, so that a simulator nobody steps or drives does not fall over for ever.
//! Joint commands, actions and a hand moved across the line take the arm off it; the next step of the task or the next
//! push brings it back.

use glam::DVec3;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arm::{Arm, HAND_RADIUS_M, SavedArm};
use super::cartpole::{CartPole, MAX_STEPS};
use super::command::Command;
use super::error::SimulatorError;
use super::panda::{JOINTS, NAMES};
use super::rail::Rail;
use super::random::Random;
use super::robot_sketch;
use super::sketch::Sketch;
use super::surroundings::Surroundings;
use super::world::{JointReadings, Outcome, World, save, saved};
use crate::geometry::Pose;
use crate::instance::step::{ActionSpace, Spec};

/// Rays of the lidar, from the hand.
const RAYS: usize = 36;
/// A push is meant above this speed, in m/s.
const PUSH_M_S: f64 = 1e-3;

/// The world.
#[derive(Debug)]
pub struct Balance {
    arm: Arm,
    rail: Rail,
    random: Random,
    state: CartPole,
    steps: u32,
    over: bool,
    /// The last push went to positive x.
    pushed: bool,
    hold: Hold,
}

/// What moves the hand.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Hold {
    /// The task: the hand is the cart.
    Rail,
    /// A person who pushes the cart: to positive x, to negative, or not now.
    Push(Option<bool>),
    /// Commands to the arm.
    Free,
}

#[derive(Serialize, Deserialize)]
struct Saved {
    state: CartPole,
    steps: u32,
    over: bool,
    pushed: bool,
    free: bool,
    random: u64,
    arm: SavedArm,
}

impl Balance {
    /// With the arm's base somewhere.
    ///
    /// # Errors
    /// When the arm cannot reach the line, which it can.
    pub fn new(base: Pose) -> Result<Self, SimulatorError> {
        let mut world = Self {
            arm: Arm::new(base),
            rail: Rail::new()?,
            random: Random::unseeded(),
            state: CartPole::default(),
            steps: 0,
            over: false,
            pushed: false,
            hold: Hold::Rail,
        };
        world.reset(None);
        Ok(world)
    }

    fn follow(&mut self) {
        self.arm.positions = self.rail.joints(self.state.x_m);
        self.arm.velocities = self.rail.velocities(self.state.x_m, self.state.x_dot);
    }

    fn hand_m(&self, x_m: f64) -> DVec3 {
        let joints = self.rail.joints(x_m);
        self.arm.base.compose(&super::panda::hand(&joints)).translation_m
    }

    fn push(&mut self, to_positive_x: bool, around: &Surroundings) -> Outcome {
        self.pushed = to_positive_x;
        let mut next = self.state.pushed(to_positive_x);
        let collision =
            around.solid && around.stops(self.hand_m(self.state.x_m), self.hand_m(next.x_m), HAND_RADIUS_M);
        if collision {
            next = CartPole { x_m: self.state.x_m, x_dot: 0.0, ..next };
        }
        self.state = next;
        self.steps += 1;
        self.follow();
        let terminated = self.state.fallen();
        let truncated = self.steps >= MAX_STEPS;
        // As gymnasium: the step that ends the episode counts, steps after it do not.
        let reward = if self.over { 0.0 } else { 1.0 };
        self.over |= terminated;
        Outcome { reward, terminated, truncated, success: truncated && !terminated, collision }
    }
}

impl World for Balance {
    fn spec(&self) -> Spec {
        Spec {
            environment: "balance".to_owned(),
            observation_size: 4,
            action: ActionSpace::Discrete { discrete: 2 },
            max_episode_steps: MAX_STEPS,
        }
    }

    fn reset(&mut self, seed: Option<u64>) {
        if let Some(seed) = seed {
            self.random = Random::new(seed);
        }
        self.state = CartPole::start(&mut self.random);
        (self.steps, self.over, self.hold) = (0, false, Hold::Rail);
        self.arm.halt();
        self.follow();
    }

    fn observe(&self, _around: &Surroundings) -> Vec<f64> {
        self.state.observation()
    }

    fn act(&mut self, action: &[f64], around: &Surroundings) -> Result<Outcome, SimulatorError> {
        let to_positive_x = match *action {
            [0.0] => false,
            [1.0] => true,
            _ => {
                return Err(SimulatorError::Invalid(format!(
                    "an action of balance is one number, 0 or 1, not {action:?}"
                )));
            }
        };
        if self.hold == Hold::Free {
            self.arm.halt();
            self.hold = Hold::Rail;
        }
        Ok(self.push(to_positive_x, around))
    }

    fn command(&mut self, command: &Command) {
        match command {
            Command::Drive { linear_m_s, .. } if self.hold != Hold::Free || linear_m_s.x.abs() > PUSH_M_S => {
                let across = linear_m_s.y.abs().max(linear_m_s.z.abs()) > PUSH_M_S;
                if across && linear_m_s.x.abs() <= PUSH_M_S {
                    self.hold = Hold::Free;
                    self.arm.command(command);
                } else {
                    let push = (linear_m_s.x.abs() > PUSH_M_S).then_some(linear_m_s.x > 0.0);
                    self.hold = Hold::Push(push);
                }
            }
            _ => {
                self.hold = Hold::Free;
                self.arm.command(command);
            }
        }
    }

    fn release(&mut self) {
        match self.hold {
            Hold::Push(_) => self.hold = Hold::Rail,
            Hold::Free => self.arm.halt(),
            Hold::Rail => {}
        }
    }

    fn halt(&mut self) {
        self.release();
        if self.hold == Hold::Rail {
            (self.state.x_dot, self.state.theta_dot) = (0.0, 0.0);
            self.follow();
        }
    }

    fn intended(&self) -> Vec<f64> {
        // Without a push the last one is taken back: on average nothing.
        let to_positive_x = match self.hold {
            Hold::Push(Some(push)) => push,
            _ => !self.pushed,
        };
        vec![if to_positive_x { 1.0 } else { 0.0 }]
    }

    fn tick(&mut self, around: &Surroundings) -> Option<(Vec<f64>, Outcome)> {
        match self.hold {
            Hold::Rail => {
                self.arm.velocities = [0.0; JOINTS];
                None
            }
            Hold::Push(_) => {
                if self.over || self.steps >= MAX_STEPS {
                    let hold = self.hold;
                    self.reset(None);
                    self.hold = hold;
                }
                let action = self.intended();
                let outcome = self.push(action.first() == Some(&1.0), around);
                Some((action, outcome))
            }
            Hold::Free => {
                self.arm.tick(around);
                None
            }
        }
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
        let heading = self.arm.base.yaw_rad();
        around.lidar(self.arm.hand().translation_m, heading, RAYS, &[])
    }

    fn save(&self) -> Value {
        save(&Saved {
            state: self.state,
            steps: self.steps,
            over: self.over,
            pushed: self.pushed,
            free: self.hold == Hold::Free,
            random: self.random.standing(),
            arm: self.arm.save(),
        })
    }

    fn restore(&mut self, value: &Value) -> Result<(), SimulatorError> {
        let Saved { state, steps, over, pushed, free, random, arm } = saved(value)?;
        if !state.observation().iter().all(|number| number.is_finite()) {
            return Err(SimulatorError::Invalid("the snapshot's cart-pole is not finite".to_owned()));
        }
        (self.state, self.steps, self.over, self.pushed) = (state, steps, over, pushed);
        self.hold = if free { Hold::Free } else { Hold::Rail };
        self.random = Random::new(random);
        self.arm.restore(&arm);
        Ok(())
    }

    fn sketch(&self) -> Sketch {
        let lean = if self.hold == Hold::Free { 0.0 } else { self.state.theta_rad };
        robot_sketch::balance(&self.arm, lean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::contract;

    fn world() -> Balance {
        let mut world = Balance::new(Pose::IDENTITY).unwrap();
        world.reset(Some(3));
        world
    }

    fn drive(x: f64, y: f64) -> Command {
        Command::Drive { linear_m_s: DVec3::new(x, y, 0.0), yaw_rad_s: 0.0 }
    }

    #[test]
    fn steps_are_those_of_the_cart_pole_and_the_hand_follows_the_cart() {
        let mut world = world();
        let mut twin = world.state;
        for action in [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0] {
            let outcome = world.act(&[action], &Surroundings::default()).unwrap();
            twin = twin.pushed(action == 1.0);
            assert_eq!(world.observe(&Surroundings::default()), twin.observation());
            assert_eq!(outcome.reward, 1.0);
            assert!(
                (world.pose().translation_m.y - super::super::rail::SCALE * twin.x_m).abs() < 1e-3,
                "{:?}",
                world.pose()
            );
        }
    }

    #[test]
    fn an_episode_ends_when_the_pole_falls_and_later_steps_earn_nothing() {
        let mut world = world();
        let mut total = 0.0;
        for _ in 0..40 {
            total += world.act(&[1.0], &Surroundings::default()).unwrap().reward;
        }
        assert!((5.0..15.0).contains(&total), "{total}");
        assert!(world.act(&[1.0], &Surroundings::default()).unwrap().terminated);
    }

    #[test]
    fn a_balanced_episode_is_cut_off_after_500_steps_as_a_success() {
        let mut world = world();
        let mut last = Outcome::default();
        for step in 0..MAX_STEPS {
            let CartPole { x_m, x_dot, theta_rad, theta_dot } = world.state;
            let push = theta_rad + 0.3 * theta_dot + 0.05 * x_m + 0.1 * x_dot > 0.0;
            last = world.act(&[f64::from(u8::from(push))], &Surroundings::default()).unwrap();
            assert!(!last.terminated, "fell at {step}");
            assert_eq!(last.truncated, step + 1 == MAX_STEPS);
        }
        assert!(last.success);
    }

    #[test]
    fn what_is_no_action_is_refused() {
        for action in [&[][..], &[2.0], &[0.5], &[f64::NAN], &[1.0, 0.0]] {
            assert!(
                world().act(action, &Surroundings::default()).unwrap_err().to_string().contains("0 or 1")
            );
        }
    }

    #[test]
    fn a_person_pushes_by_the_sign_of_the_velocity_and_nobody_leaves_it_at_rest() {
        let mut world = world();
        let around = Surroundings::default();
        assert!(world.tick(&around).is_none(), "nobody drives");
        world.command(&drive(0.4, 0.0));
        let (action, _) = world.tick(&around).unwrap();
        assert_eq!(action, [1.0]);
        world.command(&drive(-0.4, 0.0));
        assert_eq!(world.tick(&around).unwrap().0, [0.0]);
        world.command(&drive(0.0, 0.0));
        let kept: Vec<f64> = (0..4).map(|_| world.tick(&around).unwrap().0[0]).collect();
        assert_eq!(kept, [1.0, 0.0, 1.0, 0.0], "no push, on average");
        world.halt();
        assert!(world.tick(&around).is_none());
        assert!(world.joints().velocities.iter().all(|velocity| *velocity == 0.0));
    }

    #[test]
    fn an_obstacle_stops_the_cart() {
        let mut world = world();
        let ahead = world.pose().translation_m + DVec3::Y * 0.12;
        let wall = contract::Obstacle {
            r#type: "BOX".into(),
            position: contract::Position { x: ahead.x, y: ahead.y, z: ahead.z },
            size: vec![0.5, 0.02, 0.5],
            ..contract::Obstacle::default()
        };
        let around = Surroundings::new(&[wall], true).unwrap();
        let collided = (0..60).any(|_| world.act(&[1.0], &around).unwrap().collision);
        assert!(collided);
        assert!(world.pose().translation_m.y < ahead.y - 0.01 - HAND_RADIUS_M + 0.02);
    }

    #[test]
    fn joint_commands_take_the_arm_off_the_line_and_a_step_brings_it_back() {
        let mut world = world();
        let around = Surroundings::default();
        world.command(&Command::Joints(vec![(0, super::super::command::JointTarget::Velocity(0.5))]));
        let before = world.joints().positions[0];
        for _ in 0..10 {
            world.tick(&around);
        }
        assert!((world.joints().positions[0] - before - 0.1).abs() < 1e-9);
        world.act(&[0.0], &around).unwrap();
        assert!((world.pose().translation_m.y - super::super::rail::SCALE * world.state.x_m).abs() < 1e-3);
    }

    #[test]
    fn a_restored_world_goes_on_as_the_saved_one() {
        let mut world = world();
        let around = Surroundings::default();
        for action in [1.0, 1.0, 0.0] {
            world.act(&[action], &around).unwrap();
        }
        let saved = world.save();
        let mut other = Balance::new(Pose::IDENTITY).unwrap();
        other.restore(&saved).unwrap();
        assert_eq!(other.save(), saved);
        for world in [&mut world, &mut other] {
            world.act(&[1.0], &around).unwrap();
        }
        assert_eq!(other.save(), world.save());
        world.reset(None);
        other.reset(None);
        assert_eq!(other.observe(&around), world.observe(&around), "the generator was saved too");
        assert!(other.restore(&serde_json::json!({"x": 1})).is_err());
    }
}
