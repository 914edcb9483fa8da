//! Commands are checked before they reach a robot, whichever way they came.

use crate::fleet::error::FleetError;
use crate::instance::contract::{JointGroup, ToRobot};

/// Fastest a person may ask for, m/s or rad/s; the simulator has its own limits below.
const FASTEST: f64 = 100.0;
/// Most groups of a joint command, and most joints of a group.
const MOST_JOINTS: usize = 256;
/// Largest joint value: rad, m, rad/s, N m.
const LARGEST_VALUE: f64 = 1e6;
/// dx dy dz droll dpitch dyaw gripper.
const ACTION: usize = 7;

/// # Errors
/// `Invalid`, naming the field and the number that is wrong.
pub fn check(command: &ToRobot) -> Result<(), FleetError> {
    match command {
        ToRobot::RobotControl { velocity } => {
            let axes = [("x", velocity.x), ("y", velocity.y), ("z", velocity.z), ("yaw", velocity.yaw)];
            axes.iter().try_for_each(|(axis, value)| within(&format!("velocity.{axis}"), *value, FASTEST))
        }
        ToRobot::JointCommand { commands } => {
            if commands.is_empty() || commands.len() > MOST_JOINTS {
                let problem = format!("has {} groups, expected 1 to {MOST_JOINTS}", commands.len());
                return Err(FleetError::invalid("commands", problem));
            }
            commands.iter().enumerate().try_for_each(|(at, group)| check_group(at, group))
        }
        ToRobot::Action { action } => {
            if action.len() != ACTION {
                let problem = format!("has {} numbers, expected {ACTION}", action.len());
                return Err(FleetError::invalid("action", problem));
            }
            action
                .iter()
                .enumerate()
                .try_for_each(|(at, value)| within(&format!("action[{at}]"), *value, FASTEST))
        }
        ToRobot::Mode { mode } => match mode.as_str() {
            "manual" | "ai" => Ok(()),
            other => {
                let other: String = other.chars().take(40).collect();
                Err(FleetError::invalid("mode", format!("is {other:?}, expected \"manual\" or \"ai\"")))
            }
        },
    }
}

fn check_group(at: usize, group: &JointGroup) -> Result<(), FleetError> {
    if !matches!(group.r#type.as_str(), "position" | "velocity" | "effort") {
        let found: String = group.r#type.chars().take(40).collect();
        let problem = format!("is {found:?}, expected position, velocity or effort");
        return Err(FleetError::invalid(format!("commands[{at}].type"), problem));
    }
    if group.names.is_empty() || group.names.len() > MOST_JOINTS || group.names.len() != group.values.len() {
        let problem = format!(
            "has {} names and {} values, expected as many of both, 1 to {MOST_JOINTS}",
            group.names.len(),
            group.values.len()
        );
        return Err(FleetError::invalid(format!("commands[{at}]"), problem));
    }
    let values = group.values.iter().enumerate();
    values.into_iter().try_for_each(|(joint, value)| {
        within(&format!("commands[{at}].values[{joint}]"), *value, LARGEST_VALUE)
    })
}

fn within(field: &str, value: f64, limit: f64) -> Result<(), FleetError> {
    // NaN is not within anything.
    if value.abs() <= limit {
        return Ok(());
    }
    Err(FleetError::invalid(field, format!("is {value}, expected at most {limit} either way")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::contract::Velocity;

    fn refusal(command: &ToRobot) -> String {
        check(command).unwrap_err().to_string()
    }

    #[test]
    fn a_number_that_is_none_never_reaches_a_robot() {
        for x in [f64::NAN, f64::INFINITY, -101.0] {
            let velocity = Velocity { x, ..Velocity::default() };
            assert!(refusal(&ToRobot::RobotControl { velocity }).starts_with("velocity.x is"));
        }
        let action = vec![0.0, 0.0, 0.0, 0.0, 0.0, f64::NAN, 1.0];
        assert!(refusal(&ToRobot::Action { action }).starts_with("action[5] is NaN"));
        assert_eq!(refusal(&ToRobot::Action { action: vec![0.0; 6] }), "action has 6 numbers, expected 7");
    }

    #[test]
    fn joints_come_with_as_many_values_and_a_known_type() {
        let group = |kind: &str, names: usize, values: usize| ToRobot::JointCommand {
            commands: vec![JointGroup {
                r#type: kind.into(),
                names: vec!["j".into(); names],
                values: vec![0.5; values],
            }],
        };
        assert_eq!(check(&group("position", 7, 7)), Ok(()));
        assert!(refusal(&group("position", 7, 6)).contains("7 names and 6 values"));
        assert!(refusal(&group("torque", 1, 1)).contains("\"torque\""));
        assert!(refusal(&ToRobot::JointCommand { commands: vec![] }).contains("0 groups"));
        assert!(refusal(&ToRobot::Mode { mode: "auto".into() }).contains("\"auto\""));
    }
}
