//! The arm in motion: joints that follow commands within their limits and stop before obstacles.

use glam::{DQuat, DVec3};
use serde::{Deserialize, Serialize};

use super::cartpole::STEP_S;
use super::command::{Command, JointTarget};
use super::inverse::{difference, joint_velocities};
use super::panda::{JOINTS, Joints, READY_RAD, SPEEDS_RAD_S, hand, within_limits};
use super::surroundings::Surroundings;
use crate::geometry::{Pose, rotation};

/// A ball of this radius around the fingertips is what obstacles stop.
pub const HAND_RADIUS_M: f64 = 0.06;
/// The hand is moved by commands no faster than this, in m/s.
const HAND_SPEED_M_S: f64 = 0.6;
/// And turned no faster, in rad/s.
const HAND_TURN_RAD_S: f64 = 1.5;
/// What an effort acts against: N m s/rad.
const DAMPER: f64 = 20.0;
/// A target this close is reached: metres and radians.
const REACHED: f64 = 1e-4;

/// The arm on its base.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// `world_from_base`.
    pub base: Pose,
    /// In radians.
    pub positions: Joints,
    /// In rad/s.
    pub velocities: Joints,
    /// 0 closed to 1 open.
    pub gripper: f64,
    goal: Option<Goal>,
}

/// What the arm is doing.
#[derive(Debug, Clone, PartialEq)]
enum Goal {
    /// The hand moves: m/s and rad/s in the base's axes.
    Hand(DVec3, DVec3),
    /// The hand goes to a pose: `base_from_hand`.
    Pose(Pose),
    Joints(Vec<(usize, JointTarget)>),
}

/// As a snapshot holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedArm {
    base_m: [f64; 3],
    base_xyzw: [f64; 4],
    positions_rad: Joints,
    velocities_rad_s: Joints,
    gripper: f64,
}

impl Arm {
    /// At rest, ready.
    #[must_use]
    pub fn new(base: Pose) -> Self {
        Self { base, positions: READY_RAD, velocities: [0.0; JOINTS], gripper: 0.0, goal: None }
    }

    /// `base_from_hand`.
    #[must_use]
    pub fn hand_in_base(&self) -> Pose {
        hand(&self.positions)
    }

    /// `world_from_hand`.
    #[must_use]
    pub fn hand(&self) -> Pose {
        self.base.compose(&self.hand_in_base())
    }

    /// Takes up a command; the one before is forgotten.
    pub fn command(&mut self, command: &Command) {
        self.goal = Some(match command {
            Command::Drive { linear_m_s, yaw_rad_s } => {
                let into_base = self.base.rotation.conjugate();
                let linear = (into_base * *linear_m_s).clamp_length_max(HAND_SPEED_M_S);
                let turn = yaw_rad_s.clamp(-HAND_TURN_RAD_S, HAND_TURN_RAD_S);
                Goal::Hand(linear, into_base * (DVec3::Z * turn))
            }
            Command::Joints(targets) => Goal::Joints(targets.clone()),
            Command::Action { translation_m, rotation_rad, gripper } => {
                self.gripper = *gripper;
                let now = hand(&self.positions);
                let DVec3 { x: roll, y: pitch, z: yaw } = *rotation_rad;
                let turn = DQuat::from_rotation_z(yaw)
                    * DQuat::from_rotation_y(pitch)
                    * DQuat::from_rotation_x(roll);
                Goal::Pose(Pose {
                    translation_m: now.translation_m + *translation_m,
                    rotation: rotation::product(turn, now.rotation),
                })
            }
        });
    }

    /// Stops.
    pub fn halt(&mut self) {
        self.goal = None;
        self.velocities = [0.0; JOINTS];
    }

