//! Commands to a robot, checked: what the control websocket says becomes something a world can carry out, or a sentence.

use glam::DVec3;

use super::error::SimulatorError;
use crate::instance::contract::{JointGroup, ToRobot, Velocity};

/// Numbers of an action of a policy: hand translation, hand rotation, gripper.
pub const ACTION_SIZE: usize = 7;

/// A command that makes sense to a robot with certain joints.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// In the world: m/s, and rad/s about up.
    Drive {
        /// m/s.
        linear_m_s: DVec3,
        /// rad/s.
        yaw_rad_s: f64,
    },
    /// Targets by joint.
    Joints(Vec<(usize, JointTarget)>),
    /// In the base's frame.
    Action {
        /// Metres.
        translation_m: DVec3,
        /// Roll, pitch, yaw, radians.
        rotation_rad: DVec3,
        /// 0 closed to 1 open.
        gripper: f64,
    },
}

/// What one joint is to do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum JointTarget {
    /// rad or m.
    Position(f64),
    /// rad/s or m/s.
    Velocity(f64),
    /// N m or N, against a damper.
    Effort(f64),
}

impl Command {
    /// Checks a message for a robot with these joints. `None`: it is no command to the robot.
    ///
    /// # Errors
    /// With a sentence that names what is wrong.
    pub fn read(message: &ToRobot, names: &[&str]) -> Result<Option<Self>, SimulatorError> {
        match message {
            ToRobot::RobotControl { velocity } => drive(*velocity).map(Some),
            ToRobot::JointCommand { commands } => {
                let groups =
                    commands.iter().map(|group| joints(group, names)).collect::<Result<Vec<_>, _>>()?;
                Ok(Some(Self::Joints(groups.into_iter().flatten().collect())))
            }
            ToRobot::Action { action } => read_action(action).map(Some),
            ToRobot::Mode { .. } => Ok(None),
        }
    }

    /// Whether it ends by itself: what it aims at is a place, not a speed.
    #[must_use]
    pub fn aims(&self) -> bool {
        match self {
            Self::Drive { .. } => false,
            Self::Joints(targets) => {
                targets.iter().all(|(_, target)| matches!(target, JointTarget::Position(_)))
            }
            Self::Action { .. } => true,
        }
    }
}

fn drive(velocity: Velocity) -> Result<Command, SimulatorError> {
    let Velocity { x, y, z, yaw } = velocity;
    for (name, value) in [("x", x), ("y", y), ("z", z), ("yaw", yaw)] {
        finite(value, || format!("velocity.{name}"))?;
    }
    Ok(Command::Drive { linear_m_s: DVec3::new(x, y, z), yaw_rad_s: yaw })
}

fn joints(group: &JointGroup, names: &[&str]) -> Result<Vec<(usize, JointTarget)>, SimulatorError> {
    let JointGroup { r#type: kind, names: joints, values } = group;
    if joints.len() != values.len() {
        return Err(invalid(format!("{} joints are named and {} values given", joints.len(), values.len())));
    }
    let target = |(name, value): (&String, &f64)| {
        let joint = names.iter().position(|known| known == name).ok_or_else(|| {
            invalid(format!("there is no joint {name:?}; this robot has {}", names.join(", ")))
        })?;
        finite(*value, || format!("the value of {name}"))?;
        let target = match kind.to_ascii_lowercase().as_str() {
            "position" => JointTarget::Position(*value),
            "velocity" => JointTarget::Velocity(*value),
            "effort" => JointTarget::Effort(*value),
            _ => {
                return Err(invalid(format!(
                    "a joint command of type {kind:?} is not known; expected position, velocity or effort"
                )));
            }
        };
        Ok((joint, target))
    };
    joints.iter().zip(values).map(target).collect()
}

fn read_action(action: &[f64]) -> Result<Command, SimulatorError> {
    let &[x, y, z, roll, pitch, yaw, gripper] = action else {
        return Err(invalid(format!("an action has {ACTION_SIZE} numbers, not {}", action.len())));
    };
    for (index, value) in action.iter().enumerate() {
        finite(*value, || format!("number {index} of the action"))?;
    }
    Ok(Command::Action {
        translation_m: DVec3::new(x, y, z),
        rotation_rad: DVec3::new(roll, pitch, yaw),
        gripper: gripper.clamp(0.0, 1.0),
    })
}

fn finite(value: f64, name: impl Fn() -> String) -> Result<(), SimulatorError> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(invalid(format!("{} is {value}, which is no number", name())))
    }
}

fn invalid(sentence: String) -> SimulatorError {
    SimulatorError::Invalid(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(kind: &str, names: &[&str], values: &[f64]) -> ToRobot {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        ToRobot::JointCommand {
            commands: vec![JointGroup { r#type: kind.into(), names, values: values.to_vec() }],
        }
    }

    #[test]
    fn joints_are_found_by_name() {
        let read = Command::read(&group("velocity", &["b"], &[0.5]), &["a", "b"]).unwrap();
        assert_eq!(read, Some(Command::Joints(vec![(1, JointTarget::Velocity(0.5))])));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let refused = |message: &ToRobot| Command::read(message, &["a"]).unwrap_err().to_string();
        assert!(refused(&group("velocity", &["c"], &[0.5])).contains("\"c\""));
        assert!(refused(&group("spin", &["a"], &[0.5])).contains("\"spin\""));
        assert!(refused(&group("velocity", &["a"], &[])).contains("0 values"));
        assert!(refused(&group("velocity", &["a"], &[f64::NAN])).contains("NaN"));
        assert!(refused(&ToRobot::Action { action: vec![0.0; 6] }).contains("not 6"));
        let wild = Velocity { yaw: f64::INFINITY, ..Velocity::default() };
        assert!(refused(&ToRobot::RobotControl { velocity: wild }).contains("velocity.yaw"));
    }

    #[test]
    fn only_positions_and_actions_end_by_themselves() {
        let read = |message: &ToRobot| Command::read(message, &["a"]).unwrap().unwrap();
        assert!(read(&group("position", &["a"], &[0.5])).aims());
        assert!(!read(&group("velocity", &["a"], &[0.5])).aims());
        assert!(read(&ToRobot::Action { action: vec![0.0; 7] }).aims());
        assert!(!read(&ToRobot::RobotControl { velocity: Velocity::default() }).aims());
    }
}