    /// Whether a command is being carried out.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.goal.is_some()
    }

    /// The joint velocities that the command asks for now, within the joints' limits.
    #[must_use]
    pub fn intended(&self) -> Joints {
        let mut wanted = [0.0; JOINTS];
        match &self.goal {
            None => {}
            Some(Goal::Hand(linear, angular)) => {
                wanted = joint_velocities(&self.positions, *linear, *angular);
            }
            Some(Goal::Pose(target)) => {
                let (linear, angular) = difference(&hand(&self.positions), target);
                let linear = (linear / STEP_S).clamp_length_max(HAND_SPEED_M_S);
                let angular = (angular / STEP_S).clamp_length_max(HAND_TURN_RAD_S);
                wanted = joint_velocities(&self.positions, linear, angular);
            }
            Some(Goal::Joints(targets)) => {
                for (joint, target) in targets {
                    let (Some(wanted), Some(position)) = (wanted.get_mut(*joint), self.positions.get(*joint))
                    else {
                        continue;
                    };
                    *wanted = match target {
                        JointTarget::Position(target) => (target - position) / STEP_S,
                        JointTarget::Velocity(velocity) => *velocity,
                        JointTarget::Effort(effort) => effort / DAMPER,
                    };
                }
            }
        }
        slowed(&wanted)
    }

    /// Carries out the command for one step. Whether an obstacle stopped it.
    pub fn tick(&mut self, around: &Surroundings) -> bool {
        if self.goal.is_none() {
            self.velocities = [0.0; JOINTS];
            return false;
        }
        let stopped = self.turn(&self.intended(), around);
        if self.arrived() {
            self.goal = None;
        }
        stopped
    }

    /// Turns the joints at these velocities for one step, within limits. Whether an obstacle stopped it.
    pub fn turn(&mut self, velocities: &Joints, around: &Surroundings) -> bool {
        let velocities = slowed(velocities);
        let moved: Joints = std::array::from_fn(|i| self.positions[i] + velocities[i] * STEP_S);
        let moved = within_limits(&moved);
        let to = self.base.compose(&hand(&moved)).translation_m;
        if around.stops(self.hand().translation_m, to, HAND_RADIUS_M) {
            self.velocities = [0.0; JOINTS];
            return true;
        }
        self.velocities = std::array::from_fn(|i| (moved[i] - self.positions[i]) / STEP_S);
        self.positions = moved;
        false
    }

    fn arrived(&self) -> bool {
        match &self.goal {
            Some(Goal::Pose(target)) => {
                let (linear, angular) = difference(&hand(&self.positions), target);
                linear.length() < REACHED && angular.length() < REACHED
            }
            Some(Goal::Joints(targets)) => targets.iter().all(|(joint, target)| match target {
                JointTarget::Position(target) => {
                    self.positions.get(*joint).is_some_and(|position| (position - target).abs() < REACHED)
                }
                _ => false,
            }),
            _ => false,
        }
    }

    /// For a snapshot.
    #[must_use]
    pub fn save(&self) -> SavedArm {
        SavedArm {
            base_m: self.base.translation_m.to_array(),
            base_xyzw: self.base.rotation.to_array(),
            positions_rad: self.positions,
            velocities_rad_s: self.velocities,
            gripper: self.gripper,
        }
    }

    /// From a snapshot, doing nothing.
    pub fn restore(&mut self, saved: &SavedArm) {
        if let Ok(base) = Pose::from_xyz_quat(saved.base_m, saved.base_xyzw) {
            let exact = DQuat::from_array(saved.base_xyzw);
            self.base = if exact.is_normalized() { Pose { rotation: exact, ..base } } else { base };
        }
        self.positions = within_limits(&saved.positions_rad);
        self.velocities = saved.velocities_rad_s;
        self.gripper = saved.gripper.clamp(0.0, 1.0);
        self.goal = None;
    }
}

/// Within the joints' speeds; a hand keeps its direction where one joint alone is too slow.
fn slowed(velocities: &Joints) -> Joints {
    let over = velocities.iter().zip(SPEEDS_RAD_S).map(|(v, most)| v.abs() / most).fold(1.0, f64::max);
    velocities.map(|velocity| if velocity.is_finite() { velocity / over } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::panda::LIMITS_RAD;
    use super::*;
    use crate::instance::contract;

    fn arm() -> Arm {
        Arm::new(Pose::IDENTITY)
    }

    #[test]
    fn the_hand_goes_where_an_action_sends_it() {
        let mut arm = arm();
        let before = arm.hand();
        let wanted = DVec3::new(0.05, -0.08, 0.04);
        arm.command(&Command::Action { translation_m: wanted, rotation_rad: DVec3::Z * 0.3, gripper: 1.0 });
        for _ in 0..150 {
            arm.tick(&Surroundings::default());
        }
        let moved = arm.hand();
        assert!((moved.translation_m - before.translation_m - wanted).length() < 1e-3, "{moved:?}");
        let turned = rotation::log(rotation::product(moved.rotation, before.rotation.conjugate()));
        assert!((turned - DVec3::Z * 0.3).length() < 1e-2, "{turned}");
        assert!(!arm.busy() && arm.gripper == 1.0);
    }

    #[test]
    fn the_hand_stops_before_an_obstacle_and_may_leave_it() {
        let mut arm = arm();
        let start = arm.hand().translation_m;
        let wall = contract::Obstacle {
            r#type: "BOX".into(),
            position: contract::Position { x: start.x + 0.2, y: 0.0, z: start.z },
            size: vec![0.04, 2.0, 2.0],
            ..contract::Obstacle::default()
        };
        let around = Surroundings::new(&[wall], true).unwrap();
        let ahead = |x: f64| Command::Drive { linear_m_s: DVec3::X * x, yaw_rad_s: 0.0 };
        arm.command(&ahead(0.3));
        let stopped = (0..200).filter(|_| arm.tick(&around)).count();
        assert!(stopped > 50, "stopped {stopped} times");
        let gap = start.x + 0.18 - arm.hand().translation_m.x;
        assert!((HAND_RADIUS_M - 1e-9..HAND_RADIUS_M + 0.02).contains(&gap), "{gap} m before the wall");
        arm.command(&ahead(-0.3));
        assert!(!arm.tick(&around), "it may go back");
    }

    proptest! {
        #[test]
        fn no_command_leaves_the_limits(values in prop::array::uniform7(-1e6..1e6f64), kind in 0..3u8) {
            let mut arm = arm();
            let target = |value| match kind {
                0 => JointTarget::Position(value),
                1 => JointTarget::Velocity(value),
                _ => JointTarget::Effort(value),
            };
            arm.command(&Command::Joints(values.iter().map(|value| target(*value)).enumerate().collect()));
            for _ in 0..20 {
                arm.tick(&Surroundings::default());
                for i in 0..JOINTS {
                    prop_assert!((LIMITS_RAD[i][0]..=LIMITS_RAD[i][1]).contains(&arm.positions[i]));
                    prop_assert!(arm.velocities[i].abs() <= SPEEDS_RAD_S[i] * (1.0 + 1e-9));
                }
            }
        }
    }
}
